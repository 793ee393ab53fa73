package emulator_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// A model is AWS's own description of a service, as botocore has it.
type model struct {
	Operations map[string]struct {
		Output struct{ Shape string }
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
		if !ok || s.Enum != nil && !slices.Contains(s.Enum, text) && name != "OperationType" {
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
			// managedBy came after the model that Debian 12 has.
			if !found && child.XMLName.Local != "requestId" && child.XMLName.Local != "managedBy" {
				all = errors.Join(all, fmt.Errorf("%s has %s, which the model has not", at, child.XMLName.Local))
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

// A wiretap keeps the last answer.
type wiretap struct {
	status int
	body   []byte
}

func (w *wiretap) Do(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	w.status = response.StatusCode
	if w.body, err = io.ReadAll(response.Body); err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(w.body))
	return response, nil
}

// TestShapes compares every answer with the shapes in the service models.
func TestShapes(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{SerialAccess: true})
	api := httptest.NewServer(s.APIHandler())
	t.Cleanup(api.Close)
	provider := credentials.NewStaticCredentialsProvider("test", "test", "")
	tap := &wiretap{}
	connect := eic.New(eic.Options{BaseEndpoint: &api.URL, Region: "us-east-1", Credentials: provider, HTTPClient: tap, Retryer: aws.NopRetryer{}})
	cloud := ec2.New(ec2.Options{BaseEndpoint: &api.URL, Region: "us-east-1", Credentials: provider, HTTPClient: tap, Retryer: aws.NopRetryer{}})
	sail := lightsail.New(lightsail.Options{BaseEndpoint: &api.URL, Region: "us-east-1", Credentials: provider, HTTPClient: tap, Retryer: aws.NopRetryer{}})
	line := keyVectors(t)[1].line
	ctx := t.Context()
	for _, service := range []struct {
		name  string
		calls []struct {
			operation string
			call      func() error
		}
	}{
		{"ec2-instance-connect", []struct {
			operation string
			call      func() error
		}{
			{"SendSSHPublicKey", func() error { _, err := connect.SendSSHPublicKey(ctx, input()); return err }},
			{"SendSerialConsoleSSHPublicKey", func() error {
				_, err := connect.SendSerialConsoleSSHPublicKey(ctx, serialInput(emulator.DefaultInstanceID))
				return err
			}},
		}},
		{"ec2", []struct {
			operation string
			call      func() error
		}{
			{"ImportKeyPair", func() error {
				_, err := cloud.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(line), TagSpecifications: []ec2types.TagSpecification{
					{ResourceType: "key-pair", Tags: []ec2types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}}})
				return err
			}},
			{"DescribeKeyPairs", func() error {
				_, err := cloud.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)})
				return err
			}},
			{"DeleteKeyPair", func() error {
				_, err := cloud.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String("k")})
				return err
			}},
			{"DescribeInstances", func() error { _, err := cloud.DescribeInstances(ctx, &ec2.DescribeInstancesInput{}); return err }},
			{"EnableSerialConsoleAccess", func() error {
				_, err := cloud.EnableSerialConsoleAccess(ctx, &ec2.EnableSerialConsoleAccessInput{})
				return err
			}},
			{"GetSerialConsoleAccessStatus", func() error {
				_, err := cloud.GetSerialConsoleAccessStatus(ctx, &ec2.GetSerialConsoleAccessStatusInput{})
				return err
			}},
			{"DisableSerialConsoleAccess", func() error {
				_, err := cloud.DisableSerialConsoleAccess(ctx, &ec2.DisableSerialConsoleAccessInput{})
				return err
			}},
		}},
		{"lightsail", []struct {
			operation string
			call      func() error
		}{
			{"ImportKeyPair", func() error {
				_, err := sail.ImportKeyPair(ctx, &lightsail.ImportKeyPairInput{KeyPairName: aws.String("kk"), PublicKeyBase64: &line})
				return err
			}},
			{"GetKeyPair", func() error {
				_, err := sail.GetKeyPair(ctx, &lightsail.GetKeyPairInput{KeyPairName: aws.String("kk")})
				return err
			}},
			{"GetKeyPairs", func() error { _, err := sail.GetKeyPairs(ctx, &lightsail.GetKeyPairsInput{}); return err }},
			{"DeleteKeyPair", func() error {
				_, err := sail.DeleteKeyPair(ctx, &lightsail.DeleteKeyPairInput{KeyPairName: aws.String("kk")})
				return err
			}},
		}},
	} {
		m := readModel(t, service.name)
		for _, c := range service.calls {
			what := service.name + " " + c.operation
			if err := c.call(); err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if err := m.check(c.operation, tap.body, service.name == "ec2"); err != nil {
				t.Errorf("%s: %v\nin %s", what, err, tap.body)
			}
			if service.name == "ec2" {
				continue // its model names no errors
			}
			for _, e := range m.Operations[c.operation].Errors {
				if err := s.InjectFault("error=" + e.Shape); err != nil {
					t.Fatal(err)
				}
				if err := c.call(); typeName(err) != e.Shape {
					t.Errorf("%s: %s is %T", what, e.Shape, err)
				}
				s.ClearFaults("")
				if err := m.checkError(e.Shape, tap.body); err != nil {
					t.Errorf("%s: %v\nin %s", what, err, tap.body)
				}
			}
		}
	}
}

func (m model) check(operation string, body []byte, isXML bool) error {
	output := m.Operations[operation].Output.Shape
	if output == "" {
		return nil // DeleteKeyPair had none until 2023
	}
	if isXML {
		var e element
		if err := xml.Unmarshal(body, &e); err != nil {
			return err
		}
		if e.XMLName.Local != operation+"Response" || !strings.HasPrefix(e.XMLName.Space, "http://ec2.amazonaws.com/doc/") {
			return fmt.Errorf("the answer is a %v", e.XMLName)
		}
		return m.checkXML(operation, output, e)
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	return m.checkJSON(operation, output, value)
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
