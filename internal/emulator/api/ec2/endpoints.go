package ec2

import (
	"encoding/xml"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	createComplete = "create-complete"
	maxEndpoints   = 5 // of an account in a region
)

func (b Backend) endpointOperations() []api.Operation {
	return []api.Operation{
		{
			Name: "CreateInstanceConnectEndpoint", Handle: b.createEndpoint,
			Params: []string{
				"SubnetId", "SecurityGroupId.#", "PreserveClientIp", "ClientToken", "IpAddressType",
				"TagSpecification.#.ResourceType", "TagSpecification.#.Tag.#.Key", "TagSpecification.#.Tag.#.Value",
			},
		},
		{Name: "DescribeInstanceConnectEndpoints", ReadOnly: true, Handle: b.describeEndpoints, Params: filterParams("InstanceConnectEndpointId.#")},
		{Name: "DeleteInstanceConnectEndpoint", Handle: b.deleteEndpoint, Params: []string{"InstanceConnectEndpointId"}},
	}
}

type endpointItem struct {
	Owner            string      `xml:"ownerId"`
	ID               string      `xml:"instanceConnectEndpointId"`
	ARN              string      `xml:"instanceConnectEndpointArn"`
	State            string      `xml:"state"`
	StateMessage     string      `xml:"stateMessage"`
	DNSName          string      `xml:"dnsName"`
	FIPSName         string      `xml:"fipsDnsName"`
	Interfaces       []string    `xml:"networkInterfaceIdSet>item"`
	VPC              string      `xml:"vpcId"`
	Zone             string      `xml:"availabilityZone"`
	Created          string      `xml:"createdAt"`
	Subnet           string      `xml:"subnetId"`
	PreserveClientIP bool        `xml:"preserveClientIp"`
	Groups           []string    `xml:"securityGroupIdSet>item"`
	Tags             []world.Tag `xml:"tagSet>item"`
	IPAddressType    string      `xml:"ipAddressType"`
}

func itemOfEndpoint(c *api.Call, e *world.Endpoint, state string) endpointItem {
	return endpointItem{
		Owner: c.Caller.Account, ID: e.ID, ARN: c.ARN("ec2", "instance-connect-endpoint/"+e.ID), State: state,
		DNSName: world.EndpointName(e.ID, c.Region, false), FIPSName: world.EndpointName(e.ID, c.Region, true),
		Interfaces: []string{"eni-" + world.Suffix("eni", e.ID)}, VPC: e.VPC, Zone: e.Zone, Created: e.Created.Format(timestampForm),
		Subnet: e.Subnet, PreserveClientIP: e.PreserveClientIP, Groups: e.SecurityGroups, Tags: e.Tags, IPAddressType: e.IPAddressType,
	}
}

type endpointOutput struct {
	XMLName  xml.Name     `xml:"output"`
	Endpoint endpointItem `xml:"instanceConnectEndpoint"`
	Token    string       `xml:"clientToken,omitempty"`
}

func errNoEndpoint(id string) *api.Error {
	if !strings.HasPrefix(id, "eice-") {
		return api.ClientError("InvalidInstanceConnectEndpointId.Malformed", "Invalid id: \"%s\"", api.Cut(id))
	}
	return api.ClientError("InvalidInstanceConnectEndpointId.NotFound", "The EC2 Instance Connect Endpoint ID '%s' does not exist", api.Cut(id))
}

func errNoSubnet(id string) *api.Error {
	return api.ClientError("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", api.Cut(id))
}

