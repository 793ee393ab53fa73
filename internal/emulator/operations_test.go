package emulator_test

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"
	lightsailtypes "github.com/aws/aws-sdk-go-v2/service/lightsail/types"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// TestCreateKeyPair has other programs read the private key, and compares their
// fingerprints with EC2's.
func TestCreateKeyPair(t *testing.T) {
	t.Parallel()
	keygen, putty := need.Program(t, "ssh-keygen"), need.Program(t, "puttygen")
	c := newClients(t, newServer(t, emulator.Options{}), "us-east-1", testKey).ec2
	for _, kind := range []ec2types.KeyType{"", "rsa", "ed25519"} {
		for _, form := range []ec2types.KeyFormat{"", "pem", "ppk"} {
			name := "k " + string(kind) + string(form)
			name = strings.TrimSpace(name)
			out, err := c.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: &name, KeyType: kind, KeyFormat: form})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(*out.KeyMaterial), 0o600); err != nil {
				t.Fatal(err)
			}
			read := exec.Command(keygen, "-y", "-P", "", "-f", path)
			if form == "ppk" {
				read = exec.Command(putty, path, "-L")
			}
			public, err := read.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v, %s", name, err, public)
			}
			described, err := c.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{KeyNames: []string{name}, IncludePublicKey: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			pair := described.KeyPairs[0]
			if got, want := strings.Fields(*pair.PublicKey), strings.Fields(string(public)); !slices.Equal(got[:2], want[:2]) || got[2] != name[:1] {
				t.Errorf("%s: the public key is %v, and of the private key %v", name, got, want)
			}
			if want := map[bool]ec2types.KeyType{true: "rsa", false: kind}[kind == ""]; pair.KeyType != want || *pair.KeyFingerprint != *out.KeyFingerprint || *pair.KeyPairId != *out.KeyPairId {
				t.Errorf("%s: got %v and %v", name, pair, out)
			}
			if form == "ppk" {
				continue
			}
			if kind == "ed25519" {
				printed, err := exec.Command(keygen, "-lf", path).Output()
				if err != nil || !strings.Contains(string(printed), " SHA256:"+strings.TrimRight(*out.KeyFingerprint, "=")+" ") {
					t.Errorf("%s: the fingerprint is %s, ssh-keygen has %s, %v", name, *out.KeyFingerprint, printed, err)
				}
				continue
			}
			block, _ := pem.Decode([]byte(*out.KeyMaterial))
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha1.Sum(der)
			if got := strings.ReplaceAll(*out.KeyFingerprint, ":", ""); got != hex.EncodeToString(sum[:]) || len(*out.KeyFingerprint) != 59 {
				t.Errorf("%s: the fingerprint is %s", name, *out.KeyFingerprint)
			}
		}
	}
	for what, in := range map[string]*ec2.CreateKeyPairInput{
		"InvalidParameterValue":    {KeyName: aws.String("x"), KeyType: "ecdsa"},
		"InvalidKeyPair.Duplicate": {KeyName: aws.String("k rsapem")},
		"DryRunOperation":          {KeyName: aws.String("y"), DryRun: aws.Bool(true)},
	} {
		status := http.StatusBadRequest
		if what == "DryRunOperation" {
			status = http.StatusPreconditionFailed
		}
		_, err := c.CreateKeyPair(t.Context(), in)
		checkCode(t, what, err, what, status)
	}
	_, err := c.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("x"), KeyFormat: "der"})
	checkCode(t, "format", err, "InvalidParameterValue", http.StatusBadRequest)
}

