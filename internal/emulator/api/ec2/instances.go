package ec2

import (
	"encoding/xml"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

func (b Backend) instanceOperations() []api.Operation {
	ids := func(more ...string) []string { return append([]string{"InstanceId.#"}, more...) }
	return []api.Operation{
		{Name: "DescribeInstances", ReadOnly: true, Handle: b.describeInstances, Params: filterParams("InstanceId.#", "IncludeManagedResources")},
		{Name: "DescribeInstanceStatus", ReadOnly: true, Handle: b.describeInstanceStatus, Params: filterParams("InstanceId.#", "IncludeManagedResources", "IncludeAllInstances")},
		{Name: "StartInstances", Handle: b.transition(start), Params: ids("AdditionalInfo"), Response: trailTransition},
		{Name: "StopInstances", Handle: b.transition(stop), Params: ids("Hibernate", "SkipOsShutdown", "Force"), Response: trailTransition},
		{Name: "RebootInstances", Handle: b.rebootInstances, Params: ids(), Response: trailDone},
		{Name: "TerminateInstances", Handle: b.transition(terminate), Params: ids("SkipOsShutdown", "Force"), Response: trailTransition},
		{
			Name: "ModifyInstanceMetadataOptions", Handle: b.modifyMetadataOptions,
			Params: []string{"InstanceId", "HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "HttpProtocolIpv6", "InstanceMetadataTags"},
		},
	}
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

// A stateItem is a state with EC2's number for it.
type stateItem struct {
	Code int         `xml:"code"`
	Name world.State `xml:"name"`
}

// An instanceItem has what clients that connect to an instance ask for.
type instanceItem struct {
	ID           string             `xml:"instanceId"`
	Image        string             `xml:"imageId"`
	State        stateItem          `xml:"instanceState"`
	PrivateName  string             `xml:"privateDnsName"`
	PublicName   string             `xml:"dnsName"`
	Reason       string             `xml:"reason"`
	KeyName      string             `xml:"keyName,omitempty"`
	Index        int                `xml:"amiLaunchIndex"`
	Type         string             `xml:"instanceType"`
	Launched     string             `xml:"launchTime"`
	Zone         string             `xml:"placement>availabilityZone"`
	Tenancy      string             `xml:"placement>tenancy"`
	Monitoring   string             `xml:"monitoring>state"`
	Subnet       string             `xml:"subnetId,omitempty"`
	VPC          string             `xml:"vpcId,omitempty"`
	PrivateIP    string             `xml:"privateIpAddress,omitempty"`
	PublicIP     string             `xml:"ipAddress,omitempty"`
	IPv6         string             `xml:"ipv6Address,omitempty"`
	SourceCheck  bool               `xml:"sourceDestCheck"`
	Groups       []groupItem        `xml:"groupSet>item"`
	Arch         string             `xml:"architecture"`
	RootType     string             `xml:"rootDeviceType"`
	RootName     string             `xml:"rootDeviceName"`
	Virtual      string             `xml:"virtualizationType"`
	LifeCycle    string             `xml:"instanceLifecycle,omitempty"`
	Token        string             `xml:"clientToken"`
	Tags         *tagSet            `xml:"tagSet"`
	Hypervisor   string             `xml:"hypervisor"`
	Interfaces   []networkInterface `xml:"networkInterfaceSet>item"`
	Profile      *profileItem       `xml:"iamInstanceProfile"`
	EBSOptimized bool               `xml:"ebsOptimized"`
	Metadata     metadataItem       `xml:"metadataOptions"`
}

type groupItem struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type profileItem struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type networkInterface struct {
	ID        string `xml:"networkInterfaceId"`
	Subnet    string `xml:"subnetId"`
	VPC       string `xml:"vpcId"`
	Status    string `xml:"status"`
	MAC       string `xml:"macAddress"`
	PrivateIP string `xml:"privateIpAddress"`
	IPv6      []ipv6 `xml:"ipv6AddressesSet>item"`
}

type ipv6 struct {
	Address string `xml:"ipv6Address"`
}

type metadataItem struct {
	State    string       `xml:"state"`
	Tokens   world.Tokens `xml:"httpTokens"`
	Hops     int          `xml:"httpPutResponseHopLimit"`
	Endpoint string       `xml:"httpEndpoint"`
	IPv6     string       `xml:"httpProtocolIpv6"`
	Tags     string       `xml:"instanceMetadataTags"`
}

func stateOf(state world.State) stateItem {
	codes := map[world.State]int{world.Running: 16, world.ShuttingDown: 32, world.Terminated: 48, world.Stopping: 64, world.Stopped: 80}
	return stateItem{codes[state], state}
}

// instanceProperties are the filters of DescribeInstances: those for what it returns,
// and those for what no emulated instance has.
func instanceProperties(c *api.Call) api.Properties[*world.Machine] {
	properties := api.Properties[*world.Machine]{
		"owner-id":             func(m *world.Machine) []string { return one(m.Owner(c.Caller.Account)) },
		"availability-zone-id": func(m *world.Machine) []string { return one(world.ZoneID(m.Region, m.Zone)) },
		"reservation-id":       func(m *world.Machine) []string { return one(m.ReservationID()) },
	}
	for name, of := range map[string]func(instanceItem) string{
		"instance-id":         func(i instanceItem) string { return i.ID },
		"instance-state-name": func(i instanceItem) string { return string(i.State.Name) },
		"instance-state-code": func(i instanceItem) string { return strconv.Itoa(i.State.Code) },
		"instance-type":       func(i instanceItem) string { return i.Type },
		"instance-lifecycle":  func(i instanceItem) string { return i.LifeCycle },
		"availability-zone":   func(i instanceItem) string { return i.Zone },
		"key-name":            func(i instanceItem) string { return i.KeyName },
		"ip-address":          func(i instanceItem) string { return i.PublicIP },
		"private-ip-address":  func(i instanceItem) string { return i.PrivateIP },
		"ipv6-address":        func(i instanceItem) string { return i.IPv6 },
		"dns-name":            func(i instanceItem) string { return i.PublicName },
		"private-dns-name":    func(i instanceItem) string { return i.PrivateName },
		"image-id":            func(i instanceItem) string { return i.Image },
		"vpc-id":              func(i instanceItem) string { return i.VPC },
		"subnet-id":           func(i instanceItem) string { return i.Subnet },
		"architecture":        func(i instanceItem) string { return i.Arch },
		"launch-time":         func(i instanceItem) string { return i.Launched },
		"launch-index":        func(i instanceItem) string { return strconv.Itoa(i.Index) },
		"client-token":        func(i instanceItem) string { return i.Token },
		"ebs-optimized":       func(i instanceItem) string { return strconv.FormatBool(i.EBSOptimized) },
		"hypervisor":          func(i instanceItem) string { return i.Hypervisor },
		"monitoring-state":    func(i instanceItem) string { return i.Monitoring },
		"reason":              func(i instanceItem) string { return i.Reason },
		"root-device-name":    func(i instanceItem) string { return i.RootName },
		"root-device-type":    func(i instanceItem) string { return i.RootType },
		"source-dest-check":   func(i instanceItem) string { return strconv.FormatBool(i.SourceCheck) },
		"tenancy":             func(i instanceItem) string { return i.Tenancy },
		"virtualization-type": func(i instanceItem) string { return i.Virtual },

		"metadata-options.http-tokens":                 func(i instanceItem) string { return string(i.Metadata.Tokens) },
		"metadata-options.http-endpoint":               func(i instanceItem) string { return i.Metadata.Endpoint },
		"metadata-options.http-protocol-ipv6":          func(i instanceItem) string { return i.Metadata.IPv6 },
		"metadata-options.http-put-response-hop-limit": func(i instanceItem) string { return strconv.Itoa(i.Metadata.Hops) },
		"metadata-options.instance-metadata-tags":      func(i instanceItem) string { return i.Metadata.Tags },
		"metadata-options.state":                       func(i instanceItem) string { return i.Metadata.State },
	} {
		properties[name] = func(m *world.Machine) []string {
			if value := of(itemOf(m)); value != "" {
				return one(value)
			}
			return nil
		}
	}
	ofInterface := func(of func(networkInterface) string) func(*world.Machine) []string {
		return func(m *world.Machine) (values []string) {
			for _, n := range itemOf(m).Interfaces {
				values = append(values, of(n))
			}
			return values
		}
	}
	for name, of := range map[string]func(networkInterface) string{
		"addresses.private-ip-address": func(n networkInterface) string { return n.PrivateIP },
		"private-ip-address":           func(n networkInterface) string { return n.PrivateIP },
		"mac-address":                  func(n networkInterface) string { return n.MAC },
		"network-interface-id":         func(n networkInterface) string { return n.ID },
		"status":                       func(n networkInterface) string { return n.Status },
		"subnet-id":                    func(n networkInterface) string { return n.Subnet },
		"vpc-id":                       func(n networkInterface) string { return n.VPC },
	} {
		properties["network-interface."+name] = ofInterface(of)
	}
	for name, same := range map[string]string{
		"availability-zone": "availability-zone", "ipv6-address": "ipv6-address", "ipv6-addresses.ipv6-address": "ipv6-address", "owner-id": "owner-id",
		"association.public-ip": "ip-address", "addresses.association.public-ip": "ip-address",
		"association.public-dns-name": "dns-name", "addresses.association.public-dns-name": "dns-name", "public-dns-name": "dns-name",
		"private-dns-name": "private-dns-name", "addresses.private-dns-name": "private-dns-name",
	} {
		properties["network-interface."+name] = properties[same]
	}
	group := func(of func(groupItem) string) func(*world.Machine) []string {
		return func(m *world.Machine) (values []string) {
			for _, g := range itemOf(m).Groups {
				values = append(values, of(g))
			}
			return values
		}
	}
	id, name := group(func(g groupItem) string { return g.ID }), group(func(g groupItem) string { return g.Name })
	properties["instance.group-id"], properties["network-interface.group-id"] = id, id
	properties["instance.group-name"], properties["network-interface.group-name"] = name, name
	profile := func(of func(*profileItem) string) func(*world.Machine) []string {
		return func(m *world.Machine) []string {
			if m.Role == "" {
				return nil
			}
			return one(of(profileOf(m)))
		}
	}
	properties["iam-instance-profile.arn"] = profile(func(p *profileItem) string { return p.ARN })
	properties["iam-instance-profile.id"] = profile(func(p *profileItem) string { return p.ID })
	for _, name := range []string{
		"affinity", "capacity-reservation-id", "host-id", "kernel-id", "outpost-arn", "placement-group-name", "placement-partition-number",
		"platform", "product-code", "product-code.type", "ramdisk-id", "requester-id",
	} {
		properties[name] = func(*world.Machine) []string { return nil }
	}
	return properties
}

func (b Backend) describeInstances(c *api.Call) (any, error) {
	if _, err := c.Params.Flag("IncludeManagedResources"); err != nil { // there are none
		return nil, err
	}
	var all []reservation
	page, err := b.describe(c, instanceProperties(c), func(m *world.Machine) { all = appendTo(all, c, m) })
	if err != nil {
		return nil, err
	}
	var out describeInstancesOutput
	out.Reservations, out.Next = api.PageOf(all, page)
	return out, c.DryRun()
}

// describe calls found, with the lock held, for each instance that a call names and
// that passes its filters. It returns the page that the call asks for.
func (b Backend) describe(c *api.Call, known api.Properties[*world.Machine], found func(*world.Machine)) (api.Page, error) {
	passes, err := api.Filter(c, known)
	if err != nil {
		return api.Page{}, err
	}
	page, err := c.Page(5, 1000)
	if err != nil {
		return page, err
	}
	if c.Params.Has("MaxResults") && len(c.Params.Indices("InstanceId")) > 0 {
		return page, api.ClientError("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	b.Lock()
	defer b.Unlock()
	machines, err := b.asked(c)
	for _, m := range machines {
		if passes(m, m.Tags) {
			found(m)
		}
	}
	return page, err
}

// appendTo puts an instance into its reservation.
func appendTo(all []reservation, c *api.Call, m *world.Machine) []reservation {
	id := m.ReservationID()
	i := slices.IndexFunc(all, func(r reservation) bool { return r.ID == id })
	if i < 0 {
		i = len(all)
		all = append(all, reservation{ID: id, Owner: m.Owner(c.Caller.Account)})
	}
	all[i].Instances = append(all[i].Instances, itemOf(m))
	return all
}

// visible reports whether the caller sees the instance.
func visible(m *world.Machine, c *api.Call) bool {
	return m.Region == c.Region && (m.Account == "" || m.Account == c.Caller.Account)
}

// asked returns the instances that InstanceId names, or all that the caller
// sees. It needs the lock.
func (b Backend) asked(c *api.Call) ([]*world.Machine, error) {
	ids := c.Params.List("InstanceId")
	var missing []string
	for _, id := range ids {
		_, err := b.instance(c, id)
		if e, ok := errors.AsType[*api.Error](err); ok && e.Code == noInstance {
			missing = append(missing, api.Cut(id))
		} else if err != nil {
			return nil, err
		}
	}
	if len(missing) > 1 {
		return nil, api.ClientError(noInstance, "The instance IDs '%s' do not exist", strings.Join(missing, ", "))
	} else if len(missing) > 0 {
		return nil, errNoInstance(missing[0])
	}
	var some []*world.Machine
	for _, m := range b.Machines() {
		if visible(m, c) && (len(ids) == 0 || slices.Contains(ids, m.ID)) {
			some = append(some, m)
		}
	}
	return some, nil
}

const noInstance = "InvalidInstanceID.NotFound"

func errNoInstance(id string) *api.Error {
	return api.ClientError(noInstance, "The instance ID '%s' does not exist", api.Cut(id))
}

// instance needs the lock.
func (b Backend) instance(c *api.Call, id string) (*world.Machine, error) {
	m := b.Machine(id)
	switch {
	case !strings.HasPrefix(id, "i-"):
		return nil, api.ClientError("InvalidInstanceID.Malformed", "Invalid id: \"%s\" (expecting \"i-...\")", api.Cut(id))
	case !world.InstanceIDPattern().MatchString(id):
		return nil, api.ClientError("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", api.Cut(id))
	case m == nil || !visible(m, c):
		return nil, errNoInstance(id)
	}
	return m, nil
}

// itemOf leaves out what a stopped or terminated instance has not.
func itemOf(m *world.Machine) instanceItem {
	item := instanceItem{
		ID: m.ID, Image: m.ImageID(), KeyName: m.KeyName, Type: m.Type, Launched: m.Launched.UTC().Format(timestampForm),
		Zone: m.Zone, Tenancy: "default", Monitoring: "disabled", SourceCheck: true, Arch: m.Architecture(),
		RootType: "ebs", RootName: "/dev/xvda", Virtual: "hvm", Hypervisor: "xen", Index: m.Index, Token: m.ClientToken,
		State: stateOf(m.State), Tags: tagSetOf(m.Tags), Metadata: metadataOf(m), Reason: m.Reason,
	}
	if m.LifeCycle == "spot" {
		item.LifeCycle = m.LifeCycle
	}
	if m.Role != "" {
		item.Profile = profileOf(m)
	}
	if m.State == world.Terminated {
		return item
	}
	item.Subnet, item.VPC = subnetOf(m), "vpc-"+m.Suffix("vpc")
	item.PrivateIP, item.PrivateName = m.PrivateAddress(), m.PrivateName()
	item.Groups = []groupItem{{"sg-" + m.Suffix("sg"), "default"}}
	item.Interfaces = []networkInterface{{"eni-" + m.Suffix("eni"), item.Subnet, item.VPC, "in-use", m.MAC(), item.PrivateIP, nil}}
	if item.IPv6 = m.IPv6; m.IPv6 != "" {
		item.Interfaces[0].IPv6 = []ipv6{{m.IPv6}}
	}
	if m.State == world.Running || m.State == world.Pending {
		item.PublicIP, item.PublicName = m.PublicAddress(), m.PublicName()
	}
	return item
}

func subnetOf(m *world.Machine) string { return "subnet-" + m.Suffix("subnet") }

func profileOf(m *world.Machine) *profileItem {
	return &profileItem{m.ProfileARN(), "AIPA" + m.ProfileID()}
}

func metadataOf(m *world.Machine) metadataItem {
	return metadataItem{
		State: "applied", Tokens: m.TokensOrDefault(), Hops: m.Hops(), Endpoint: enabled(!m.MetadataOff),
		IPv6: enabled(m.MetadataIPv6 || m.IMDSAddress6 != ""), Tags: enabled(m.MetadataTags),
	}
}

func enabled(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

type describeStatusOutput struct {
	XMLName  xml.Name     `xml:"output"`
	Statuses []statusItem `xml:"instanceStatusSet>item"`
	Next     string       `xml:"nextToken,omitempty"`
}

type statusItem struct {
	ID       string    `xml:"instanceId"`
	Zone     string    `xml:"availabilityZone"`
	State    stateItem `xml:"instanceState"`
	System   health    `xml:"systemStatus"`
	Instance health    `xml:"instanceStatus"`
	EBS      health    `xml:"attachedEbsStatus"`
}

type health struct {
	Status  string       `xml:"status"`
	Details []healthItem `xml:"details>item"`
}

type healthItem struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

func healthOf(m *world.Machine) health {
	if m.State != world.Running {
		return health{Status: "not-applicable"}
	}
	return health{"ok", []healthItem{{"reachability", "passed"}}}
}

// statusProperties are the filters of DescribeInstanceStatus.
func statusProperties(c *api.Call) api.Properties[*world.Machine] {
	status := func(m *world.Machine) []string { return one(healthOf(m).Status) }
	reachability := func(m *world.Machine) []string {
		if m.State == world.Running {
			return one("passed")
		}
		return nil
	}
	properties := api.Properties[*world.Machine]{
		"instance-status.status": status, "system-status.status": status, "attached-ebs-status.status": status,
		"instance-status.reachability": reachability, "system-status.reachability": reachability,
	}
	ofInstance := instanceProperties(c)
	for _, name := range []string{"availability-zone", "availability-zone-id", "instance-state-name", "instance-state-code"} {
		properties[name] = ofInstance[name]
	}
	for _, name := range []string{"code", "description", "instance-event-id", "not-after", "not-before", "not-before-deadline"} {
		properties["event."+name] = func(*world.Machine) []string { return nil } // none is scheduled
	}
	return properties
}

// describeInstanceStatus returns running instances only, unless told otherwise.
func (b Backend) describeInstanceStatus(c *api.Call) (any, error) {
	all, err := c.Params.Flag("IncludeAllInstances")
	if err != nil {
		return nil, err
	}
	var items []statusItem
	page, err := b.describe(c, statusProperties(c), func(m *world.Machine) {
		if all || m.State == world.Running {
			items = append(items, statusItem{m.ID, m.Zone, stateOf(m.State), healthOf(m), healthOf(m), healthOf(m)})
		}
	})
	if err != nil {
		return nil, err
	}
	var out describeStatusOutput
	out.Statuses, out.Next = api.PageOf(items, page)
	return out, c.DryRun()
}
