package world

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strings"
)

// What a World has unless told otherwise.
const (
	DefaultInstanceID   = "i-0123456789abcdef0"
	DefaultZone         = "us-east-1a"
	DefaultInstanceType = "t3.micro"
	DefaultAccount      = "123456789012"
	DefaultImage        = "ami-0e1c0e1c0e1c0e1c0"

	defaultIP = "127.0.0.1"
)

// Suffix makes up 17 hex digits of an ID; zones share networks.
func (m *Machine) Suffix(kind string) string {
	switch kind {
	case "vpc", "sg":
		return Suffix(kind, m.Region)
	case "subnet":
		return Suffix(kind, m.Zone)
	}
	return Suffix(kind, m.ID)
}

// Suffix makes up 17 hex digits of the ID of a thing that belongs to owner.
func Suffix(kind, owner string) string {
	h := fnv.New128a()
	fmt.Fprint(h, kind, owner)
	return fmt.Sprintf("%x", h.Sum(nil))[:17]
}

// Owner returns the account of the instance; otherwise is that of one that
// belongs to every caller.
func (m *Machine) Owner(otherwise string) string {
	return cmp.Or(m.Account, otherwise, DefaultAccount)
}

// TokensOrDefault returns the instance's HttpTokens.
func (m *Machine) TokensOrDefault() Tokens { return cmp.Or(m.Tokens, TokensRequired) }

// Hops returns the hop limit of the metadata service's session tokens.
func (m *Machine) Hops() int { return cmp.Or(m.HopLimit, 1) }

// ImageID returns the ID of the instance's AMI.
func (m *Machine) ImageID() string { return cmp.Or(m.Image, DefaultImage) }

// ReservationID returns the ID of the reservation that the instance is in.
func (m *Machine) ReservationID() string { return cmp.Or(m.Reservation, "r-"+m.Suffix("r")) }

// PublicAddress returns the public IPv4 address.
func (m *Machine) PublicAddress() string { return cmp.Or(m.PublicIP, defaultIP) }

// PrivateAddress returns the private IPv4 address.
func (m *Machine) PrivateAddress() string { return cmp.Or(m.PrivateIP, defaultIP) }

// PublicName returns the public DNS name. That of us-east-1 has no region in it.
func (m *Machine) PublicName() string {
	name := "ec2-" + dashed(m.PublicAddress())
	if m.Region == "us-east-1" {
		return name + ".compute-1." + m.Domain
	}
	return name + "." + m.Region + ".compute." + m.Domain
}

// PrivateName returns the private DNS name. That of us-east-1 has no region in
// it.
func (m *Machine) PrivateName() string {
	name := "ip-" + dashed(m.PrivateAddress())
	if m.Region == "us-east-1" {
		return name + ".ec2.internal"
	}
	return name + "." + m.Region + ".compute.internal"
}

func dashed(ip string) string { return strings.NewReplacer(".", "-", ":", "-").Replace(ip) }

// MAC returns a locally administered address made from the ID.
func (m *Machine) MAC() string {
	h := m.Suffix("mac")
	return fmt.Sprintf("02:%s:%s:%s:%s:%s", h[:2], h[2:4], h[4:6], h[6:8], h[8:10])
}

// Architecture goes by the letter that the families of Graviton have.
func (m *Machine) Architecture() string {
	family, _, _ := strings.Cut(m.Type, ".")
	if family == "a1" || strings.Contains(strings.TrimLeft(family, "abcdefghijklmnopqrstuvwxyz"), "g") {
		return "arm64"
	}
	return "x86_64"
}

// Nitro reports whether a type has a serial console: the types on the Nitro
// system, without the bare metal ones that the User Guide excepts.
func Nitro(instanceType string) bool {
	family, size, _ := strings.Cut(instanceType, ".")
	if strings.HasPrefix(size, "metal") {
		switch family {
		case "a1", "mac1", "mac2", "g5g":
			return false
		}
		return !strings.HasPrefix(family, "mac2") && !strings.HasPrefix(family, "u-")
	}
	switch family {
	case "t1", "t2", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "cc1", "cc2", "cg1", "cr1", "hs1", "hi1", "h1",
		"r3", "r4", "x1", "x1e", "d2", "i2", "i3", "p2", "p3", "g2", "g3", "g3s", "f1":
		return false
	}
	return true
}

// ZoneID has the form of a zone's ID, such as use1-az1. On AWS the number
// behind a letter differs from account to account.
func ZoneID(region, zone string) string {
	var short strings.Builder
	for i, part := range strings.Split(region, "-") {
		switch {
		case i == 0, part[0] >= '0' && part[0] <= '9':
			short.WriteString(part)
		case strings.HasSuffix(part, "east") && part != "east":
			short.WriteString(part[:1] + "e")
		case strings.HasSuffix(part, "west") && part != "west":
			short.WriteString(part[:1] + "w")
		default:
			short.WriteString(part[:1])
		}
	}
	rest := strings.TrimPrefix(zone, region)
	if place, last, ok := strings.Cut(strings.TrimPrefix(rest, "-"), "-"); ok && len(rest) > 1 {
		return short.String() + "-" + place + strings.TrimRight(last, "abcdefghijklmnopqrstuvwxyz") + "-az1"
	}
	return fmt.Sprintf("%s-az%d", short.String(), rest[0]-'a'+1)
}

// ProfileARN returns the ARN of the instance profile, which has the name of its
// role.
func (m *Machine) ProfileARN() string {
	return "arn:" + m.Partition + ":iam::" + m.Owner("") + ":instance-profile/" + m.Role
}

// ProfileID makes up the letters and digits of an ID of IAM.
func (m *Machine) ProfileID() string { return strings.ToUpper(Suffix("profile", m.Role)) }

// EndpointName returns the DNS name of an EC2 Instance Connect Endpoint.
func EndpointName(id, region string, fips bool) string {
	_, domain := PartitionOfRegion(region)
	name := id + "." + Suffix("eice", id)[:8]
	if fips {
		name += ".fips"
	}
	return name + ".ec2-instance-connect-endpoint." + region + "." + domain
}

// HasEndpoint reports whether a DNS name is that of an EC2 Instance Connect
// Endpoint. It needs the lock.
func (w *World) HasEndpoint(name string) bool {
	for where, r := range w.regions {
		for _, e := range r.Endpoints {
			if name == EndpointName(e.ID, where.Region, false) || name == EndpointName(e.ID, where.Region, true) {
				return true
			}
		}
	}
	return false
}
