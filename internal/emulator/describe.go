package emulator

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// What every instance has that has not been told otherwise.
const (
	defaultAccount = "123456789012"
	defaultIP      = "127.0.0.1"
	imageID        = "ami-0e1c0e1c0e1c0e1c0"
)

func (s *Server) instanceOperations() []operation {
	return []operation{{
		name: "DescribeInstances", readOnly: true, handle: s.describeInstances,
		params: []string{"InstanceId.#", "Filter.#.Name", "Filter.#.Value.#", "IncludeManagedResources", "MaxResults", "NextToken"},
	}}
}

type describeInstancesOutput struct {
	XMLName      xml.Name      `xml:"output"`
	Reservations []reservation `xml:"reservationSet>item"`
	Next         string        `xml:"nextToken,omitempty"`
}

type reservation struct {
	ID        string         `xml:"reservationId"`
	Owner     string         `xml:"ownerId"`
	Groups    struct{}       `xml:"groupSet"`
	Instances []instanceItem `xml:"instancesSet>item"`
}

// An instanceItem has what mssh and `aws ec2-instance-connect ssh` ask for.
type instanceItem struct {
	ID    string `xml:"instanceId"`
	Image string `xml:"imageId"`
	State struct {
		Code int   `xml:"code"`
		Name State `xml:"name"`
	} `xml:"instanceState"`
	PrivateName string             `xml:"privateDnsName"`
	PublicName  string             `xml:"dnsName"`
	KeyName     string             `xml:"keyName,omitempty"`
	Index       int                `xml:"amiLaunchIndex"`
	Type        string             `xml:"instanceType"`
	Launched    string             `xml:"launchTime"`
	Zone        string             `xml:"placement>availabilityZone"`
	Tenancy     string             `xml:"placement>tenancy"`
	Subnet      string             `xml:"subnetId"`
	VPC         string             `xml:"vpcId"`
	PrivateIP   string             `xml:"privateIpAddress"`
	PublicIP    string             `xml:"ipAddress,omitempty"`
	Arch        string             `xml:"architecture"`
	Interfaces  []networkInterface `xml:"networkInterfaceSet>item"`
	Metadata    struct {
		State    string `xml:"state"`
		Tokens   Tokens `xml:"httpTokens"`
		Hops     int    `xml:"httpPutResponseHopLimit"`
		Endpoint string `xml:"httpEndpoint"`
		IPv6     string `xml:"httpProtocolIpv6"`
	} `xml:"metadataOptions"`
}

type networkInterface struct {
	ID        string `xml:"networkInterfaceId"`
	Subnet    string `xml:"subnetId"`
	VPC       string `xml:"vpcId"`
	PrivateIP string `xml:"privateIpAddress"`
}

// stateCode returns EC2's number for a state.
func stateCode(state State) int {
	switch state {
	case Running:
		return 16
	case ShuttingDown:
		return 32
	case Terminated:
		return 48
	case Stopping:
		return 64
	case Stopped:
		return 80
	}
	return 0
}

func (s *Server) describeInstances(c *call) (any, error) {
	if err := c.checkKnown(); err != nil {
		return nil, err
	}
	if _, err := c.params.flag("IncludeManagedResources"); err != nil { // there are none
		return nil, err
	}
	filters, err := filtersOf(c, "tag-key", "instance-id", "instance-state-name", "instance-type", "availability-zone", "key-name",
		"ip-address", "private-ip-address", "dns-name", "private-dns-name", "image-id", "vpc-id", "subnet-id")
	if err != nil {
		return nil, err
	}
	first, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	ids := c.params.list("InstanceId")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if m := s.machine(id); !instanceIDPattern().MatchString(id) {
			return nil, clientError("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", cut(id))
		} else if m == nil || !m.visible(c) {
			return nil, clientError("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", cut(id))
		}
	}
	var items []reservation
	for _, m := range s.instances {
		if !m.visible(c) || len(ids) > 0 && !slices.Contains(ids, m.ID) {
			continue
		}
		item := m.describe()
		if filters.match(map[string]string{
			"instance-id": item.ID, "instance-state-name": string(item.State.Name), "instance-type": item.Type,
			"availability-zone": item.Zone, "key-name": item.KeyName, "ip-address": item.PublicIP,
			"private-ip-address": item.PrivateIP, "dns-name": item.PublicName, "private-dns-name": item.PrivateName,
			"image-id": item.Image, "vpc-id": item.VPC, "subnet-id": item.Subnet,
		}, nil) {
			items = append(items, reservation{ID: "r-" + m.suffix("r"), Owner: m.owner(c.caller.Account), Instances: []instanceItem{item}})
		}
	}
	var out describeInstancesOutput
	out.Reservations = items[min(first, len(items)):min(first+limit, len(items))]
	if first+limit < len(items) {
		out.Next = strconv.Itoa(first + limit)
	}
	return out, c.dryRun()
}

