package emulator_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// A model is AWS's own description of a service, as botocore has it.
type model struct {
	Metadata   struct{ XMLNamespace string }
	Operations map[string]struct {
		Output struct{ Shape, ResultWrapper string }
		Errors []struct{ Shape string }
	}
	Shapes map[string]*shape
}

type shape struct {
	Type         string
	Required     []string
	Enum         []string
	LocationName string
	Members      map[string]*reference
	Member       *reference
}

type reference struct{ Shape, LocationName string }

func readModel(t *testing.T, service string) model {
	t.Helper()
	// Debian's awscli has a botocore of its own.
	const find = "import os\ntry:\n import botocore\nexcept ImportError:\n from awscli import botocore\nprint(os.path.dirname(botocore.__file__))"
	out, err := exec.Command("python3", "-c", find).Output()
	if err != nil {
		need.Missing(t, "botocore: %v", err)
	}
	paths, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "data", service, "*", "service-2.json*"))
	if len(paths) == 0 {
		need.Missing(t, "botocore has no model of %s", service)
	}
	slices.Sort(paths)
	text := readFile(t, paths[len(paths)-1])
	if strings.HasSuffix(paths[len(paths)-1], ".gz") {
		r, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if text, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var m model
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// checkJSON says what of a JSON value the model does not have.
func (m model) checkJSON(at, name string, value any) error {
	s := m.Shapes[name]
	var all error
	switch s.Type {
	case "structure":
		object, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %T, want a structure", at, value)
		}
		for member, v := range object {
			ref := s.Members[member]
			if ref == nil {
				all = errors.Join(all, fmt.Errorf("%s has %s, which the model has not", at, member))
				continue
			}
			all = errors.Join(all, m.checkJSON(at+"."+member, ref.Shape, v))
		}
		for _, member := range s.Required {
			if _, ok := object[member]; !ok {
				all = errors.Join(all, fmt.Errorf("%s lacks %s", at, member))
			}
		}
	case "list":
		items, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%s is %T, want a list", at, value)
		}
		for i, v := range items {
			all = errors.Join(all, m.checkJSON(at+"["+strconv.Itoa(i)+"]", s.Member.Shape, v))
		}
	case "string":
		text, ok := value.(string)
		// AWS's examples of the CLI show operation types that the model lacks.
		// Debian 12's model lacks the newest regions.
		if !ok || s.Enum != nil && !slices.Contains(s.Enum, text) && name != "OperationType" && name != "RegionName" {
			return fmt.Errorf("%s is %v, want text or one of %v", at, value, s.Enum)
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			return fmt.Errorf("%s is %T, want a boolean", at, value)
		}
	case "timestamp", "integer", "long", "float", "double":
		if _, ok := value.(float64); !ok {
			return fmt.Errorf("%s is %T, want a number", at, value)
		}
	default:
		return fmt.Errorf("%s is of type %s, which this test does not know", at, s.Type)
	}
	return all
}

// An element is a piece of XML.
type element struct {
	XMLName  xml.Name
	Children []element `xml:",any"`
	Text     string    `xml:",chardata"`
}

// newMembers came after the model that Debian 12 has.
var newMembers = map[string]bool{"managedBy": true, "attachedEbsStatus": true, "ipAddressType": true, "keyPairId": true}

// checkXML says what of an element the model does not have.
func (m model) checkXML(at, name string, e element) error {
	s := m.Shapes[name]
	var all error
	switch s.Type {
	case "structure":
		for _, child := range e.Children {
			found := false
			for member, ref := range s.Members {
				location := ref.LocationName
				if location == "" {
					location = member
				}
				if location == child.XMLName.Local {
					found = true
					all = errors.Join(all, m.checkXML(at+"."+location, ref.Shape, child))
				}
			}
			if !found && child.XMLName.Local != "requestId" && !newMembers[child.XMLName.Local] {
				all = errors.Join(all, fmt.Errorf("%s has %s, which the model has not", at, child.XMLName.Local))
			}
		}
		for _, member := range s.Required {
			location := cmp.Or(s.Members[member].LocationName, member)
			if !slices.ContainsFunc(e.Children, func(c element) bool { return c.XMLName.Local == location }) {
				all = errors.Join(all, fmt.Errorf("%s lacks %s", at, location))
			}
		}
	case "list":
		item := s.Member.LocationName
		if item == "" {
			item = "member"
		}
		for _, child := range e.Children {
			if child.XMLName.Local != item {
				all = errors.Join(all, fmt.Errorf("%s has %s, want %s", at, child.XMLName.Local, item))
			}
			all = errors.Join(all, m.checkXML(at+"."+item, s.Member.Shape, child))
		}
	case "string":
		if s.Enum != nil && !slices.Contains(s.Enum, e.Text) {
			return fmt.Errorf("%s is %q, want one of the model's", at, e.Text)
		}
	case "boolean":
		if e.Text != "true" && e.Text != "false" {
			return fmt.Errorf("%s is %q", at, e.Text)
		}
	case "integer":
		if _, err := strconv.Atoi(e.Text); err != nil {
			return fmt.Errorf("%s is %q", at, e.Text)
		}
	case "timestamp":
		if _, err := time.Parse(time.RFC3339, e.Text); err != nil {
			return fmt.Errorf("%s is %q", at, e.Text)
		}
	default:
		return fmt.Errorf("%s is of type %s, which this test does not know", at, s.Type)
	}
	return all
}

