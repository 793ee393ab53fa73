package metadata

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// facts returns the leaves that are not signed, as a Nitro instance with Linux
// has them.
func (s *Service) facts(m *world.Machine, now time.Time) map[string][]byte {
	s.o.World.Lock()
	defer s.o.World.Unlock()
	facts := map[string][]byte{"dynamic/fws/instance-monitoring": []byte("disabled")}
	if m.UserData != "" {
		facts["user-data"] = []byte(m.UserData)
	}
	put := func(prefix string, leaves map[string]string) {
		for path, value := range leaves {
			facts[Root+prefix+path] = []byte(value)
		}
	}
	put("", map[string]string{
		"ami-id":                         m.ImageID(),
		"ami-launch-index":               strconv.Itoa(m.Index),
		"ami-manifest-path":              "(unknown)",
		"block-device-mapping/ami":       "/dev/xvda",
		"block-device-mapping/root":      "/dev/xvda",
		"events/maintenance/history":     "[]",
		"events/maintenance/scheduled":   "[]",
		"hibernation/configured":         "false",
		"hostname":                       m.PrivateName(),
		"instance-action":                "none",
		"instance-id":                    m.ID,
		"instance-life-cycle":            lifeCycle(m),
		"instance-type":                  m.Type,
		"local-hostname":                 m.PrivateName(),
		"local-ipv4":                     m.PrivateAddress(),
		"mac":                            m.MAC(),
		"metrics/vhostmd":                `<?xml version="1.0" encoding="UTF-8"?>`,
		"placement/availability-zone":    m.Zone,
		"placement/availability-zone-id": world.ZoneID(m.Region, m.Zone),
		"placement/region":               m.Region,
		"profile":                        "default-hvm",
		"public-hostname":                m.PublicName(),
		"public-ipv4":                    m.PublicAddress(),
		"reservation-id":                 m.ReservationID(),
		"security-groups":                "default",
		"services/domain":                m.Domain,
		"services/partition":             m.Partition,
		"system":                         system(m.Type),
	})
	if m.IPv6 != "" {
		put("", map[string]string{"ipv6": m.IPv6})
	}
	put("network/interfaces/macs/"+m.MAC()+"/", interfaceFacts(m))
	put("identity-credentials/ec2/", map[string]string{
		"info":                              text(map[string]string{"Code": "Success", "LastUpdated": timestamp(credentialsOf(m, instanceRole, now).made), "AccountId": m.Owner("")}),
		"security-credentials/ec2-instance": credentialsOf(m, instanceRole, now).text(),
	})
	if m.Role != "" {
		credentials := credentialsOf(m, m.Role, now)
		put("iam/", map[string]string{
			"info": text(map[string]string{
				"Code": "Success", "LastUpdated": timestamp(credentials.made), "InstanceProfileArn": m.ProfileARN(), "InstanceProfileId": "AIPA" + m.ProfileID(),
			}),
			"security-credentials/" + m.Role: credentials.text(),
		})
	}
	if m.LaunchKey != "" {
		put("public-keys/0/", map[string]string{"openssh-key": m.LaunchKey})
	}
	for _, t := range m.Tags {
		if m.MetadataTags && world.ServedTag(t.Key) {
			put("tags/instance/", map[string]string{t.Key: t.Value})
		}
	}
	return facts
}

// interfaceFacts are about the one network interface.
func interfaceFacts(m *world.Machine) map[string]string {
	facts := map[string]string{
		"device-number":      "0",
		"interface-id":       "eni-" + m.Suffix("eni"),
		"local-hostname":     m.PrivateName(),
		"local-ipv4s":        m.PrivateAddress(),
		"mac":                m.MAC(),
		"network-card":       "0",
		"owner-id":           m.Owner(""),
		"public-hostname":    m.PublicName(),
		"public-ipv4s":       m.PublicAddress(),
		"security-group-ids": "sg-" + m.Suffix("sg"),
		"security-groups":    "default",
		"subnet-id":          "subnet-" + m.Suffix("subnet"),
		"vpc-id":             "vpc-" + m.Suffix("vpc"),

		"ipv4-associations/" + m.PublicAddress(): m.PrivateAddress(),
	}
	if ip, err := netip.ParseAddr(m.PrivateAddress()); err == nil && ip.Is4() {
		facts["subnet-ipv4-cidr-block"] = netip.PrefixFrom(ip, 20).Masked().String()
		facts["vpc-ipv4-cidr-block"] = netip.PrefixFrom(ip, 16).Masked().String()
		facts["vpc-ipv4-cidr-blocks"] = facts["vpc-ipv4-cidr-block"]
	}
	if ip, err := netip.ParseAddr(m.IPv6); err == nil {
		facts["ipv6s"] = m.IPv6
		facts["subnet-ipv6-cidr-blocks"] = netip.PrefixFrom(ip, 64).Masked().String()
		facts["vpc-ipv6-cidr-blocks"] = netip.PrefixFrom(ip, 56).Masked().String()
	}
	return facts
}

func lifeCycle(m *world.Machine) string {
	if m.LifeCycle == "" {
		return "on-demand"
	}
	return m.LifeCycle
}

func system(instanceType string) string {
	if world.Nitro(instanceType) {
		return "nitro"
	}
	return "xen-on-nitro"
}

// text is a JSON document as the metadata service has it.
func text(document any) string {
	raw, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return "" // documents are of texts
	}
	return string(raw)
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