// TestTags go on everything that the emulator holds.
func TestTags(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001"}, {ID: "i-00000002", Tags: []emulator.Tag{{Key: "Name", Value: "a*b"}}}}})
	c := newClients(t, s, "us-east-1", testKey).ec2
	pair, err := c.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line)})
	if err != nil {
		t.Fatal(err)
	}
	tag := func(key, value string) ec2types.Tag { return ec2types.Tag{Key: &key, Value: &value} }
	create := func(id string, tags ...ec2types.Tag) error {
		_, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags})
		return err
	}
	names := func(name string, values ...string) string {
		t.Helper()
		out, err := c.DescribeTags(t.Context(), &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: &name, Values: values}}})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, d := range out.Tags {
			all = append(all, fmt.Sprintf("%s %s=%s", d.ResourceType, *d.Key, *d.Value))
		}
		return strings.Join(all, ", ")
	}
	if err := create(*pair.KeyPairId, tag("Name", "axb"), tag("empty", "")); err != nil {
		t.Fatal(err)
	}
	if err := create("i-00000001", tag("Name", `a\b`)); err != nil {
		t.Fatal(err)
	}
	if err := create("i-00000001", tag("Name", `a?b`)); err != nil { // instead
		t.Fatal(err)
	}
	for _, row := range []struct{ name, value, want string }{
		{"value", "a*b", "instance Name=a?b, instance Name=a*b, key-pair Name=axb"},
		{"value", `a\*b`, "instance Name=a*b"},
		{"value", `a\?b`, "instance Name=a?b"},
		{"value", `\a?b`, "instance Name=a?b, instance Name=a*b, key-pair Name=axb"},
		{"value", `a\\b`, ""},
		{"value", "A*B", ""},
		{"value", "", "key-pair empty="},
		{"resource-type", "key-pair", "key-pair Name=axb, key-pair empty="},
		{"resource-id", "i-00000002", "instance Name=a*b"},
		{"key", "e*", "key-pair empty="},
		{"tag:empty", "", "key-pair empty="},
	} {
		if got := names(row.name, row.value); got != row.want {
			t.Errorf("%s %s: got %s, want %s", row.name, row.value, got, row.want)
		}
	}
	if _, err := c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{*pair.KeyPairId}, Tags: []ec2types.Tag{tag("Name", "other"), {Key: aws.String("empty")}}}); err != nil {
		t.Fatal(err)
	}
	if got := names("resource-type", "key-pair"); got != "key-pair Name=axb" {
		t.Errorf("tags of another value are deleted, or not those of any: %s", got)
	}
	if _, err := c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{*pair.KeyPairId}}); err != nil {
		t.Fatal(err)
	}
	if got := names("resource-type", "key-pair"); got != "" {
		t.Errorf("there are still %s", got)
	}
	for code, err := range map[string]error{
		"InvalidInstanceID.NotFound": create("i-00000003", tag("a", "b")),
		"InvalidKeyPair.NotFound":    create("key-00000000000000000", tag("a", "b")),
		"InvalidID":                  create("ami-1", tag("a", "b")),
		"InvalidTagKey.Malformed":    create("i-00000001", tag("", "b")),
		"InvalidParameterValue":      create("i-00000001", tag("aws:a", "b")),
	} {
		checkCode(t, code, err, code, http.StatusBadRequest)
	}
	for i := range 51 {
		err := create("i-00000001", tag(fmt.Sprint(i), ""))
		if i < 49 {
			checkCode(t, fmt.Sprint(i), err, "", 0) // and the name
		} else {
			checkCode(t, fmt.Sprint(i), err, "TagLimitExceeded", http.StatusBadRequest)
		}
	}
}

// TestNoTagSet leaves the element out of answers about what has no tags.
func TestNoTagSet(t *testing.T) {
	t.Parallel()
	h := newServer(t, emulator.Options{Credentials: unverified}).APIHandler()
	material := base64.URLEncoding.EncodeToString([]byte(ed25519Line))
	for _, call := range []struct{ operation, fields string }{{"ImportKeyPair", "KeyName=k&PublicKeyMaterial=" + material}, {"CreateKeyPair", "KeyName=c"}, {"DescribeInstances", ""}} {
		if status, body := raw(t, h, "ec2", call.operation, call.fields); status != 200 || strings.Contains(string(body), "tagSet") {
			t.Errorf("%s: %d, %s", call.operation, status, body)
		}
	}
}