// raw is rawAs for the access key test.
func raw(t *testing.T, h http.Handler, service, operation, fields string) (status int, body []byte) {
	t.Helper()
	return rawAs(t, h, "test", service, operation, fields)
}

// rawAs makes a call without an SDK, which would hide what is on the wire, by a
// caller whose signature is not verified. fields are a form of a query service,
// and else a JSON object.
func rawAs(t *testing.T, h http.Handler, accessKey, service, operation, fields string) (status int, body []byte) {
	t.Helper()
	versions := map[string]string{"ec2": "2016-11-15", "sts": "2011-06-15"}
	targets := map[string]string{"ec2-instance-connect": "AWSEC2InstanceConnectService.", "lightsail": "Lightsail_20161128."}
	text := fields
	if version := versions[service]; version != "" && !strings.Contains(fields, "Version=") {
		text = "Action=" + operation + "&Version=" + version + "&" + fields
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if target := targets[service]; target != "" {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", target+operation)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey+"/20260304/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

// TestShapes makes every operation answer, and compares the answer with the shape
// in AWS's own model of the service; for the JSON services also every exception
// that the model has.
func TestShapes(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{SerialAccess: true, Credentials: unverified})
	h := s.APIHandler()
	line := keyVectors(t)[1].line
	material := url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(line)))
	const id = emulator.DefaultInstanceID
	push := `{"InstanceId":"` + id + `","InstanceOSUser":"u","SSHPublicKey":"` + line + `"}`
	_, described := raw(t, h, "ec2", "DescribeInstances", "")
	subnet := string(regexp.MustCompile(`subnet-[0-9a-f]{17}`).Find(described))
	var endpoint, operation string
	left := make(map[string]bool)
	for _, name := range s.Operations() {
		left[name] = true
	}
	models := make(map[string]model)
	for _, row := range []struct{ service, operation, fields string }{
		{"ec2-instance-connect", "SendSSHPublicKey", push},
		{"ec2-instance-connect", "SendSerialConsoleSSHPublicKey", `{"InstanceId":"` + id + `","SerialPort":0,"SSHPublicKey":"` + line + `"}`},
		{"ec2", "ImportKeyPair", "KeyName=k&PublicKeyMaterial=" + material + "&TagSpecification.1.ResourceType=key-pair&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b"},
		{"ec2", "CreateKeyPair", "KeyName=c&KeyType=ed25519&TagSpecification.1.ResourceType=key-pair&TagSpecification.1.Tag.1.Key=a"},
		{"ec2", "DescribeKeyPairs", "IncludePublicKey=true"},
		{"ec2", "DeleteKeyPair", "KeyName=c"},
		{"ec2", "CreateTags", "ResourceId.1=" + id + "&Tag.1.Key=Name&Tag.1.Value=x"},
		{"ec2", "DescribeTags", ""},
		{"ec2", "RunInstances", "ImageId=ami-1&MinCount=1&MaxCount=2&KeyName=k&IamInstanceProfile.Name=web&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=a"},
		{"ec2", "DescribeInstances", ""},
		{"ec2", "StopInstances", "InstanceId.1=" + id},
		{"ec2", "DescribeInstanceStatus", "IncludeAllInstances=true"},
		{"ec2", "StartInstances", "InstanceId.1=" + id},
		{"ec2", "RebootInstances", "InstanceId.1=" + id},
		{"ec2", "ModifyInstanceMetadataOptions", "HttpTokens=optional&InstanceId=" + id},
		{"ec2", "CreateInstanceConnectEndpoint", "TagSpecification.1.ResourceType=instance-connect-endpoint&TagSpecification.1.Tag.1.Key=a&SubnetId=" + subnet},
		{"ec2", "DescribeInstanceConnectEndpoints", ""},
		{"ec2", "DeleteInstanceConnectEndpoint", "InstanceConnectEndpointId=ENDPOINT"},
		{"ec2", "DeleteTags", "ResourceId.1=" + id + "&Tag.1.Key=Name"},
		{"ec2", "TerminateInstances", "InstanceId.1=" + id},
		{"ec2", "DescribeInstances", ""},
		{"ec2", "EnableSerialConsoleAccess", ""},
		{"ec2", "GetSerialConsoleAccessStatus", ""},
		{"ec2", "DisableSerialConsoleAccess", ""},
		{"lightsail", "ImportKeyPair", `{"keyPairName":"kk","publicKeyBase64":"` + line + `"}`},
		{"lightsail", "CreateKeyPair", `{"keyPairName":"cc","tags":[{"key":"a","value":"b"},{"key":"c"}]}`},
		{"lightsail", "DownloadDefaultKeyPair", `{}`},
		{"lightsail", "TagResource", `{"resourceName":"kk","tags":[{"key":"a","value":"b"}]}`},
		{"lightsail", "GetKeyPair", `{"keyPairName":"kk"}`},
		{"lightsail", "GetKeyPairs", `{"includeDefaultKeyPair":true}`},
		{"lightsail", "UntagResource", `{"resourceName":"kk","tagKeys":["a"]}`},
		{"lightsail", "DeleteKeyPair", `{"keyPairName":"kk"}`},
		{"lightsail", "GetOperation", `{"operationId":"OPERATION"}`},
		{"lightsail", "GetOperations", `{}`},
		{"lightsail", "GetOperationsForResource", `{"resourceName":"kk"}`},
		{"lightsail", "GetRegions", `{"includeAvailabilityZones":true}`},
		{"sts", "GetCallerIdentity", ""},
	} {
		what := row.service + ":" + row.operation
		delete(left, what)
		fields := strings.NewReplacer("ENDPOINT", endpoint, "OPERATION", operation).Replace(row.fields)
		if _, read := models[row.service]; !read {
			models[row.service] = readModel(t, row.service)
		}
		m := models[row.service]
		if row.service == "ec2" { // first without doing it
			status, body := raw(t, h, row.service, row.operation, fields+"&DryRun=true")
			if code, _ := refusalOf(t, body); status != http.StatusPreconditionFailed || code != "DryRunOperation" {
				t.Errorf("%s with DryRun: %d, %s", what, status, body)
			}
		}
		status, body := raw(t, h, row.service, row.operation, fields)
		if status != http.StatusOK {
			t.Errorf("%s is %d, %s", what, status, body)
			continue
		}
		endpoint = string(regexp.MustCompile(`eice-[0-9a-f]{17}`).Find(body))
		if id := regexp.MustCompile(`"operation":\{"id":"([^"]+)"`).FindSubmatch(body); id != nil {
			operation = string(id[1])
		}
		if _, known := m.Operations[row.operation]; !known {
			t.Logf("%s: the model at hand is too old to know it", what)
			continue
		}
		if err := m.check(row.operation, body); err != nil {
			t.Errorf("%s: %v\nin %s", what, err, body)
		}
		for _, e := range m.Operations[row.operation].Errors { // EC2's model has none
			if err := s.InjectFault("error=" + e.Shape); err != nil {
				t.Fatal(err)
			}
			status, body := raw(t, h, row.service, row.operation, fields)
			s.ClearFaults("")
			if err := m.checkError(e.Shape, body); err != nil || status < 400 {
				t.Errorf("%s: %d, %v\nin %s", what, status, err, body)
			}
		}
	}
	for name := range left {
		t.Errorf("%s is not tried", name)
	}
}

