package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// documentedEC2 are the codes of "Error codes for the Amazon EC2 API" that the
// operations here can end with, but for those that every call can end with.
var documentedEC2 = []string{
	"DryRunOperation", "FilterLimitExceeded", "IdempotentInstanceTerminated", "IdempotentParameterMismatch", "IncorrectInstanceState", "IncorrectState",
	"InstanceLimitExceeded", "InvalidAMIID.Malformed", "InvalidAction", "InvalidCharacter", "InvalidID", "InvalidIamInstanceProfileArn.Malformed",
	"InvalidInstanceConnectEndpointId.Malformed", "InvalidInstanceConnectEndpointId.NotFound", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound",
	"InvalidKey.Format", "InvalidKeyPair.Duplicate", "InvalidKeyPair.NotFound", "InvalidParameterCombination", "InvalidParameterValue",
	"InvalidSubnetID.NotFound", "InvalidTagKey.Malformed", "InvalidUserData.Malformed", "KeyPairLimitExceeded", "MissingParameter", "NoSuchVersion",
	"ResourceCountExceeded", "ResourceLimitExceeded", "TagLimitExceeded", "UnknownParameter",
}

// TestErrors has, in one place, how the calls of each operation fail by what they
// say and by what there is.
func TestErrors(t *testing.T) {
	t.Parallel()
	const id, there, gone = emulator.DefaultInstanceID, "there", "i-00000003"
	rsa := keyVectors(t)[1].line
	key := url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(ed25519Line)))
	long := strings.Repeat("x", 300)
	many := func(pattern string, count int) string {
		var all []string
		for i := range count {
			all = append(all, fmt.Sprintf(pattern, i+1, i+1))
		}
		return strings.Join(all, "&")
	}
	tags51 := many("Tag.%d.Key=k%d", 51)
	run := "ImageId=ami-12345678&MinCount=1&MaxCount=1"
	type row struct{ service, operation, fields, code string }
	rows := []row{
		{"ec2", "ImportKeyPair", "", "MissingParameter"},
		{"ec2", "ImportKeyPair", "KeyName=new", "MissingParameter"},
		{"ec2", "ImportKeyPair", "KeyName=" + long + "&PublicKeyMaterial=" + key, "InvalidParameterValue"},
		{"ec2", "ImportKeyPair", "KeyName=new&PublicKeyMaterial=" + strings.Repeat("A", 2052), "InvalidParameterValue"},
		{"ec2", "ImportKeyPair", "KeyName=new&PublicKeyMaterial=anVuaw==", "InvalidKey.Format"},
		{"ec2", "ImportKeyPair", "KeyName=there&PublicKeyMaterial=" + key, "InvalidKeyPair.Duplicate"},
		{"ec2", "ImportKeyPair", "KeyName=new&TagSpecification.1.ResourceType=instance&PublicKeyMaterial=" + key, "InvalidParameterValue"},
		{"ec2", "ImportKeyPair", "KeyName=new&TagSpecification.1.ResourceType=key-pair&TagSpecification.1.Tag.1.Key=aws:x&PublicKeyMaterial=" + key, "InvalidParameterValue"},
		{"ec2", "ImportKeyPair", "KeyName=new&DryRun=perhaps&PublicKeyMaterial=" + key, "InvalidParameterValue"},
		{"ec2", "CreateKeyPair", "", "MissingParameter"},
		{"ec2", "CreateKeyPair", "KeyName=there", "InvalidKeyPair.Duplicate"},
		{"ec2", "CreateKeyPair", "KeyName=new&KeyType=dsa", "InvalidParameterValue"},
		{"ec2", "CreateKeyPair", "KeyName=new&KeyFormat=der&KeyType=ed25519", "InvalidParameterValue"},
		{"ec2", "DescribeKeyPairs", "KeyName.1=nobody", "InvalidKeyPair.NotFound"},
		{"ec2", "DescribeKeyPairs", "KeyPairId.1=key-0123456789abcdef0", "InvalidKeyPair.NotFound"},
		{"ec2", "DescribeKeyPairs", "Filter.1.Name=color&Filter.1.Value.1=red", "InvalidParameterValue"},
		{"ec2", "DescribeKeyPairs", "Filter.1.Name=key-name", "InvalidParameterValue"},
		{"ec2", "DescribeKeyPairs", "Filter.1.Name=key-name&" + many("Filter.1.Value.%d=%d", 201), "FilterLimitExceeded"},
		{"ec2", "DeleteKeyPair", "", "MissingParameter"},
		{"ec2", "CreateTags", "Tag.1.Key=a", "MissingParameter"},
		{"ec2", "CreateTags", "ResourceId.1=" + id, "MissingParameter"},
		{"ec2", "CreateTags", "ResourceId.1=nothing&Tag.1.Key=a", "InvalidID"},
		{"ec2", "CreateTags", "ResourceId.1=i-00000009&Tag.1.Key=a", "InvalidInstanceID.NotFound"},
		{"ec2", "CreateTags", "ResourceId.1=key-0123456789abcdef0&Tag.1.Key=a", "InvalidKeyPair.NotFound"},
		{"ec2", "CreateTags", "ResourceId.1=eice-0123456789abcdef0&Tag.1.Key=a", "InvalidInstanceConnectEndpointId.NotFound"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=aws:a", "InvalidParameterValue"},
		{"ec2", "DeleteTags", "ResourceId.1=" + id + "&Tag.1.Key=aws:a", "InvalidParameterValue"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=", "InvalidTagKey.Malformed"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=" + long, "InvalidParameterValue"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=a&Tag.1.Value=" + long, "InvalidParameterValue"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=a&Tag.2.Key=a", "InvalidParameterValue"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&" + tags51, "TagLimitExceeded"},
		{"ec2", "DeleteTags", "", "MissingParameter"},
		{"ec2", "DeleteTags", "ResourceId.1=" + id + "&Tag.1.Value=x", "InvalidTagKey.Malformed"},
		{"ec2", "DescribeTags", "Filter.1.Name=color&Filter.1.Value.1=red", "InvalidParameterValue"},
		{"ec2", "DescribeTags", "NextToken=x", "InvalidParameterValue"},
		{"ec2", "RunInstances", "MinCount=1&MaxCount=1", "MissingParameter"},
		{"ec2", "RunInstances", "ImageId=ami-12345678", "MissingParameter"},
		{"ec2", "RunInstances", "ImageId=x&MinCount=1&MaxCount=1", "InvalidAMIID.Malformed"},
		{"ec2", "RunInstances", run + "&KeyName=nobody", "InvalidKeyPair.NotFound"},
		{"ec2", "RunInstances", run + "&UserData=*", "InvalidUserData.Malformed"},
		{"ec2", "RunInstances", run + "&UserData=" + base64.URLEncoding.EncodeToString(make([]byte, 16389)), "InvalidUserData.Malformed"},
		{"ec2", "RunInstances", run + "&SubnetId=subnet-00000009", "InvalidSubnetID.NotFound"},
		{"ec2", "RunInstances", run + "&Placement.AvailabilityZone=eu-west-1a", "InvalidParameterValue"},
		{"ec2", "RunInstances", run + "&PrivateIpAddress=x", "InvalidParameterValue"},
		{"ec2", "RunInstances", run + "&IamInstanceProfile.Arn=web", "InvalidIamInstanceProfileArn.Malformed"},
		{"ec2", "RunInstances", run + "&MetadataOptions.HttpTokens=maybe", "InvalidParameterValue"},
		{"ec2", "RunInstances", run + "&InstanceMarketOptions.MarketType=x", "InvalidParameterValue"},
		{"ec2", "RunInstances", "ImageId=ami-12345678&MinCount=2&MaxCount=1", "InvalidParameterValue"},
		{"ec2", "RunInstances", "ImageId=ami-12345678&MinCount=1&MaxCount=101", "ResourceCountExceeded"},
		{"ec2", "DescribeInstances", "InstanceId.1=x", "InvalidInstanceID.Malformed"},
		{"ec2", "DescribeInstances", "InstanceId.1=i-00000009", "InvalidInstanceID.NotFound"},
		{"ec2", "DescribeInstances", "MaxResults=1", "InvalidParameterValue"},
		{"ec2", "DescribeInstances", "MaxResults=5&InstanceId.1=" + id, "InvalidParameterCombination"},
		{"ec2", "DescribeInstanceStatus", "InstanceId.1=x", "InvalidInstanceID.Malformed"},
		{"ec2", "DescribeInstanceStatus", "InstanceId.1=i-00000009", "InvalidInstanceID.NotFound"},
		{"ec2", "DescribeInstanceStatus", "IncludeAllInstances=some", "InvalidParameterValue"},
		{"ec2", "DescribeInstanceStatus", "MaxResults=5&InstanceId.1=" + id, "InvalidParameterCombination"},
		{"ec2", "ModifyInstanceMetadataOptions", "", "MissingParameter"},
		{"ec2", "ModifyInstanceMetadataOptions", "InstanceId=" + id, "InvalidParameterCombination"},
		{"ec2", "ModifyInstanceMetadataOptions", "InstanceId=" + gone + "&HttpTokens=required", "IncorrectInstanceState"},
		{"ec2", "ModifyInstanceMetadataOptions", "InstanceId=i-00000009&HttpTokens=required", "InvalidInstanceID.NotFound"},
		{"ec2", "ModifyInstanceMetadataOptions", "InstanceId=" + id + "&HttpTokens=maybe", "InvalidParameterValue"},
		{"ec2", "ModifyInstanceMetadataOptions", "InstanceId=" + id + "&HttpPutResponseHopLimit=65", "InvalidParameterValue"},
		{"ec2", "ModifyInstanceMetadataOptions", "InstanceId=" + id + "&HttpEndpoint=on", "InvalidParameterValue"},
		{"ec2", "StartInstances", "InstanceId.1=" + gone, "IncorrectInstanceState"},
		{"ec2", "StopInstances", "InstanceId.1=" + gone, "IncorrectInstanceState"},
		{"ec2", "RebootInstances", "InstanceId.1=" + gone, "IncorrectState"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=%00", "InvalidCharacter"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=a&Tag.1.Value=%ff", "InvalidCharacter"},
		{"ec2", "DescribeInstanceConnectEndpoints", "MaxResults=51", "InvalidParameterValue"},
		{"ec2", "DescribeInstanceConnectEndpoints", "MaxResults=0", "InvalidParameterValue"},
		{"ec2", "DeleteInstanceConnectEndpoint", "InstanceConnectEndpointId=x", "InvalidInstanceConnectEndpointId.Malformed"},
		{"ec2", "CreateInstanceConnectEndpoint", "", "MissingParameter"},
		{"ec2", "CreateInstanceConnectEndpoint", "SubnetId=subnet-00000009", "InvalidSubnetID.NotFound"},
		{"ec2", "CreateInstanceConnectEndpoint", "SubnetId=subnet-00000009&IpAddressType=ipv5", "InvalidParameterValue"},
		{"ec2", "DescribeInstanceConnectEndpoints", "InstanceConnectEndpointId.1=x", "InvalidInstanceConnectEndpointId.Malformed"},
		{"ec2", "DescribeInstanceConnectEndpoints", "InstanceConnectEndpointId.1=eice-0123456789abcdef0", "InvalidInstanceConnectEndpointId.NotFound"},
		{"ec2", "DeleteInstanceConnectEndpoint", "", "MissingParameter"},
		{"ec2", "DeleteInstanceConnectEndpoint", "InstanceConnectEndpointId=eice-0123456789abcdef0", "InvalidInstanceConnectEndpointId.NotFound"},
		{"ec2", "NoSuch", "", "InvalidAction"},
		{"ec2", "DescribeTags", "Action=DescribeTags&Version=2099-01-01", "NoSuchVersion"},
		{"ec2", "EnableSerialConsoleAccess", "DryRun=x", "InvalidParameterValue"},
		{"ec2", "DisableSerialConsoleAccess", "DryRun=x", "InvalidParameterValue"},
		{"ec2", "GetSerialConsoleAccessStatus", "DryRun=x", "InvalidParameterValue"},
		{"sts", "NoSuch", "", "InvalidAction"},

		{"lightsail", "ImportKeyPair", `{}`, "InvalidInputException"},
		{"lightsail", "ImportKeyPair", `{"keyPairName":"x"}`, "InvalidInputException"},
		{"lightsail", "ImportKeyPair", `{"keyPairName":"-x-","publicKeyBase64":"` + rsa + `"}`, "InvalidInputException"},
		{"lightsail", "ImportKeyPair", `{"keyPairName":"new","publicKeyBase64":"` + ed25519Line + `"}`, "InvalidInputException"},
		{"lightsail", "ImportKeyPair", `{"keyPairName":"there","publicKeyBase64":"` + rsa + `"}`, "InvalidInputException"},
		{"lightsail", "ImportKeyPair", `{"keyPairName":7}`, "SerializationException"},
		{"lightsail", "CreateKeyPair", `{"keyPairName":"there"}`, "InvalidInputException"},
		{"lightsail", "CreateKeyPair", `{"keyPairName":"new","tags":[{"key":"aws:x"}]}`, "InvalidInputException"},
		{"lightsail", "GetKeyPair", `{"keyPairName":"nobody"}`, "NotFoundException"},
		{"lightsail", "GetKeyPairs", `{"pageToken":"x"}`, "InvalidInputException"},
		{"lightsail", "DeleteKeyPair", `{"keyPairName":"nobody"}`, "NotFoundException"},
		{"lightsail", "DeleteKeyPair", `{"keyPairName":"there","expectedFingerprint":"x"}`, "InvalidInputException"},
		{"lightsail", "DeleteKeyPair", `{"keyPairName":"LightsailDefaultKeyPair"}`, "InvalidInputException"},
		{"lightsail", "TagResource", `{"resourceName":"nobody","tags":[{"key":"a"}]}`, "NotFoundException"},
		{"lightsail", "TagResource", `{"resourceName":"there","tags":[]}`, "InvalidInputException"},
		{"lightsail", "TagResource", `{"resourceName":"there","tags":[{"key":"a"},{"key":"a"}]}`, "InvalidInputException"},
		{"lightsail", "TagResource", `{"resourceName":"there","resourceArn":"arn:aws:x","tags":[{"key":"a"}]}`, "NotFoundException"},
		{"lightsail", "UntagResource", `{"resourceName":"nobody","tagKeys":["a"]}`, "NotFoundException"},
		{"lightsail", "UntagResource", `{"resourceName":"there"}`, "InvalidInputException"},
		{"lightsail", "GetOperation", `{}`, "InvalidInputException"},
		{"lightsail", "GetOperation", `{"operationId":"x"}`, "NotFoundException"},
		{"lightsail", "GetOperations", `{"pageToken":"-1"}`, "InvalidInputException"},
		{"lightsail", "GetOperationsForResource", `{}`, "InvalidInputException"},
		{"lightsail", "GetRegions", `{"includeAvailabilityZones":"x"}`, "SerializationException"},
		{"lightsail", "DownloadDefaultKeyPair", `[]`, "SerializationException"},
		{"lightsail", "NoSuch", `{}`, "UnknownOperationException"},
	}
	for _, operation := range []string{"StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"} {
		rows = append(rows, row{"ec2", operation, "", "MissingParameter"},
			row{"ec2", operation, "InstanceId.1=x", "InvalidInstanceID.Malformed"}, row{"ec2", operation, "InstanceId.1=i-00000009", "InvalidInstanceID.NotFound"})
	}
	pushRows := func(operation, more string) {
		push := func(instance, key, rest string) string {
			return `{"InstanceId":"` + instance + `","SSHPublicKey":"` + key + `"` + rest + `}`
		}
		for _, r := range []struct{ fields, code string }{
			{`{}`, "InvalidArgsException"},
			{`x`, "SerializationException"},
			{push("x", ed25519Line, more), "InvalidArgsException"},
			{push(id, "ssh-ed25519 AAAA", more), "InvalidArgsException"},
			{push("i-00000009", ed25519Line, more), "EC2InstanceNotFoundException"},
			{push(gone, ed25519Line, more), "EC2InstanceStateInvalidException"},
			{push("i-00000004", ed25519Line, more), "AuthException"},
		} {
			rows = append(rows, row{"ec2-instance-connect", operation, r.fields, r.code})
		}
	}
	pushRows("SendSSHPublicKey", `,"InstanceOSUser":"u"`)
	pushRows("SendSerialConsoleSSHPublicKey", `,"SerialPort":0`)
	serial := func(instance, rest string) string {
		return `{"InstanceId":"` + instance + `","SSHPublicKey":"` + ed25519Line + `"` + rest + `}`
	}
	rows = append(rows,
		row{"ec2-instance-connect", "SendSSHPublicKey", serial(id, ""), "InvalidArgsException"},
		row{"ec2-instance-connect", "SendSSHPublicKey", serial(id, `,"InstanceOSUser":"u","AvailabilityZone":"us-east-1f"`), "EC2InstanceNotFoundException"},
		row{"ec2-instance-connect", "SendSerialConsoleSSHPublicKey", serial(id, `,"SerialPort":1`), "InvalidArgsException"},
		row{"ec2-instance-connect", "SendSerialConsoleSSHPublicKey", serial("i-00000005", ""), "EC2InstanceTypeInvalidException"},
		row{"ec2-instance-connect", "SendSerialConsoleSSHPublicKey", serial("i-00000006", ""), "SerialConsoleSessionUnsupportedException"},
		row{"ec2-instance-connect", "SendSerialConsoleSSHPublicKey", serial("i-00000007", ""), "SerialConsoleSessionLimitExceededException"},
	)

	s := newServer(t, emulator.Options{
		Instances: []emulator.Instance{
			{ID: id}, {ID: gone, State: emulator.Terminated}, {ID: "i-00000004", Account: "999999999999"}, {ID: "i-00000005", Type: "t2.micro"},
			{ID: "i-00000006", OldBIOS: true}, {ID: "i-00000007"},
		},
		KeyPairs:     []emulator.KeyPair{{Name: there, Material: []byte(ed25519Line)}},
		Credentials:  map[string]string{"test": emulator.DefaultCallerARN, "nobody": "arn:aws:iam::123456789012:user/nobody"},
		SerialAccess: true,
		Deny:         []emulator.Deny{{Action: "*", Caller: "*/nobody"}},
	})
	h := s.APIHandler()
	for _, call := range []string{`ImportKeyPair {"keyPairName":"there","publicKeyBase64":"` + rsa + `"}`, `DownloadDefaultKeyPair {}`} {
		operation, fields, _ := strings.Cut(call, " ")
		if status, body := raw(t, h, "lightsail", operation, fields); status != http.StatusOK {
			t.Fatalf("%d, %s", status, body)
		}
	}
	if err := s.StartSerialSession("i-00000007"); err != nil {
		t.Fatal(err)
	}
	before := state(t, s)
	seen := make(map[string]bool)
	fails := func(r row) {
		t.Helper()
		status, body := raw(t, h, r.service, r.operation, r.fields)
		if code, message := refusalOf(t, body); code != r.code || message == "" || status != statusOf(r.code) {
			t.Errorf("%s:%s %.200s: %d, %s, want %d %s", r.service, r.operation, r.fields, status, body, statusOf(r.code), r.code)
		}
		seen[r.code], seen[r.service+":"+r.operation] = true, true
	}
	for _, r := range rows {
		fails(r)
	}
	for _, operation := range s.Operations() { // what every operation has
		service, name, _ := strings.Cut(operation, ":")
		if !seen[operation] && operation != "sts:GetCallerIdentity" { // which has no parameters
			t.Errorf("no error of %s is in the table", operation)
		}
		denied := map[string]string{"ec2": "UnauthorizedOperation", "sts": "AccessDenied"}[service]
		if denied == "" {
			denied = "AccessDeniedException"
		}
		fields := "{}"
		if service == "ec2" {
			fields = "DryRun=true"
		}
		status, body := rawAs(t, h, "nobody", service, name, fields)
		if code, _ := refusalOf(t, body); code != denied || status != statusOf(denied) {
			t.Errorf("%s, denied: %d, %s", operation, status, body)
		}
		if service == "ec2" {
			fails(row{service, name, "NoSuch=1", "UnknownParameter"})
		}
	}
	if after := state(t, s); after != before {
		t.Errorf("refused calls have changed\n%s\nto\n%s", before, after)
	}
	for _, code := range limitErrors(t) {
		seen[code] = true
	}
	seen["DryRunOperation"] = true // TestShapes has it, for every operation
	for _, code := range documentedEC2 {
		if !seen[code] {
			t.Errorf("%s is not tried", code)
		}
	}
}

// limitErrors reaches the limits, and returns the errors about them.
func limitErrors(t *testing.T) []string {
	t.Helper()
	full := emulator.Options{Credentials: unverified}
	for i := range 1000 {
		full.Instances = append(full.Instances, emulator.Instance{ID: fmt.Sprintf("i-%08x", i)})
	}
	for i := range 5000 {
		full.KeyPairs = append(full.KeyPairs, emulator.KeyPair{Name: strconv.Itoa(i), Material: []byte(ed25519Line)})
	}
	s := newServer(t, full)
	h := s.APIHandler()
	var codes []string
	call := func(operation, fields, want string) []byte {
		t.Helper()
		status, body := raw(t, h, "ec2", operation, fields)
		code := ""
		if want != "" {
			code, _ = refusalOf(t, body)
			codes = append(codes, code)
		}
		if code != want || status != statusOf(want) {
			t.Errorf("%s %s: %d, %s, want %s", operation, fields, status, body, want)
		}
		return body
	}
	run := "ImageId=ami-12345678&MinCount=1&MaxCount=1&ClientToken=t"
	call("RunInstances", run, "InstanceLimitExceeded")
	call("CreateKeyPair", "KeyName=new&KeyType=ed25519", "KeyPairLimitExceeded")
	call("ImportKeyPair", "KeyName=new&PublicKeyMaterial="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(ed25519Line))), "KeyPairLimitExceeded")

	h = newServer(t, emulator.Options{Credentials: unverified}).APIHandler()
	_, launched, _ := strings.Cut(string(call("RunInstances", run, "")), "<instanceId>")
	id, _, _ := strings.Cut(launched, "<")
	call("RunInstances", run+"&InstanceType=m6g.large", "IdempotentParameterMismatch")
	call("TerminateInstances", "InstanceId.1="+id, "")
	call("RunInstances", run, "IdempotentInstanceTerminated")
	_, subnet, _ := strings.Cut(string(call("DescribeInstances", "", "")), "<subnetId>")
	subnet, _, _ = strings.Cut(subnet, "<")
	for i := range 5 {
		call("CreateInstanceConnectEndpoint", "ClientToken=t"+strconv.Itoa(i)+"&SubnetId="+subnet, "")
	}
	call("CreateInstanceConnectEndpoint", "SubnetId="+subnet, "ResourceLimitExceeded")
	call("DescribeInstanceConnectEndpoints", "MaxResults=1", "")
	call("CreateInstanceConnectEndpoint", "ClientToken=t0&SubnetId="+subnet, "")
	for _, other := range []string{"PreserveClientIp=true", "IpAddressType=dualstack", "SecurityGroupId.1=sg-1"} {
		call("CreateInstanceConnectEndpoint", "ClientToken=t0&SubnetId="+subnet+"&"+other, "IdempotentParameterMismatch")
	}
	return codes
}