// TestInstanceStates stops, starts, reboots and terminates with the SDK's waiters:
// pushes and the metadata service follow.
func TestInstanceStates(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, OldBIOS: true}, {ID: "i-00000002"}}})
	all := newClients(t, s, "us-east-1", testKey)
	c, ids := all.ec2, []string{emulator.DefaultInstanceID}
	session := newSession(t, s, ids[0])
	push := func(code string) {
		t.Helper()
		_, err := all.eic.SendSSHPublicKey(t.Context(), input())
		checkCode(t, "push", err, code, http.StatusBadRequest)
	}
	push("")
	session.mustGet("managed-ssh-keys/active-keys/" + *input().InstanceOSUser)
	stopped, err := c.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: ids})
	if err != nil || stopped.StoppingInstances[0].CurrentState.Name != "stopping" || stopped.StoppingInstances[0].PreviousState.Name != "running" {
		t.Fatalf("got %v, %v", stopped, err)
	}
	described := &ec2.DescribeInstancesInput{InstanceIds: ids}
	if err := ec2.NewInstanceStoppedWaiter(c).Wait(t.Context(), described, time.Minute); err != nil {
		t.Error(err)
	}
	push("EC2InstanceStateInvalidException")
	if _, err := http.Get(session.url); err == nil {
		t.Error("a stopped instance has a metadata service")
	}
	_, err = c.RebootInstances(t.Context(), &ec2.RebootInstancesInput{InstanceIds: ids})
	checkCode(t, "reboot of a stopped one", err, "IncorrectState", http.StatusBadRequest)
	if _, err := c.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	if err := ec2.NewInstanceRunningWaiter(c).Wait(t.Context(), described, time.Minute); err != nil {
		t.Error(err)
	}
	if err := ec2.NewInstanceStatusOkWaiter(c).Wait(t.Context(), &ec2.DescribeInstanceStatusInput{InstanceIds: ids}, time.Minute); err != nil {
		t.Error(err)
	}
	if status, _ := session.get("managed-ssh-keys/active-keys/" + *input().InstanceOSUser); status != http.StatusNotFound {
		t.Errorf("a key of before the stop is %d", status)
	}
	push("")
	if _, err := c.RebootInstances(t.Context(), &ec2.RebootInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	session.mustGet("managed-ssh-keys/active-keys/" + *input().InstanceOSUser)
	if s.Instances()[0].OldBIOS {
		t.Error("a reboot does not update the BIOS")
	}
	// One that is not there keeps all from changing.
	_, err = c.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: append(ids, "i-00000009")})
	checkCode(t, "terminate", err, "InvalidInstanceID.NotFound", http.StatusBadRequest)
	push("")
	if _, err := c.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	if err := ec2.NewInstanceTerminatedWaiter(c).Wait(t.Context(), described, time.Minute); err != nil {
		t.Error(err)
	}
	_, err = c.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: ids})
	checkCode(t, "start of a terminated one", err, "IncorrectInstanceState", http.StatusBadRequest)
	push("EC2InstanceStateInvalidException")
	if i := s.Instances()[1]; i.State != emulator.Running {
		t.Errorf("the other instance is %s", i.State)
	}
}

