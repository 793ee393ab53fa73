package world

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
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

// Valid reports whether EC2 has such a state.
func (s State) Valid() bool {
	switch s {
	case Pending, Running, ShuttingDown, Terminated, Stopping, Stopped:
		return true
	}
	return false
}

// MaxUserData is how many bytes user data can have.
const MaxUserData = 16 << 10

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
	IPv6         string // global address; none
	Tokens       Tokens // TokensRequired
	MetadataOff  bool   // its metadata service answers 403
	OldBIOS      bool   // its BIOS is too old for the serial console
	Serial       string // what port 0 is joined to, as gateway.ParseTarget reads it; nothing
	HopLimit     int    // IP TTL of session tokens; 1
	MetadataTags bool   // the metadata service serves Tags
	MetadataIPv6 bool   // what DescribeInstances says; a second address says it too
	Tags         []Tag
	UserData     string // as the instance reads it; none
	Role         string // name of the role of its instance profile; none
	Image        string // of the AMI; one that the emulator makes up
	LifeCycle    string // on-demand, or spot

	// Served is what the metadata service serves at paths below /latest/, such as
	// meta-data/spot/termination-time, whatever it would serve there otherwise.
	Served map[string]string `json:",omitempty"`

	// These are of instances that a call has launched.
	Reservation, ClientToken string
	Index                    int
	Reason                   string
}

// Tokens says whether a metadata service insists on version 2.
type Tokens string

// The values of HttpTokens.
const (
	TokensRequired Tokens = "required"
	TokensOptional Tokens = "optional"
)

// A Machine is an instance with all that changes about it. The lock of the World
// guards what can change.
type Machine struct {
	Instance
	TokenKey [32]byte
	Launched time.Time
	Run      *Run // nil: the options have it

	Records                  Keyring
	Overrides                map[string][]byte // by path below a version; nil: removed
	LaunchKey                string            // `type base64 name`
	SerialSince, SerialEnded time.Time
	SerialNumber             uint64
	SerialOfGateway          bool
	ConsolePushes            []string // fingerprints of the latest
	Changed                  Changes

	base Instance // as the options have it
}

// A Run is how RunInstances has launched an instance.
type Run struct{ Instance Instance }

// Changes are what has been set about an instance since it began; the rest is
// as the options say.
type Changes struct {
	State                *State  `json:",omitempty"`
	Tokens               *Tokens `json:",omitempty"`
	MetadataOff, OldBIOS *bool   `json:",omitempty"`
	HopLimit             *int    `json:",omitempty"`
	MetadataTags         *bool   `json:",omitempty"`
	MetadataIPv6         *bool   `json:",omitempty"`
	Tags                 *[]Tag  `json:",omitempty"`
	UserData             *string `json:",omitempty"`
}

// Apply makes the changes, and remembers them. It needs the lock.
func (m *Machine) Apply(c Changes) {
	assign(&m.State, &m.Changed.State, c.State)
	assign(&m.Tokens, &m.Changed.Tokens, c.Tokens)
	assign(&m.MetadataOff, &m.Changed.MetadataOff, c.MetadataOff)
	assign(&m.OldBIOS, &m.Changed.OldBIOS, c.OldBIOS)
	assign(&m.HopLimit, &m.Changed.HopLimit, c.HopLimit)
	assign(&m.MetadataTags, &m.Changed.MetadataTags, c.MetadataTags)
	assign(&m.MetadataIPv6, &m.Changed.MetadataIPv6, c.MetadataIPv6)
	assign(&m.Tags, &m.Changed.Tags, c.Tags)
	assign(&m.UserData, &m.Changed.UserData, c.UserData)
}

func assign[T any](now *T, changed **T, to *T) {
	if to != nil {
		*now, *changed = *to, to
	}
}

// Change makes the changes of an instance, and keeps them.
func (t *Tx) Change(m *Machine, c Changes) {
	instance, changed := m.Instance, m.Changed
	t.Undo(func() { m.Instance, m.Changed = instance, changed })
	m.Apply(c)
	t.SaveMachine(m)
}

// SetState changes the state of an instance. One that stops loses the keys that
// were pushed to it; those for the serial console are not kept there.
func (t *Tx) SetState(m *Machine, state State) {
	if state != Running && m.State == Running {
		t.Withdraw(m, func(r *Record) bool { return !r.Console })
	}
	t.Change(m, Changes{State: &state})
}

// Launch adds an instance that a call has made.
func (t *Tx) Launch(m *Machine) {
	m.Run = &Run{m.Instance}
	m.Launched = t.w.Now()
	Set(t, &t.w.machines, append(slices.Clip(t.w.machines), m))
	t.SaveMachine(m)
}

