package emulator

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/gateway"
)

// A State is the name that EC2 has for a state of an instance. Keys can be
// pushed to a running instance only.
type State string

// The states of an instance.
const (
	Pending      State = "pending"
	Running      State = "running"
	ShuttingDown State = "shutting-down"
	Terminated   State = "terminated"
	Stopping     State = "stopping"
	Stopped      State = "stopped"
)

func (s State) valid() bool {
	switch s {
	case Pending, Running, ShuttingDown, Terminated, Stopping, Stopped:
		return true
	}
	return false
}

// An Instance is an emulated EC2 instance. Only the ID is needed; an empty
// field gets the default that its comment names.
type Instance struct {
	ID          string // i- and lower-case hex digits, 10 to 32 characters in all
	Zone        string // DefaultZone; Local and Wavelength Zones too
	Region      string // the parent region of the zone
	Partition   string // that of the region
	Domain      string // services/domain: the partition's DNS suffix
	Type        string // DefaultInstanceType
	State       State  // Running
	IMDSAddress string // where Listen binds its metadata service; a free port of 127.0.0.1

	IMDSAddress6 string // a second address of the metadata service, such as [::1]:1338; none
	Account      string // whose it is; callers of every account
	KeyName      string // of its launch key, which is the key pair imported under this name; none
	PublicIP     string // what DescribeInstances and the metadata say; 127.0.0.1
	PrivateIP    string // 127.0.0.1
	Tokens       Tokens // TokensRequired
	MetadataOff  bool   // its metadata service answers 403
	OldBIOS      bool   // its BIOS is too old for the serial console
	Serial       string // what port 0 is joined to, as gateway.ParseTarget reads it; nothing
}

// Tokens says whether a metadata service insists on version 2.
type Tokens string

// The values of HttpTokens.
const (
	TokensRequired Tokens = "required"
	TokensOptional Tokens = "optional"
)

// A machine is an instance with all that changes about it.
type machine struct {
	Instance // Server.mu guards State, Tokens, MetadataOff and OldBIOS; the rest never changes
	signer   *signer
	tokenKey [32]byte
	launched time.Time

	// Server.mu guards these.
	listener, listener6      net.Listener
	records                  keyring
	overridden               map[string][]byte // by path below metadataRoot; nil: removed
	launchKey                string            // `type base64 name`
	serialSince, serialEnded time.Time
	serialNumber             uint64
	serialOfGateway          bool
	consolePushes            []string // fingerprints of the latest
	line                     *gateway.Line
	changed                  changes
}

// changes are what has been set about an instance since it began; the rest is
// as the options say.
type changes struct {
	State                *State  `json:",omitempty"`
	Tokens               *Tokens `json:",omitempty"`
	MetadataOff, OldBIOS *bool   `json:",omitempty"`
}

// apply needs Server.mu.
func (m *machine) apply(c changes) {
	if c.State != nil {
		m.State, m.changed.State = *c.State, c.State
	}
	if c.Tokens != nil {
		m.Tokens, m.changed.Tokens = *c.Tokens, c.Tokens
	}
	if c.MetadataOff != nil {
		m.MetadataOff, m.changed.MetadataOff = *c.MetadataOff, c.MetadataOff
	}
	if c.OldBIOS != nil {
		m.OldBIOS, m.changed.OldBIOS = *c.OldBIOS, c.OldBIOS
	}
}

func newMachine(i Instance, allowRemote bool) (*machine, error) {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	if !validInstanceID(i.ID) {
		return nil, fmt.Errorf("%q is not an instance ID: it takes i- and 8 to 30 lower-case hex digits", i.ID)
	}
	fill(&i.Zone, DefaultZone)
	region, ok := regionOfZone(i.Zone)
	if !ok {
		return nil, fmt.Errorf("instance %s: %q is not the name of an availability zone", i.ID, i.Zone)
	}
	fill(&i.Region, region)
	partition, domain := partitionOfRegion(i.Region)
	fill(&i.Partition, partition)
	fill(&i.Domain, domain)
	fill(&i.Type, DefaultInstanceType)
	if i.State == "" {
		i.State = Running
	}
	if !i.State.valid() {
		return nil, fmt.Errorf("instance %s: %q is not a state of an instance", i.ID, i.State)
	}
	switch i.Tokens {
	case "", TokensRequired, TokensOptional:
	default:
		return nil, fmt.Errorf("instance %s: tokens are %s or %s, not %q", i.ID, TokensRequired, TokensOptional, i.Tokens)
	}
	for _, ip := range []string{i.PublicIP, i.PrivateIP} {
		if _, err := netip.ParseAddr(ip); ip != "" && err != nil {
			return nil, fmt.Errorf("instance %s: %q is not an IP address", i.ID, ip)
		}
	}
	fill(&i.IMDSAddress, freeLoopbackPort)
	addresses := []string{i.IMDSAddress}
	if i.IMDSAddress6 != "" {
		addresses = append(addresses, i.IMDSAddress6)
	}
	for _, address := range addresses {
		if err := checkAddress(address, allowRemote); err != nil {
			return nil, fmt.Errorf("instance %s: %w", i.ID, err)
		}
	}
	if i.Serial != "" {
		if _, err := gateway.ParseTarget(i.Serial); err != nil {
			return nil, fmt.Errorf("instance %s: %w", i.ID, err)
		}
	}
	m := &machine{Instance: i}
	rand.Read(m.tokenKey[:])
	return m, nil
}

// instanceIDPattern and its lengths are those of botocore's model
// ec2-instance-connect 2018-04-02.
var instanceIDPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^i-[a-f0-9]+$`)
})

func validInstanceID(id string) bool {
	return len(id) >= 10 && len(id) <= 32 && instanceIDPattern().MatchString(id)
}

// zonePattern has the region in its first group. After it comes a letter
// (us-east-1a), a Local Zone (us-west-2-lax-1a) or a Wavelength Zone
// (us-east-1-wl1-bos-wlz-1).
var zonePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^((?:eusc-de|us-gov|us-iso[bf]?|eu-isoe|[a-z]{2})-[a-z]+-\d+)(?:[a-z]|-[a-z]{3}-\d+[a-z]|-wl\d+-[a-z]{3}-wlz-\d+)$`)
})

func regionOfZone(zone string) (region string, ok bool) {
	match := zonePattern().FindStringSubmatch(zone)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// partitionOfRegion follows the region patterns of botocore's partitions.json;
// domain is the partition's dnsSuffix. What is none of the others is in aws.
func partitionOfRegion(region string) (partition, domain string) {
	for _, p := range []struct{ prefix, partition, domain string }{
		{"cn-", "aws-cn", "amazonaws.com.cn"},
		{"eusc-", "aws-eusc", "amazonaws.eu"},
		{"us-gov-", "aws-us-gov", "amazonaws.com"},
		{"us-iso-", "aws-iso", "c2s.ic.gov"},
		{"us-isob-", "aws-iso-b", "sc2s.sgov.gov"},
		{"eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"},
		{"us-isof-", "aws-iso-f", "csp.hci.ic.gov"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition, p.domain
		}
	}
	return "aws", "amazonaws.com"
}