// TestMetadataOptions act on the metadata service.
func TestMetadataOptions(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, Tags: []emulator.Tag{{Key: "Name", Value: "web 1"}}}}})
	c := newClients(t, s, "us-east-1", testKey).ec2
	session := newSession(t, s, emulator.DefaultInstanceID)
	modify := func(in ec2.ModifyInstanceMetadataOptionsInput) error {
		in.InstanceId = aws.String(emulator.DefaultInstanceID)
		_, err := c.ModifyInstanceMetadataOptions(t.Context(), &in)
		return err
	}
	without := func() int {
		status, _, _ := do(t, http.MethodGet, session.url+"/latest/meta-data/instance-id", nil)
		return status
	}
	if without() != http.StatusUnauthorized {
		t.Error("version 1 is on")
	}
	if err := modify(ec2.ModifyInstanceMetadataOptionsInput{HttpTokens: "optional", HttpPutResponseHopLimit: aws.Int32(2)}); err != nil || without() != http.StatusOK {
		t.Errorf("version 1 is not on: %v", err)
	}
	if status, _ := session.get("tags/instance/Name"); status != http.StatusNotFound {
		t.Errorf("tags are %d", status)
	}
	if err := modify(ec2.ModifyInstanceMetadataOptionsInput{InstanceMetadataTags: "enabled"}); err != nil || session.mustGet("tags/instance/") != "Name" || session.mustGet("tags/instance/Name") != "web 1" {
		t.Errorf("tags are not on: %v", err)
	}
	if err := modify(ec2.ModifyInstanceMetadataOptionsInput{HttpEndpoint: "disabled"}); err != nil || without() != http.StatusForbidden {
		t.Errorf("the metadata service is not off: %v", err)
	}
	out, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: aws.String("metadata-options.http-tokens"), Values: []string{"optional"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if o := out.Reservations[0].Instances[0].MetadataOptions; o.HttpTokens != "optional" || *o.HttpPutResponseHopLimit != 2 || o.HttpEndpoint != "disabled" || o.InstanceMetadataTags != "enabled" {
		t.Errorf("got %+v", o)
	}
	for _, in := range []ec2.ModifyInstanceMetadataOptionsInput{{HttpTokens: "v1"}, {HttpPutResponseHopLimit: aws.Int32(65)}, {HttpPutResponseHopLimit: aws.Int32(0)}, {HttpEndpoint: "on"}} {
		checkCode(t, "wrong", modify(in), "InvalidParameterValue", http.StatusBadRequest)
	}
	checkCode(t, "nothing", modify(ec2.ModifyInstanceMetadataOptionsInput{}), "InvalidParameterCombination", http.StatusBadRequest)
}

// TestMetadataTagKeys has the keys of tags that are a part of a path: EC2 refuses
// others while the metadata service serves tags.
func TestMetadataTagKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	c := newClients(t, s, "us-east-1", testKey).ec2
	tags := func(key string) []ec2types.Tag { return []ec2types.Tag{{Key: &key, Value: aws.String("v")}} }
	create := func(key string) error {
		_, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{emulator.DefaultInstanceID}, Tags: tags(key)})
		return err
	}
	serve := func(value ec2types.InstanceMetadataTagsState) error {
		_, err := c.ModifyInstanceMetadataOptions(t.Context(), &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: aws.String(emulator.DefaultInstanceID), InstanceMetadataTags: value})
		return err
	}
	run := func(key string, value ec2types.InstanceMetadataTagsState) error {
		_, err := c.RunInstances(t.Context(), &ec2.RunInstancesInput{
			ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), DryRun: aws.Bool(true),
			TagSpecifications: []ec2types.TagSpecification{{ResourceType: "instance", Tags: tags(key)}}, MetadataOptions: &ec2types.InstanceMetadataOptionsRequest{InstanceMetadataTags: value},
		})
		return err
	}
	checkCode(t, "a good key", create("a-b_c+d=e,f.g@h:9"), "", 0)
	for _, key := range []string{"a b", "a/b", "é", ".", "..", "_index"} {
		checkCode(t, key, create(key), "", 0)
		err := serve("enabled")
		checkCode(t, key+", served then", err, "InvalidParameterValue", http.StatusBadRequest)
		if err != nil && !strings.Contains(err.Error(), "'"+key+"' is not a valid tag key. Tag keys must match pattern") {
			t.Error(err)
		}
		if _, err := c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{emulator.DefaultInstanceID}, Tags: []ec2types.Tag{{Key: &key}}}); err != nil {
			t.Error(err)
		}
		checkCode(t, "serve", serve("enabled"), "", 0)
		checkCode(t, key+", served", create(key), "InvalidParameterValue", http.StatusBadRequest)
		checkCode(t, "do not serve", serve("disabled"), "", 0)
		checkCode(t, key+", launched", run(key, "enabled"), "InvalidParameterValue", http.StatusBadRequest)
		checkCode(t, key+", launched, not served", run(key, "disabled"), "DryRunOperation", http.StatusPreconditionFailed)
		if _, err := emulator.New(emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", MetadataTags: true, Tags: []emulator.Tag{{Key: key}}}}}); err == nil {
			t.Errorf("%s: an instance is started with it", key)
		}
	}
	for _, id := range []string{"ami-", "ami-415f6d2x", "x"} {
		_, err := c.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: &id, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		checkCode(t, id, err, "InvalidAMIID.Malformed", http.StatusBadRequest)
	}
	for _, name := range []string{"bogus", "t3.", "T3.micro", "t3 .micro"} {
		_, err := c.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: ec2types.InstanceType(name)})
		checkCode(t, name, err, "InvalidParameterValue", http.StatusBadRequest)
	}
}