// createEndpoint takes the subnets that the instances are in. The endpoint is
// complete when the next call sees it.
func (b Backend) createEndpoint(c *api.Call) (any, error) {
	subnet, token := c.Params.Text("SubnetId"), c.Params.Text("ClientToken")
	if subnet == "" {
		return nil, api.MissingParameter("SubnetId")
	}
	preserve, err := c.Params.Flag("PreserveClientIp")
	if err != nil {
		return nil, err
	}
	kind := c.Params.Text("IpAddressType")
	switch kind {
	case "":
		kind = "ipv4"
	case "ipv4", "dualstack", "ipv6":
	default:
		return nil, api.InvalidParameter("Value (%s) for parameter IpAddressType is invalid.", api.Cut(kind))
	}
	tags, err := tagsFor(c, "instance-connect-endpoint")
	if err != nil {
		return nil, err
	}
	out := endpointOutput{Token: token}
	err = b.Update(func(tx *world.Tx) error {
		i := slices.IndexFunc(b.Machines(), func(m *world.Machine) bool { return visible(m, c) && subnetOf(m) == subnet })
		if i < 0 {
			return errNoSubnet(subnet)
		}
		region, in := b.RegionOf(c.Scope()), b.Machines()[i]
		groups := c.Params.List("SecurityGroupId")
		for _, e := range region.Endpoints {
			switch {
			case token == "" || e.Token != token:
			case e.Subnet != subnet, e.PreserveClientIP != preserve, e.IPAddressType != kind, groups != nil && !slices.Equal(groups, e.SecurityGroups):
				return api.ClientError("IdempotentParameterMismatch", "The client token was used with other parameters.")
			default:
				out.Endpoint = itemOfEndpoint(c, e, "create-in-progress")
				return nil
			}
		}
		if len(region.Endpoints) >= maxEndpoints {
			return api.ClientError("ResourceLimitExceeded", "The account has %d EC2 Instance Connect Endpoints in this Region.", maxEndpoints)
		}
		if err := c.DryRun(); err != nil {
			return err
		}
		if groups == nil {
			groups = []string{"sg-" + in.Suffix("sg")}
		}
		e := &world.Endpoint{
			ID: world.NewID("eice"), Subnet: subnet, VPC: "vpc-" + in.Suffix("vpc"), Zone: in.Zone, Created: c.Now.UTC(), PreserveClientIP: preserve,
			SecurityGroups: groups, IPAddressType: kind, Token: token, State: createComplete, Tags: tags,
		}
		tx.AddEndpoint(c.Scope(), e)
		out.Endpoint = itemOfEndpoint(c, e, "create-in-progress")
		return nil
	})
	return out, err
}

type describeEndpointsOutput struct {
	XMLName   xml.Name       `xml:"output"`
	Endpoints []endpointItem `xml:"instanceConnectEndpointSet>item"`
	Next      string         `xml:"nextToken,omitempty"`
}

func (b Backend) describeEndpoints(c *api.Call) (any, error) {
	passes, err := api.Filter(c, api.Properties[*world.Endpoint]{
		"instance-connect-endpoint-id": func(e *world.Endpoint) []string { return one(e.ID) },
		"state":                        func(e *world.Endpoint) []string { return one(e.State) },
		"subnet-id":                    func(e *world.Endpoint) []string { return one(e.Subnet) },
		"vpc-id":                       func(e *world.Endpoint) []string { return one(e.VPC) },
		"availability-zone":            func(e *world.Endpoint) []string { return one(e.Zone) },
		"tag-value": func(e *world.Endpoint) (values []string) {
			for _, t := range e.Tags {
				values = append(values, t.Value)
			}
			return values
		},
	})
	if err != nil {
		return nil, err
	}
	page, err := c.Page(1, 50)
	if err != nil {
		return nil, err
	}
	ids := c.Params.List("InstanceConnectEndpointId")
	b.Lock()
	defer b.Unlock()
	var all []endpointItem
	seen := make(map[string]bool)
	for _, e := range b.RegionOf(c.Scope()).Endpoints {
		seen[e.ID] = true
		if (len(ids) == 0 || slices.Contains(ids, e.ID)) && passes(e, e.Tags) {
			all = append(all, itemOfEndpoint(c, e, e.State))
		}
	}
	for _, id := range ids {
		if !seen[id] {
			return nil, errNoEndpoint(id)
		}
	}
	var out describeEndpointsOutput
	out.Endpoints, out.Next = api.PageOf(all, page)
	return out, c.DryRun()
}

func (b Backend) deleteEndpoint(c *api.Call) (any, error) {
	id := c.Params.Text("InstanceConnectEndpointId")
	if id == "" {
		return nil, api.MissingParameter("InstanceConnectEndpointId")
	}
	var out endpointOutput
	err := b.Update(func(tx *world.Tx) error {
		for _, e := range b.RegionOf(c.Scope()).Endpoints {
			if e.ID != id {
				continue
			}
			if err := c.DryRun(); err != nil {
				return err
			}
			tx.RemoveEndpoint(c.Scope(), e)
			out.Endpoint = itemOfEndpoint(c, e, "delete-in-progress")
			return nil
		}
		return errNoEndpoint(id)
	})
	return out, err
}
