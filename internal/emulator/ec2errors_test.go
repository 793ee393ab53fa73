package emulator_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestEC2Errors has, in one place, the documented error codes of every operation of EC2
// that the emulator can be brought to: parameters, and how the call ends.
func TestEC2Errors(t *testing.T) {
	t.Parallel()
	const id = emulator.DefaultInstanceID
	key := url.QueryEscape("c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSU5vaElUeld6Nk5RREhnQ2RIWXNRdDN0K0JzUVdMakppYXNLaDA5dk5qc0M=")
	rows := []struct{ operation, parameters, code string }{
		{"ImportKeyPair", "", "MissingParameter"},
		{"ImportKeyPair", "KeyName=new", "MissingParameter"},
		{"ImportKeyPair", "KeyName=new&PublicKeyMaterial=anVuaw==", "InvalidKey.Format"},
		{"ImportKeyPair", "KeyName=there&PublicKeyMaterial=" + key, "InvalidKeyPair.Duplicate"},
		{"CreateKeyPair", "", "MissingParameter"},
		{"CreateKeyPair", "KeyName=there", "InvalidKeyPair.Duplicate"},
		{"CreateKeyPair", "KeyName=new&KeyType=dsa", "InvalidParameterValue"},
		{"DescribeKeyPairs", "KeyName.1=nobody", "InvalidKeyPair.NotFound"},
		{"DescribeKeyPairs", "Filter.1.Name=color&Filter.1.Value.1=red", "InvalidParameterValue"},
		{"DeleteKeyPair", "", "MissingParameter"},
		{"CreateTags", "Tag.1.Key=a", "MissingParameter"},
		{"CreateTags", "ResourceId.1=nothing&Tag.1.Key=a", "InvalidID"},
		{"CreateTags", "ResourceId.1=i-00000009&Tag.1.Key=a", "InvalidInstanceID.NotFound"},
		{"CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=aws:a", "InvalidTagKey.Malformed"},
		{"DeleteTags", "", "MissingParameter"},
		{"DescribeTags", "Filter.1.Name=color&Filter.1.Value.1=red", "InvalidParameterValue"},
		{"RunInstances", "MinCount=1&MaxCount=1", "MissingParameter"},
		{"RunInstances", "ImageId=x&MinCount=1&MaxCount=1", "InvalidAMIID.Malformed"},
		{"RunInstances", "ImageId=ami-12345678&MinCount=1&MaxCount=1&KeyName=nobody", "InvalidKeyPair.NotFound"},
		{"RunInstances", "ImageId=ami-12345678&MinCount=1&MaxCount=1&UserData=*", "InvalidUserData.Malformed"},
		{"RunInstances", "ImageId=ami-12345678&MinCount=2&MaxCount=1", "InvalidParameterValue"},
		{"DescribeInstances", "InstanceId.1=x", "InvalidInstanceID.Malformed"},
		{"DescribeInstances", "InstanceId.1=i-00000009", "InvalidInstanceID.NotFound"},
		{"DescribeInstances", "MaxResults=1", "InvalidParameterValue"},
		{"DescribeInstanceStatus", "InstanceId.1=x", "InvalidInstanceID.Malformed"},
		{"DescribeInstanceStatus", "InstanceId.1=i-00000009", "InvalidInstanceID.NotFound"},
		{"ModifyInstanceMetadataOptions", "", "MissingParameter"},
		{"ModifyInstanceMetadataOptions", "InstanceId=i-00000009&HttpTokens=required", "InvalidInstanceID.NotFound"},
		{"ModifyInstanceMetadataOptions", "InstanceId=" + id + "&HttpTokens=maybe", "InvalidParameterValue"},
		{"StartInstances", "InstanceId.1=i-00000003", "IncorrectInstanceState"},
		{"StopInstances", "InstanceId.1=i-00000003", "IncorrectInstanceState"},
		{"CreateInstanceConnectEndpoint", "", "MissingParameter"},
		{"CreateInstanceConnectEndpoint", "SubnetId=subnet-00000009", "InvalidSubnetID.NotFound"},
		{"DescribeInstanceConnectEndpoints", "InstanceConnectEndpointId.1=x", "InvalidInstanceConnectEndpointId.Malformed"},
		{"DescribeInstanceConnectEndpoints", "InstanceConnectEndpointId.1=eice-0123456789abcdef0", "InvalidInstanceConnectEndpointId.NotFound"},
		{"DeleteInstanceConnectEndpoint", "InstanceConnectEndpointId=eice-0123456789abcdef0", "InvalidInstanceConnectEndpointId.NotFound"},
	}
	for _, operation := range []string{"StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"} {
		rows = append(rows, []struct{ operation, parameters, code string }{
			{operation, "", "MissingParameter"},
			{operation, "InstanceId.1=x", "InvalidInstanceID.Malformed"},
			{operation, "InstanceId.1=i-00000009", "InvalidInstanceID.NotFound"},
		}...)
	}
	// What every operation has.
	s := served(t, emulator.Options{
		Instances:  []emulator.Instance{{ID: id}, {ID: "i-00000003", State: emulator.Terminated}},
		KeyPairs:   []emulator.KeyPair{{Name: "there", Material: []byte(ed25519Line)}},
		AccessKeys: []emulator.Credential{testKey, {KeyID: "nobody", Secret: "s", ARN: "arn:aws:iam::123456789012:user/nobody"}},
		Deny:       []emulator.Deny{{Action: "*", Caller: "*/nobody"}},
	})
	before := state(t, s)
	call := func(user aws.Credentials, operation, parameters string) (int, string) {
		body := "Action=" + operation + "&Version=2016-11-15&" + parameters
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.APIURL(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := v4.NewSigner().SignHTTP(context.Background(), user, r, hashOf(body), "ec2", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Code    string `xml:"Errors>Error>Code"`
			Message string `xml:"Errors>Error>Message"`
		}
		if err := xml.Unmarshal(text, &answer); err != nil {
			t.Fatalf("%s %s: %v in %s", operation, parameters, err, text)
		}
		if (answer.Code == "") != (answer.Message == "") {
			t.Errorf("%s %s: %s", operation, parameters, text)
		}
		return response.StatusCode, answer.Code
	}
	test := aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	var seen []string
	for _, row := range rows {
		seen = append(seen, row.operation)
		if status, code := call(test, row.operation, row.parameters); code != row.code || status != http.StatusBadRequest {
			t.Errorf("%s %s: %d %q, want 400 %s", row.operation, row.parameters, status, code, row.code)
		}
	}
	for _, operation := range s.Operations() {
		service, name, _ := strings.Cut(operation, ":")
		if service != "ec2" {
			continue
		}
		if !slices.Contains(seen, name) && !strings.Contains(name, "SerialConsoleAccess") { // which have no parameters
			t.Errorf("no error of %s is in the table", name)
		}
		if status, code := call(aws.Credentials{AccessKeyID: "nobody", SecretAccessKey: "s"}, name, "DryRun=true"); status != http.StatusForbidden || code != "UnauthorizedOperation" {
			t.Errorf("%s, denied: %d %s", name, status, code)
		}
		if status, code := call(test, name, "NoSuch=1"); status != http.StatusBadRequest || code != "UnknownParameter" {
			t.Errorf("%s, a parameter that it does not have: %d %s", name, status, code)
		}
	}
	if status, code := call(test, "NoSuch", ""); status != http.StatusBadRequest || code != "InvalidAction" {
		t.Errorf("an operation that there is not: %d %s", status, code)
	}
	if after := state(t, s); after != before {
		t.Errorf("refused calls have changed\n%s\nto\n%s", before, after)
	}
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

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