// TestRunInstances launches instances that have a metadata service of their own.
func TestRunInstances(t *testing.T) {
	t.Parallel()
	options := emulator.Options{StateFile: t.TempDir() + "/state"}
	s := served(t, options)
	c := clientsAt(s.APIURL(), "us-east-1", testKey)
	in := &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(2), KeyName: aws.String("k"), ClientToken: aws.String("t"),
		UserData: aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n"))), IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: aws.String("web")},
		MetadataOptions:   &ec2types.InstanceMetadataOptionsRequest{HttpTokens: "optional", InstanceMetadataTags: "enabled"},
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: "instance", Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("n")}}}},
	}
	_, err := c.ec2.RunInstances(t.Context(), in)
	checkCode(t, "without the key pair", err, "InvalidKeyPair.NotFound", http.StatusBadRequest)
	if _, err := c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line)}); err != nil {
		t.Fatal(err)
	}
	out, err := c.ec2.RunInstances(t.Context(), in)
	if err != nil || len(out.Instances) != 2 || out.Instances[0].State.Name != "pending" {
		t.Fatalf("got %v, %v", out, err)
	}
	if again, err := c.ec2.RunInstances(t.Context(), in); err != nil || *again.Instances[0].InstanceId != *out.Instances[0].InstanceId {
		t.Errorf("the same client token launches others: %v", err)
	}
	in.MaxCount = aws.Int32(1)
	_, err = c.ec2.RunInstances(t.Context(), in)
	checkCode(t, "another call with the client token", err, "IdempotentParameterMismatch", http.StatusBadRequest)
	id := *out.Instances[1].InstanceId
	check := func(s *emulator.Server) {
		t.Helper()
		for path, want := range map[string]string{
			"meta-data/instance-id": id, "meta-data/public-keys/0/openssh-key": ed25519Line + " k", "user-data": "#!/bin/sh\n",
			"meta-data/ami-launch-index": "1", "meta-data/tags/instance/Name": "n", "meta-data/iam/security-credentials/": "web", "meta-data/public-keys/": "0=k",
		} {
			if status, body, _ := do(t, http.MethodGet, s.IMDSURL(id)+"/latest/"+path, nil); status != http.StatusOK || body != want {
				t.Errorf("%s is %d, %q, want %q", path, status, body, want)
			}
		}
	}
	check(s)
	if _, err := c.eic.SendSSHPublicKey(t.Context(), inputFor(id)); err != nil {
		t.Error(err)
	}
	if status, _, _ := do(t, http.MethodGet, s.IMDSURL(id)+"/latest/meta-data/managed-ssh-keys/active-keys/"+*input().InstanceOSUser, nil); status != http.StatusOK {
		t.Errorf("a pushed key is %d", status)
	}
	var reservations []string
	described, err := c.ec2.DescribeInstances(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range described.Reservations {
		reservations = append(reservations, fmt.Sprint(len(r.Instances)))
	}
	if got := strings.Join(reservations, " "); got != "1 2" {
		t.Errorf("the reservations have %s instances", got)
	}
	s.Close()
	options.Instances = nil
	check(served(t, options)) // after a restart
	for code, change := range map[string]func(*ec2.RunInstancesInput){
		"MissingParameter":          func(i *ec2.RunInstancesInput) { i.ImageId = nil },
		"InvalidAMIID.Malformed":    func(i *ec2.RunInstancesInput) { i.ImageId = aws.String("x") },
		"InvalidUserData.Malformed": func(i *ec2.RunInstancesInput) { i.UserData = aws.String("%") },
		"InvalidParameterValue":     func(i *ec2.RunInstancesInput) { i.MaxCount = aws.Int32(0) },
	} {
		one := &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
		change(one)
		_, err := newClients(t, newServer(t, emulator.Options{}), "us-east-1", testKey).ec2.RunInstances(t.Context(), one)
		if code == "MissingParameter" {
			if err == nil {
				t.Error("no image is taken")
			}
			continue // the SDK may say so itself
		}
		checkCode(t, code, err, code, http.StatusBadRequest)
	}
}

