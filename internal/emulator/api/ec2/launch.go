package ec2

import (
	"encoding/base64"
	"encoding/xml"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	maxAtOnce    = 100  // instances that one call can launch
	maxInstances = 1000 // of all accounts
)

// launchParams are the parameters of RunInstances: those that count, and those
// that are taken and change nothing.
var launchParams = []string{
	"ImageId", "MinCount", "MaxCount", "KeyName", "InstanceType", "UserData", "SubnetId", "ClientToken", "PrivateIpAddress",
	"Placement.AvailabilityZone", "IamInstanceProfile.Name", "IamInstanceProfile.Arn", "InstanceMarketOptions.MarketType",
	"MetadataOptions.HttpTokens", "MetadataOptions.HttpPutResponseHopLimit", "MetadataOptions.HttpEndpoint",
	"MetadataOptions.HttpProtocolIpv6", "MetadataOptions.InstanceMetadataTags",
	"TagSpecification.#.ResourceType", "TagSpecification.#.Tag.#.Key", "TagSpecification.#.Tag.#.Value",

	"SecurityGroup.#", "SecurityGroupId.#", "Monitoring.Enabled", "Placement.Tenancy", "Placement.GroupName", "EbsOptimized",
	"DisableApiTermination", "DisableApiStop", "InstanceInitiatedShutdownBehavior", "CreditSpecification.CpuCredits",
	"HibernationOptions.Configured", "InstanceMarketOptions.SpotOptions.MaxPrice", "InstanceMarketOptions.SpotOptions.SpotInstanceType",
	"BlockDeviceMapping.#.DeviceName", "BlockDeviceMapping.#.Ebs.VolumeSize", "BlockDeviceMapping.#.Ebs.VolumeType",
	"BlockDeviceMapping.#.Ebs.DeleteOnTermination", "BlockDeviceMapping.#.Ebs.Encrypted", "BlockDeviceMapping.#.Ebs.SnapshotId",
	"NetworkInterface.#.DeviceIndex", "NetworkInterface.#.SubnetId", "NetworkInterface.#.AssociatePublicIpAddress",
	"NetworkInterface.#.DeleteOnTermination", "NetworkInterface.#.SecurityGroupId.#", "NetworkInterface.#.PrivateIpAddress",
	"EnclaveOptions.Enabled", "MaintenanceOptions.AutoRecovery", "CpuOptions.CoreCount", "CpuOptions.ThreadsPerCore",
}

func (b Backend) launchOperations() []api.Operation {
	return []api.Operation{{
		Name: "RunInstances", Handle: b.runInstances, Params: launchParams,
		Resource: func(c *api.Call) string { return c.ARN("ec2", "instance/*") },
		Trail: func(c *api.Call) any { // user data may hold secrets, and CloudTrail has it not either
			shape := map[string]any{"instancesSet": map[string]any{"items": []any{map[string]any{
				"imageId": c.Params.Text("ImageId"), "keyName": c.Params.Text("KeyName"), "minCount": c.Params.Text("MinCount"), "maxCount": c.Params.Text("MaxCount"),
			}}}}
			if c.Params.Text("UserData") != "" {
				shape["userData"] = "<sensitiveDataRemoved>"
			}
			return shape
		},
		Response: func(c *api.Call, output any) any {
			var items []any
			for _, i := range output.(runOutput).Instances {
				items = append(items, map[string]any{"instanceId": i.ID, "keyName": i.KeyName})
			}
			return map[string]any{"requestId": c.RequestID, "instancesSet": map[string]any{"items": items}}
		},
	}}
}

type runOutput struct {
	XMLName xml.Name `xml:"output"`
	reservation
}

func (b Backend) runInstances(c *api.Call) (any, error) {
	template, err := b.template(c)
	if err != nil {
		return nil, err
	}
	count, err := countOf(c)
	if err != nil {
		return nil, err
	}
	if template.Tags, err = tagsFor(c, "instance", "volume", "network-interface", "spot-instances-request"); err != nil {
		return nil, err
	}
	if template.MetadataTags {
		if err := metadataTagKeys(template.Tags); err != nil {
			return nil, err
		}
	}
	var out runOutput
	err = b.Update(func(tx *world.Tx) error {
		machines, err := b.launch(tx, c, template, count)
		if err != nil {
			return err
		}
		var all []reservation
		for _, m := range machines {
			all = appendTo(all, c, m)
		}
		out.reservation = all[0]
		for i := range out.Instances {
			if out.Instances[i].State.Name == world.Running {
				out.Instances[i].State = stateOf(world.Pending) // it runs when the next call sees it
			}
		}
		return nil
	})
	return out, err
}

