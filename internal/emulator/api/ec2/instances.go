package ec2

import (
	"encoding/xml"
	"slices"
	"strconv"

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

// instanceProperties are the filters of DescribeInstances.
var instanceProperties = api.Properties[*world.Machine]{
	"instance-id":         func(m *world.Machine) []string { return one(m.ID) },
	"instance-state-name": func(m *world.Machine) []string { return one(string(m.State)) },
	"instance-state-code": func(m *world.Machine) []string { return one(strconv.Itoa(stateOf(m.State).Code)) },
	"instance-type":       func(m *world.Machine) []string { return one(m.Type) },
	"instance-lifecycle":  func(m *world.Machine) []string { return one(m.LifeCycle) },
	"availability-zone":   func(m *world.Machine) []string { return one(m.Zone) },
	"key-name":            func(m *world.Machine) []string { return one(m.KeyName) },
	"ip-address":          func(m *world.Machine) []string { return one(itemOf(m).PublicIP) },
	"private-ip-address":  func(m *world.Machine) []string { return one(itemOf(m).PrivateIP) },
	"ipv6-address":        func(m *world.Machine) []string { return one(itemOf(m).IPv6) },
	"network-interface.ipv6-addresses.ipv6-address": func(m *world.Machine) []string { return one(itemOf(m).IPv6) },
	"dns-name":         func(m *world.Machine) []string { return one(itemOf(m).PublicName) },
	"private-dns-name": func(m *world.Machine) []string { return one(itemOf(m).PrivateName) },
	"network-interface.addresses.private-ip-address": func(m *world.Machine) []string { return one(itemOf(m).PrivateIP) },
	"image-id":                       func(m *world.Machine) []string { return one(m.ImageID()) },
	"vpc-id":                         func(m *world.Machine) []string { return one(itemOf(m).VPC) },
	"subnet-id":                      func(m *world.Machine) []string { return one(itemOf(m).Subnet) },
	"reservation-id":                 func(m *world.Machine) []string { return one(m.ReservationID()) },
	"owner-id":                       func(m *world.Machine) []string { return one(m.Owner("")) },
	"architecture":                   func(m *world.Machine) []string { return one(m.Architecture()) },
	"launch-time":                    func(m *world.Machine) []string { return one(itemOf(m).Launched) },
	"metadata-options.http-tokens":   func(m *world.Machine) []string { return one(string(m.TokensOrDefault())) },
	"metadata-options.http-endpoint": func(m *world.Machine) []string { return one(enabled(!m.MetadataOff)) },
	"metadata-options.instance-metadata-tags": func(m *world.Machine) []string { return one(enabled(m.MetadataTags)) },
	"iam-instance-profile.arn": func(m *world.Machine) []string {
		if m.Role == "" {
			return nil
		}
		return one(profileOf(m).ARN)
	},
}

func (b Backend) describeInstances(c *api.Call) (any, error) {
	if _, err := c.Params.Flag("IncludeManagedResources"); err != nil { // there are none
		return nil, err
	}
	var all []reservation
	page, err := b.describe(c, instanceProperties, func(m *world.Machine) { all = appendTo(all, c, m) })
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
	page, err := c.Page()
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
	for _, id := range ids {
		if _, err := b.instance(c, id); err != nil {
			return nil, err
		}
	}
	var some []*world.Machine
	for _, m := range b.Machines() {
		if visible(m, c) && (len(ids) == 0 || slices.Contains(ids, m.ID)) {
			some = append(some, m)
		}
	}
	return some, nil
}

// instance needs the lock.
func (b Backend) instance(c *api.Call, id string) (*world.Machine, error) {
	m := b.Machine(id)
	switch {
	case !world.InstanceIDPattern().MatchString(id):
		return nil, api.ClientError("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", api.Cut(id))
	case m == nil || !visible(m, c):
		return nil, api.ClientError("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", api.Cut(id))
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
func statusProperties() api.Properties[*world.Machine] {
	status := func(m *world.Machine) []string { return one(healthOf(m).Status) }
	reachability := func(m *world.Machine) []string {
		if m.State == world.Running {
			return one("passed")
		}
		return nil
	}
	return api.Properties[*world.Machine]{
		"availability-zone": instanceProperties["availability-zone"], "instance-state-name": instanceProperties["instance-state-name"],
		"instance-state-code": instanceProperties["instance-state-code"], "instance-status.status": status, "system-status.status": status,
		"instance-status.reachability": reachability, "system-status.reachability": reachability,
	}
}

// describeInstanceStatus returns running instances only, unless told otherwise.
func (b Backend) describeInstanceStatus(c *api.Call) (any, error) {
	all, err := c.Params.Flag("IncludeAllInstances")
	if err != nil {
		return nil, err
	}
	var items []statusItem
	page, err := b.describe(c, statusProperties(), func(m *world.Machine) {
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