// TestThrottled has every operation throttled in the words of its service.
func TestThrottled(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Credentials: unverified, Rate: 1e-6})
	h := s.APIHandler()
	for _, operation := range s.Operations() {
		service, name, _ := strings.Cut(operation, ":")
		want := map[string]string{"ec2": "RequestLimitExceeded", "sts": "Throttling"}[service]
		if want == "" {
			want = "ThrottlingException"
		}
		raw(t, h, service, name, "{}")
		status, body := raw(t, h, service, name, "{}")
		if code, _ := refusalOf(t, body); code != want || status != statusOf(want) {
			t.Errorf("%s: %d, %s", operation, status, body)
		}
	}
}

// statusOf is the status that goes with a code.
func statusOf(code string) int {
	switch code {
	case "":
		return http.StatusOK
	case "UnauthorizedOperation", "AccessDenied":
		return http.StatusForbidden
	case "RequestLimitExceeded":
		return http.StatusServiceUnavailable
	case "DryRunOperation":
		return http.StatusPreconditionFailed
	}
	return http.StatusBadRequest
}

// refusalOf reads an error of any of the protocols.
func refusalOf(t *testing.T, body []byte) (code, message string) {
	t.Helper()
	if len(body) > 0 && body[0] == '{' {
		var e struct {
			Type    string `json:"__type"`
			Message string // of any case
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		return e.Type, e.Message
	}
	var e struct {
		EC2   struct{ Code, Message string } `xml:"Errors>Error"`
		Query struct{ Code, Message string } `xml:"Error"`
	}
	if err := xml.Unmarshal(body, &e); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return e.EC2.Code + e.Query.Code, e.EC2.Message + e.Query.Message
}

// state is what the instances are.
func state(t *testing.T, s *emulator.Server) string {
	t.Helper()
	text, err := json.Marshal(s.Instances())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