// launch returns the instances that the call makes, or has made before with the
// same client token.
func (b Backend) launch(tx *world.Tx, c *api.Call, template world.Instance, count int) ([]*world.Machine, error) {
	var known []*world.Machine
	for _, m := range b.Machines() {
		if template.ClientToken != "" && m.ClientToken == template.ClientToken && visible(m, c) {
			known = append(known, m)
		}
	}
	if known != nil {
		if first := known[0]; first.KeyName != template.KeyName || first.ImageID() != template.Image || first.Type != template.Type || len(known) != count {
			return nil, api.ClientError("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
		}
		if slices.ContainsFunc(known, func(m *world.Machine) bool { return m.State == world.Terminated }) {
			return nil, api.ClientError("IdempotentInstanceTerminated", "The instance that was launched with this client token has been terminated.")
		}
		return known, nil
	}
	var line string
	if template.KeyName != "" {
		pair := b.RegionOf(c.Scope()).Pair(template.KeyName)
		if pair == nil {
			return nil, api.ClientError("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", api.Cut(template.KeyName))
		}
		line = pair.Line + " " + pair.Name
	}
	if len(b.Machines())+count > maxInstances {
		return nil, api.ClientError("InstanceLimitExceeded", "The emulator has up to %d instances.", maxInstances)
	}
	if err := c.DryRun(); err != nil {
		return nil, err
	}
	template.Reservation = world.NewID("r")
	var made []*world.Machine
	for i := range count {
		template.ID, template.Index = world.NewID("i"), i
		m, err := world.NewMachine(template, true)
		if err != nil {
			return nil, api.InvalidParameter("%v", err)
		}
		m.LaunchKey = line
		tx.Launch(m)
		if err := b.Launched(tx, m); err != nil {
			return nil, err
		}
		made = append(made, m)
	}
	return made, nil
}

// template reads what all instances of a call have.
func (b Backend) template(c *api.Call) (world.Instance, error) {
	i := world.Instance{
		Account: c.Caller.Account, Region: c.Region, Zone: c.Params.Text("Placement.AvailabilityZone"), Type: c.Params.Text("InstanceType"),
		Image: c.Params.Text("ImageId"), KeyName: c.Params.Text("KeyName"), PrivateIP: c.Params.Text("PrivateIpAddress"), ClientToken: c.Params.Text("ClientToken"),
	}
	switch {
	case i.Image == "":
		return i, api.MissingParameter("ImageId")
	case !strings.HasPrefix(i.Image, "ami-"):
		return i, api.ClientError("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", api.Cut(i.Image))
	case strings.Trim(i.Image[len("ami-"):], "0123456789abcdef") != "" || i.Image == "ami-":
		return i, api.ClientError("InvalidAMIID.Malformed", "Invalid id: \"%s\"", api.Cut(i.Image))
	}
	if i.Type == "" {
		i.Type = world.DefaultInstanceType
	}
	if !world.ValidType(i.Type) {
		return i, api.InvalidParameter("Invalid value '%s' for InstanceType.", api.Cut(i.Type))
	}
	if i.Zone == "" {
		var err error
		if i.Zone, err = b.zoneOf(c, c.Params.Text("SubnetId")); err != nil {
			return i, err
		}
	}
	if region, ok := world.RegionOfZone(i.Zone); !ok || region != c.Region {
		return i, api.InvalidParameter("Invalid availability zone: [%s]", api.Cut(i.Zone))
	}
	if _, err := netip.ParseAddr(i.PrivateIP); i.PrivateIP != "" && err != nil {
		return i, api.InvalidParameter("Invalid IP address %s", api.Cut(i.PrivateIP))
	}
	data, err := base64.StdEncoding.DecodeString(c.Params.Text("UserData"))
	switch {
	case err != nil:
		return i, api.ClientError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	case len(data) > world.MaxUserData:
		return i, api.ClientError("InvalidUserData.Malformed", "User data is limited to %d bytes", world.MaxUserData)
	}
	i.UserData = string(data)
	i.Role = c.Params.Text("IamInstanceProfile.Name")
	if arn := c.Params.Text("IamInstanceProfile.Arn"); arn != "" {
		if i.Role = arn[strings.LastIndexByte(arn, '/')+1:]; i.Role == "" || !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":instance-profile/") {
			return i, api.ClientError("InvalidIamInstanceProfileArn.Malformed", "The ARN '%s' is not valid", api.Cut(arn))
		}
	}
	switch market := c.Params.Text("InstanceMarketOptions.MarketType"); market {
	case "":
	case "spot":
		i.LifeCycle = market
	default:
		return i, api.InvalidParameter("Value (%s) for parameter MarketType is invalid.", api.Cut(market))
	}
	return i, metadataOptions(c, &i)
}

func metadataOptions(c *api.Call, i *world.Instance) error {
	changes, err := metadataChanges(c, "MetadataOptions.")
	if err != nil {
		return err
	}
	m := world.Machine{Instance: *i}
	m.Apply(changes)
	*i = m.Instance
	return nil
}

// zoneOf returns the zone of a subnet, that of the region's first instance where
// the call names none, or the region's zone a.
func (b Backend) zoneOf(c *api.Call, subnet string) (string, error) {
	b.Lock()
	defer b.Unlock()
	i := slices.IndexFunc(b.Machines(), func(m *world.Machine) bool { return m.Region == c.Region && (subnet == "" || subnetOf(m) == subnet) })
	switch {
	case i >= 0:
		return b.Machines()[i].Zone, nil
	case subnet != "":
		return "", errNoSubnet(subnet)
	}
	return c.Region + "a", nil
}

// countOf returns how many instances a call wants.
func countOf(c *api.Call) (int, error) {
	var counts [2]int
	for i, name := range []string{"MinCount", "MaxCount"} {
		text := c.Params.Text(name)
		if text == "" {
			return 0, api.MissingParameter(name)
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return 0, api.InvalidParameter("Value (%s) for parameter %s is invalid. It must be 1 or more.", api.Cut(text), name)
		}
		counts[i] = n
	}
	switch {
	case counts[0] > counts[1]:
		return 0, api.InvalidParameter("MinCount %d is more than MaxCount %d.", counts[0], counts[1])
	case counts[1] > maxAtOnce:
		return 0, api.ClientError("ResourceCountExceeded", "A call launches up to %d instances.", maxAtOnce)
	}
	return counts[1], nil
}