// TestTerraform does what Terraform's aws_key_pair and aws_lightsail_key_pair do:
// import with tags, read, change tags, read, replace, delete, read.
func TestTerraform(t *testing.T) {
	t.Parallel()
	c := newClients(t, newServer(t, emulator.Options{}), "us-east-1", testKey)
	ctx := t.Context()
	tags := func(pairs ...string) (all []ec2types.Tag) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, ec2types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		return all
	}
	var last string
	for _, line := range []string{ed25519Line, keyVectors(t)[1].line} { // the second replaces the first
		if last != "" {
			if _, err := c.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String("tf")}); err != nil {
				t.Fatal(err)
			}
			_, err := c.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{"tf"}})
			checkCode(t, "after the deletion", err, "InvalidKeyPair.NotFound", http.StatusBadRequest)
		}
		out, err := c.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: aws.String("tf"), PublicKeyMaterial: []byte(line),
			TagSpecifications: []ec2types.TagSpecification{{ResourceType: "key-pair", Tags: tags("env", "test", "old", "x")}}})
		if err != nil {
			t.Fatal(err)
		}
		id := *out.KeyPairId
		if _, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{id}, Tags: tags("old", "x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags("env", "prod")}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second apply finds nothing to do
			got, err := c.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{"tf"}, IncludePublicKey: aws.Bool(true)})
			if err != nil || len(got.KeyPairs) != 1 {
				t.Fatalf("got %v, %v", got, err)
			}
			p := got.KeyPairs[0]
			if *p.KeyPairId != id || !strings.HasPrefix(*p.PublicKey, strings.Join(strings.Fields(line)[:2], " ")) || len(p.Tags) != 1 || *p.Tags[0].Value != "prod" || *p.KeyFingerprint == last {
				t.Errorf("got %+v", p)
			}
		}
		last = *out.KeyFingerprint
	}
	terraformLightsail(t, c.lightsail)
}

