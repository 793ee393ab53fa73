package api_test

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// An element is any element of XML.
type element struct {
	Children []element `xml:",any"`
}

// FuzzAPI sends any body to any operation. The answer is always one that an
// SDK can read. It stands here, and not beside the tests with the SDK, since what a fuzz
// target's package imports is compiled for it, for minutes.
func FuzzAPI(f *testing.F) {
	const ed25519Line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
	unverified := map[string]string{emulator.DefaultAccessKey: emulator.DefaultCallerARN}
	s, err := emulator.New(emulator.Options{SerialAccess: true, Credentials: unverified})
	if err != nil {
		f.Fatal(err)
	}
	api := s.APIHandler()
	f.Add("AWSEC2InstanceConnectService.SendSSHPublicKey", `{"InstanceId":"i-0123456789abcdef0","InstanceOSUser":"u","SSHPublicKey":"`+ed25519Line+`"}`)
	f.Add("AWSEC2InstanceConnectService.SendSerialConsoleSSHPublicKey", `{"InstanceId":"i-0123456789abcdef0","SerialPort":0,"SSHPublicKey":"`+ed25519Line+`"}`)
	f.Add("Lightsail_20161128.ImportKeyPair", `{"keyPairName":"ab","publicKeyBase64":"ssh-rsa AAAA"}`)
	f.Add("Lightsail_20161128.GetKeyPairs", `{"pageToken":"1","includeDefaultKeyPair":true}`)
	f.Add("", "Action=ImportKeyPair&Version=2016-11-15&KeyName=k&PublicKeyMaterial=c3No&TagSpecification.1.ResourceType=key-pair&TagSpecification.1.Tag.1.Key=a")
	f.Add("", "Action=DescribeKeyPairs&Version=2016-11-15&Filter.1.Name=tag:a&Filter.1.Value.1=*&KeyName.2=x")
	f.Add("", "Action=DescribeInstances&Version=2016-11-15&MaxResults=5&NextToken=1&InstanceId.1=i-0123456789abcdef0")
	f.Fuzz(func(t *testing.T, target, body string) {
		request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		service := "ec2"
		switch {
		case target == "":
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		case strings.HasPrefix(target, "Lightsail"):
			service = "lightsail"
		default:
			service = "ec2-instance-connect"
		}
		request.Header.Set("X-Amz-Target", target)
		request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260304/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
		recorder := httptest.NewRecorder()
		api.ServeHTTP(recorder, request)
		var err error
		if target == "" {
			err = xml.Unmarshal(recorder.Body.Bytes(), new(element))
		} else {
			err = json.Unmarshal(recorder.Body.Bytes(), new(map[string]any))
		}
		if err != nil || recorder.Code >= 500 || recorder.Code < 200 {
			t.Fatalf("%d, %v: %s", recorder.Code, err, recorder.Body)
		}
	})
}