func (m model) check(operation string, body []byte) error {
	output := m.Operations[operation].Output
	if output.Shape == "" {
		return nil // some have none
	}
	if body[0] != '<' {
		var value any
		if err := json.Unmarshal(body, &value); err != nil {
			return err
		}
		return m.checkJSON(operation, output.Shape, value)
	}
	var e element
	if err := xml.Unmarshal(body, &e); err != nil {
		return err
	}
	want := m.Metadata.XMLNamespace
	if want == "" {
		want = "http://ec2.amazonaws.com/doc/"
	}
	if e.XMLName.Local != operation+"Response" || !strings.HasPrefix(e.XMLName.Space, want) {
		return fmt.Errorf("the answer is a %v", e.XMLName)
	}
	if output.ResultWrapper != "" {
		if len(e.Children) != 2 || e.Children[0].XMLName.Local != output.ResultWrapper || e.Children[1].XMLName.Local != "ResponseMetadata" {
			return fmt.Errorf("the answer is not in %s", output.ResultWrapper)
		}
		e = e.Children[0]
	}
	return m.checkXML(operation, output.Shape, e)
}

// checkError lets an error have __type beside what the model has.
func (m model) checkError(name string, body []byte) error {
	var value map[string]any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	if value["__type"] != name {
		return fmt.Errorf("__type is %v, want %s", value["__type"], name)
	}
	delete(value, "__type")
	return m.checkJSON(name, name, value)
}