func terraformLightsail(t *testing.T, c *lightsail.Client) {
	t.Helper()
	ctx, name, line := t.Context(), aws.String("tf-key"), keyVectors(t)[1].line
	succeeded := func(op *lightsailtypes.Operation, kind string) {
		t.Helper()
		out, err := c.GetOperation(ctx, &lightsail.GetOperationInput{OperationId: op.Id})
		if err != nil || out.Operation.Status != "Succeeded" || string(out.Operation.OperationType) != kind || *out.Operation.ResourceName != *name {
			t.Errorf("%s: got %v, %v", kind, out, err)
		}
	}
	imported, err := c.ImportKeyPair(ctx, &lightsail.ImportKeyPairInput{KeyPairName: name, PublicKeyBase64: &line})
	if err != nil {
		t.Fatal(err)
	}
	succeeded(imported.Operation, "ImportKeyPair")
	tagged, err := c.TagResource(ctx, &lightsail.TagResourceInput{ResourceName: name, Tags: []lightsailtypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}, {Key: aws.String("c")}}})
	if err != nil {
		t.Fatal(err)
	}
	succeeded(&tagged.Operations[0], "TagResource")
	untagged, err := c.UntagResource(ctx, &lightsail.UntagResourceInput{ResourceName: name, TagKeys: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	succeeded(&untagged.Operations[0], "UntagResource")
	for range 2 {
		got, err := c.GetKeyPair(ctx, &lightsail.GetKeyPairInput{KeyPairName: name})
		if err != nil || len(got.KeyPair.Tags) != 1 || *got.KeyPair.SupportCode != "123456789012/tf-key" || *got.KeyPair.Fingerprint != keyVectors(t)[1].ec2 {
			t.Errorf("got %+v, %v", got.KeyPair, err)
		}
	}
	deleted, err := c.DeleteKeyPair(ctx, &lightsail.DeleteKeyPairInput{KeyPairName: name})
	if err != nil {
		t.Fatal(err)
	}
	succeeded(deleted.Operation, "DeleteKeyPair")
	_, err = c.GetKeyPair(ctx, &lightsail.GetKeyPairInput{KeyPairName: name})
	checkCode(t, "after the deletion", err, "NotFoundException", http.StatusBadRequest)
	all, err := c.GetOperationsForResource(ctx, &lightsail.GetOperationsForResourceInput{ResourceName: name})
	if err != nil || len(all.Operations) != 4 || all.Operations[0].OperationType != "DeleteKeyPair" {
		t.Errorf("got %v, %v", all, err)
	}
	created, err := c.CreateKeyPair(ctx, &lightsail.CreateKeyPairInput{KeyPairName: name})
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode([]byte(*created.PrivateKeyBase64)); block == nil || block.Type != "RSA PRIVATE KEY" || !strings.HasPrefix(*created.PublicKeyBase64, "ssh-rsa ") || len(*created.KeyPair.Fingerprint) != 59 {
		t.Errorf("got %v", created)
	}
	first, err := c.DownloadDefaultKeyPair(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := c.DownloadDefaultKeyPair(ctx, nil); err != nil || *second.PrivateKeyBase64 != *first.PrivateKeyBase64 || !strings.HasSuffix(*first.PublicKeyBase64, " LightsailDefaultKeyPair") {
		t.Errorf("the default key pair is another one the second time: %v", err)
	}
}

// TestRoleCredentials takes what the metadata service has to the API.
func TestRoleCredentials(t *testing.T) {
	t.Parallel()
	var clock clock
	now := func() time.Time { return time.Now().Add(time.Duration(clock.offset.Load())) }
	s := newServer(t, emulator.Options{Now: now, Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, Role: "web"}}})
	session := newSession(t, s, emulator.DefaultInstanceID)
	if session.mustGet("iam/security-credentials/") != "web" {
		t.Error("the role is not listed")
	}
	var got struct{ Code, AccessKeyId, SecretAccessKey, Token, Expiration string }
	if err := json.Unmarshal([]byte(session.mustGet("iam/security-credentials/web")), &got); err != nil || got.Code != "Success" {
		t.Fatal(got, err)
	}
	key := emulator.Credential{KeyID: got.AccessKeyId, Secret: got.SecretAccessKey, Token: got.Token}
	if _, err := newClients(t, s, "us-east-1", key).ec2.DescribeKeyPairs(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if e := s.Exchanges(); e[len(e)-1].Caller != "arn:aws:sts::123456789012:assumed-role/web/"+emulator.DefaultInstanceID {
		t.Errorf("the caller is %s", e[len(e)-1].Caller)
	}
	wrong := key
	wrong.Token = "x"
	_, err := newClients(t, s, "us-east-1", wrong).ec2.DescribeKeyPairs(t.Context(), nil)
	checkCode(t, "another token", err, "AuthFailure", http.StatusUnauthorized)
	s.Advance(7 * time.Hour)
	_, err = newClients(t, s, "us-east-1", key).ec2.DescribeKeyPairs(t.Context(), nil)
	checkCode(t, "expired", err, "AuthFailure", http.StatusUnauthorized)
}

// TestClockAndSignatures moves the emulator's clock: keys expire, and signed calls
// still work.
func TestClockAndSignatures(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	c := newClients(t, s, "us-east-1", testKey)
	session := newSession(t, s, emulator.DefaultInstanceID)
	for _, d := range []time.Duration{20 * time.Minute, 30 * 24 * time.Hour, -60 * 24 * time.Hour} {
		if _, err := c.eic.SendSSHPublicKey(t.Context(), input()); err != nil {
			t.Errorf("before %s: %v", d, err)
		}
		s.Advance(d)
		if _, err := c.eic.SendSSHPublicKey(t.Context(), input()); err != nil {
			t.Errorf("after %s: %v", d, err)
		}
	}
	s.Advance(30*24*time.Hour + 7*time.Hour)
	if status, _ := session.get("instance-id"); status != http.StatusUnauthorized {
		t.Errorf("an old session token is %d", status)
	}
}