// page reads MaxResults and NextToken.
func (c *call) page() (first, limit int, err error) {
	const all, least, most = 1 << 20, 5, 1000
	limit = all
	if text := c.params.text("MaxResults"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < least || limit > most {
			return 0, 0, invalidParameter("Value ( %s ) for parameter maxResults is invalid. Expecting a value between %d and %d.", cut(text), least, most)
		}
	}
	first, ok := place(c.params.text("NextToken"))
	if !ok {
		return 0, 0, invalidParameter("Unable to parse pagination token")
	}
	return first, limit, nil
}

// place reads a page token, which is the number of the first item; there are
// none of numbers beyond a million.
func place(token string) (first int, ok bool) {
	if token == "" {
		return 0, true
	}
	first, err := strconv.Atoi(token)
	return first, err == nil && first >= 0 && first <= 1<<20
}

// visible reports whether the caller sees the instance.
func (m *machine) visible(c *call) bool {
	return m.Region == c.region && (m.Account == "" || m.Account == c.caller.Account)
}

func (m *machine) owner(otherwise string) string { return cmp.Or(m.Account, otherwise, defaultAccount) }

// describe needs Server.mu.
func (m *machine) describe() instanceItem {
	item := instanceItem{
		ID: m.ID, Image: imageID, KeyName: m.KeyName, Type: m.Type, Launched: m.launched.UTC().Format(timestampForm),
		Zone: m.Zone, Tenancy: "default", Subnet: "subnet-" + m.suffix("subnet"), VPC: "vpc-" + m.suffix("vpc"),
		PrivateIP: m.privateIP(), PublicIP: m.publicIP(), Arch: m.architecture(),
		PrivateName: m.privateName(), PublicName: m.publicName(),
	}
	item.State.Code, item.State.Name = stateCode(m.State), m.State
	item.Metadata.State, item.Metadata.Hops = "applied", 1
	item.Metadata.Tokens = m.tokens()
	item.Metadata.Endpoint, item.Metadata.IPv6 = enabled(!m.MetadataOff), enabled(m.IMDSAddress6 != "")
	item.Interfaces = []networkInterface{{"eni-" + m.suffix("eni"), item.Subnet, item.VPC, item.PrivateIP}}
	return item
}

func enabled(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

// suffix makes up 17 hex digits of an id; zones share networks.
func (m *machine) suffix(kind string) string {
	h := fnv.New128a()
	switch kind {
	case "vpc":
		fmt.Fprint(h, kind, m.Region)
	case "subnet":
		fmt.Fprint(h, kind, m.Zone)
	default:
		fmt.Fprint(h, kind, m.ID)
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:17]
}

func (m *machine) tokens() Tokens { return cmp.Or(m.Tokens, TokensRequired) }

func (m *machine) publicIP() string { return cmp.Or(m.PublicIP, defaultIP) }

func (m *machine) privateIP() string { return cmp.Or(m.PrivateIP, defaultIP) }

func (m *machine) publicName() string {
	return "ec2-" + dashed(m.publicIP()) + "." + m.Region + ".compute." + m.Domain
}

func (m *machine) privateName() string {
	return "ip-" + dashed(m.privateIP()) + "." + m.Region + ".compute.internal"
}

func dashed(ip string) string { return strings.NewReplacer(".", "-", ":", "-").Replace(ip) }

// architecture goes by the letter that the families of Graviton have.
func (m *machine) architecture() string {
	family, _, _ := strings.Cut(m.Type, ".")
	if family == "a1" || strings.Contains(strings.TrimLeft(family, "abcdefghijklmnopqrstuvwxyz"), "g") {
		return "arm64"
	}
	return "x86_64"
}