// NewMachine returns an instance with its defaults filled in, or an error that
// says what is wrong with it. remote permits addresses that are not loopback.
func NewMachine(i Instance, remote bool) (*Machine, error) {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	if !ValidInstanceID(i.ID) {
		return nil, fmt.Errorf("%q is not an instance ID: i- and 8 to 30 lower-case hex digits", i.ID)
	}
	fill(&i.Zone, DefaultZone)
	region, ok := RegionOfZone(i.Zone)
	if !ok {
		return nil, fmt.Errorf("instance %s: %q is not the name of an availability zone", i.ID, i.Zone)
	}
	fill(&i.Region, region)
	partition, domain := PartitionOfRegion(i.Region)
	fill(&i.Partition, partition)
	fill(&i.Domain, domain)
	fill(&i.Type, DefaultInstanceType)
	if i.State == "" {
		i.State = Running
	}
	if !i.State.Valid() {
		return nil, fmt.Errorf("instance %s: %q is not a state of an instance", i.ID, i.State)
	}
	if !ValidType(i.Type) {
		return nil, fmt.Errorf("instance %s: %q is not an instance type, such as %s", i.ID, i.Type, DefaultInstanceType)
	}
	if len(i.Account) != 0 && len(i.Account) != 12 || strings.Trim(i.Account, "0123456789") != "" {
		return nil, fmt.Errorf("instance %s: %q is not an account: 12 digits", i.ID, i.Account)
	}
	switch i.Tokens {
	case "", TokensRequired, TokensOptional:
	default:
		return nil, fmt.Errorf("instance %s: tokens must be %s or %s, not %q", i.ID, TokensRequired, TokensOptional, i.Tokens)
	}
	if i.HopLimit < 0 || i.HopLimit > 64 {
		return nil, fmt.Errorf("instance %s: the hop limit must be between 1 and 64, not %d", i.ID, i.HopLimit)
	}
	if i.LifeCycle != "" && i.LifeCycle != "on-demand" && i.LifeCycle != "spot" {
		return nil, fmt.Errorf("instance %s: the life cycle must be on-demand or spot, not %q", i.ID, i.LifeCycle)
	}
	if len(i.UserData) > MaxUserData {
		return nil, fmt.Errorf("instance %s: user data has at most %d bytes", i.ID, MaxUserData)
	}
	if strings.Contains(i.Role, "/") {
		return nil, fmt.Errorf("instance %s: %q is not the name of a role", i.ID, i.Role)
	}
	for n, t := range i.Tags {
		if t.Key == "" || slices.ContainsFunc(i.Tags[:n], func(other Tag) bool { return other.Key == t.Key }) {
			return nil, fmt.Errorf("instance %s: tag %q is empty or given twice", i.ID, t.Key)
		}
		if i.MetadataTags && !ServedTag(t.Key) {
			return nil, fmt.Errorf("instance %s: the metadata service cannot serve tag %q: only letters, digits and -_+=,.@: are allowed in its keys", i.ID, t.Key)
		}
	}
	for _, ip := range []string{i.PublicIP, i.PrivateIP} {
		if _, err := netip.ParseAddr(ip); ip != "" && err != nil {
			return nil, fmt.Errorf("instance %s: %q is not an IP address", i.ID, ip)
		}
	}
	if ip, err := netip.ParseAddr(i.IPv6); i.IPv6 != "" && (err != nil || !ip.Is6() || ip.Is4In6() || ip.Zone() != "") {
		return nil, fmt.Errorf("instance %s: %q is not an IPv6 address", i.ID, i.IPv6)
	}
	for path := range i.Served {
		if err := CheckServedPath(path); err != nil {
			return nil, fmt.Errorf("instance %s: %w", i.ID, err)
		}
	}
	fill(&i.IMDSAddress, FreeLoopbackPort)
	addresses := []string{i.IMDSAddress}
	if i.IMDSAddress6 != "" {
		addresses = append(addresses, i.IMDSAddress6)
	}
	for _, address := range addresses {
		if err := CheckAddress(address, remote); err != nil {
			return nil, fmt.Errorf("instance %s: %w", i.ID, err)
		}
	}
	if i.Serial != "" {
		if _, err := gateway.ParseTarget(i.Serial); err != nil {
			return nil, fmt.Errorf("instance %s: %w", i.ID, err)
		}
	}
	m := &Machine{Instance: i, base: i}
	rand.Read(m.TokenKey[:])
	return m, nil
}

// InstanceIDPattern and its lengths are those of botocore's model
// ec2-instance-connect 2018-04-02.
var InstanceIDPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^i-[a-f0-9]+$`)
})

func ValidInstanceID(id string) bool {
	return len(id) >= 10 && len(id) <= 32 && InstanceIDPattern().MatchString(id)
}

var typePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
})

// ValidType reports whether an instance type has a family and a size. Which ones EC2 has is
// not checked.
func ValidType(instanceType string) bool { return typePattern().MatchString(instanceType) }

var servedTag = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-zA-Z\-_+=,.@:]{1,255}$`)
})

// ServedTag reports whether the metadata service can serve a tag with this key.
func ServedTag(key string) bool {
	return servedTag().MatchString(key) && key != "." && key != ".." && key != "_index"
}

// zonePattern has the region in its first group. After it comes a letter
// (us-east-1a), a Local Zone (us-west-2-lax-1a) or a Wavelength Zone
// (us-east-1-wl1-bos-wlz-1).
var zonePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^((?:eusc-de|us-gov|us-iso[bf]?|eu-isoe|[a-z]{2})-[a-z]+-\d+)(?:[a-z]|-[a-z]{3}-\d+[a-z]|-wl\d+-[a-z]{3}-wlz-\d+)$`)
})

func RegionOfZone(zone string) (region string, ok bool) {
	match := zonePattern().FindStringSubmatch(zone)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// PartitionOfRegion follows the region patterns of botocore's partitions.json;
// domain is the partition's dnsSuffix. What is none of the others is in aws.
func PartitionOfRegion(region string) (partition, domain string) {
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
