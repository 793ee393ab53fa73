package emulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func TestDescribeInstances(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{
		{ID: "i-00000001", KeyName: "k", PublicIP: "192.0.2.1", PrivateIP: "10.0.0.1", Type: "m6g.large"},
		{ID: "i-00000002", State: emulator.Stopped, Zone: "us-east-1b"}, {ID: "i-00000003", Zone: "eu-west-1a"},
		{ID: "i-00000004", Account: "210987654321"},
	}})
	c := newClients(t, s, "us-east-1", testKey).ec2
	filter := func(name string, values ...string) *ec2.DescribeInstancesInput {
		return &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: &name, Values: values}}}
	}
	for name, row := range map[string]struct {
		in   *ec2.DescribeInstancesInput
		want string
		code string
	}{
		"all":       {&ec2.DescribeInstancesInput{}, "i-00000001 i-00000002", ""},
		"id":        {&ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000002"}}, "i-00000002", ""},
		"state":     {filter("instance-state-name", "running", "pending"), "i-00000001", ""},
		"zone":      {filter("availability-zone", "us-east-1b"), "i-00000002", ""},
		"ip":        {filter("ip-address", "192.0.2.1"), "i-00000001", ""},
		"unknown":   {&ec2.DescribeInstancesInput{InstanceIds: []string{"i-0000000f"}}, "", "InvalidInstanceID.NotFound"},
		"elsewhere": {&ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000003"}}, "", "InvalidInstanceID.NotFound"},
		"others'":   {&ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000004"}}, "", "InvalidInstanceID.NotFound"},
		"malformed": {&ec2.DescribeInstancesInput{InstanceIds: []string{"x"}}, "", "InvalidInstanceID.Malformed"},
		"filter":    {filter("color", "red"), "", "InvalidParameterValue"},
		"page":      {&ec2.DescribeInstancesInput{MaxResults: aws.Int32(1)}, "", "InvalidParameterValue"},
		"token":     {&ec2.DescribeInstancesInput{NextToken: aws.String("x")}, "", "InvalidParameterValue"},
		"next":      {&ec2.DescribeInstancesInput{NextToken: aws.String("1")}, "i-00000002", ""},
	} {
		out, err := c.DescribeInstances(t.Context(), row.in)
		checkCode(t, name, err, row.code, http.StatusBadRequest)
		if err != nil {
			continue
		}
		var got []string
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				got = append(got, *i.InstanceId)
			}
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: got %v, want %s", name, got, row.want)
		}
	}
	out, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000001"}})
	if err != nil {
		t.Fatal(err)
	}
	i := out.Reservations[0].Instances[0]
	if *i.Placement.AvailabilityZone != "us-east-1a" || *i.PublicIpAddress != "192.0.2.1" || *i.PrivateIpAddress != "10.0.0.1" ||
		*i.KeyName != "k" || i.State.Name != ec2types.InstanceStateNameRunning || *i.State.Code != 16 || i.Architecture != ec2types.ArchitectureValuesArm64 ||
		*i.PublicDnsName != "ec2-192-0-2-1.compute-1.amazonaws.com" || i.InstanceType != ec2types.InstanceTypeM6gLarge || i.LaunchTime == nil ||
		len(i.NetworkInterfaces) != 1 || *i.NetworkInterfaces[0].VpcId != *i.VpcId || *out.Reservations[0].OwnerId != "123456789012" {
		t.Errorf("got %+v", i)
	}
}

// TestInstanceFilters asks for everything by each filter that EC2 documents for what
// the emulator returns, and for what its instances do not have.
func TestInstanceFilters(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", Role: "web", IPv6: "2001:db8::1"}, {ID: "i-00000002", State: emulator.Stopped}}})
	c := newClients(t, s, "us-east-1", testKey).ec2
	count := func(name, value string) int {
		out, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: &name, Values: []string{value}}}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return -1
		}
		n := 0
		for _, r := range out.Reservations {
			n += len(r.Instances)
		}
		return n
	}
	for want, names := range [][]string{
		{
			"affinity", "capacity-reservation-id", "host-id", "instance-lifecycle", "kernel-id", "key-name", "outpost-arn", "placement-group-name",
			"placement-partition-number", "platform", "product-code", "product-code.type", "ramdisk-id", "requester-id", "client-token", "reason",
		},
		{
			"dns-name", "iam-instance-profile.arn", "iam-instance-profile.id", "ip-address", "ipv6-address", "network-interface.addresses.association.public-dns-name",
			"network-interface.addresses.association.public-ip", "network-interface.association.public-dns-name", "network-interface.association.public-ip",
			"network-interface.ipv6-address", "network-interface.ipv6-addresses.ipv6-address", "network-interface.public-dns-name",
		},
		{
			"architecture", "availability-zone", "availability-zone-id", "ebs-optimized", "hypervisor", "image-id", "instance-id", "instance-state-code",
			"instance-state-name", "instance-type", "instance.group-id", "instance.group-name", "launch-index", "launch-time", "metadata-options.http-endpoint",
			"metadata-options.http-protocol-ipv6", "metadata-options.http-put-response-hop-limit", "metadata-options.http-tokens",
			"metadata-options.instance-metadata-tags", "metadata-options.state", "monitoring-state", "network-interface.addresses.private-dns-name",
			"network-interface.addresses.private-ip-address", "network-interface.availability-zone", "network-interface.group-id",
			"network-interface.group-name", "network-interface.mac-address", "network-interface.network-interface-id", "network-interface.owner-id",
			"network-interface.private-dns-name", "network-interface.private-ip-address", "network-interface.status", "network-interface.subnet-id",
			"network-interface.vpc-id", "owner-id", "private-dns-name", "private-ip-address", "reservation-id", "root-device-name", "root-device-type",
			"source-dest-check", "subnet-id", "tenancy", "virtualization-type", "vpc-id",
		},
	} {
		for _, name := range names {
			if got := count(name, "*"); got != want {
				t.Errorf("%s: %d instances, want %d", name, got, want)
			}
		}
	}
	for name, value := range map[string]string{"root-device-type": "ebs", "source-dest-check": "true", "ebs-optimized": "false", "metadata-options.http-put-response-hop-limit": "1", "availability-zone-id": "use1-az1", "owner-id": "123456789012"} {
		if got := count(name, value); got != 2 {
			t.Errorf("%s %s: %d instances", name, value, got)
		}
	}
	_, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0000000a", "i-00000001", "i-0000000b"}})
	if err == nil || !strings.Contains(err.Error(), "The instance IDs 'i-0000000a, i-0000000b' do not exist") {
		t.Errorf("two that are not there: %v", err)
	}
	for _, name := range []string{"event.code", "attached-ebs-status.status", "availability-zone-id"} {
		if _, err := c.DescribeInstanceStatus(t.Context(), &ec2.DescribeInstanceStatusInput{Filters: []ec2types.Filter{{Name: &name, Values: []string{"x"}}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLaunchKey imports a key pair under the name that an instance has for its
// launch key.
func TestLaunchKey(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", KeyName: "my key"}, {ID: "i-00000002"}}})
	with, without := newSession(t, s, "i-00000001"), newSession(t, s, "i-00000002")
	const path = "public-keys/0/openssh-key"
	if status, _ := with.get(path); status != http.StatusNotFound {
		t.Errorf("a key that was not imported is %d", status)
	}
	c := newClients(t, s, "us-east-1", testKey).ec2
	v := keyVectors(t)[3]
	if _, err := c.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("my key"), PublicKeyMaterial: []byte(v.line)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteKeyPair(t.Context(), &ec2.DeleteKeyPairInput{KeyName: aws.String("my key")}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join(strings.Fields(v.line)[:2], " ") + " my key"
	for at, body := range map[string]string{"public-keys/": "0=my key", "public-keys/0/": "openssh-key", path: want, path + "/": want} {
		if got := with.mustGet(at); got != body {
			t.Errorf("%s is %q, want %q", at, got, body)
		}
	}
	if status, _ := without.get("public-keys/"); status != http.StatusNotFound {
		t.Errorf("an instance without a key has public-keys: %d", status)
	}
}
