package sessions

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// A schema is what is used of JSON Schema in testdata/ocsf-authentication.json.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Enum                 []float64          `json:"enum"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties *bool              `json:"additionalProperties"`
	Required             []string           `json:"required"`
	AnyOf                []*schema          `json:"anyOf"`
	Items                *schema            `json:"items"`
	Defs                 map[string]*schema `json:"$defs"`
}

// check returns what is wrong with a value.
func (s *schema) check(root *schema, at string, value any) (wrong []string) {
	if s.Ref != "" {
		return root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")].check(root, at, value)
	}
	fail := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	switch value := value.(type) {
	case map[string]any:
		if s.Type != "object" && s.Type != "" {
			fail("is an object")
		}
		has := func(name string) bool { _, ok := value[name]; return ok }
		for _, name := range s.Required {
			if !has(name) {
				fail("lacks %s", name)
			}
		}
		if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(a *schema) bool {
			return !slices.ContainsFunc(a.Required, func(name string) bool { return !has(name) })
		}) {
			fail("has none of what it needs one of")
		}
		for name, member := range value {
			if property := s.Properties[name]; property != nil {
				wrong = append(wrong, property.check(root, at+"."+name, member)...)
			} else if s.AdditionalProperties != nil && !*s.AdditionalProperties {
				fail("has %s", name)
			}
		}
	case string:
		if s.Type != "string" {
			fail("is a string")
		}
		if value == "" {
			fail("is empty")
		}
	case float64:
		if s.Type != "integer" || value != float64(int64(value)) || s.Enum != nil && !slices.Contains(s.Enum, value) {
			fail("is %v", value)
		}
	case bool:
		if s.Type != "boolean" {
			fail("is a truth value")
		}
	default:
		fail("is %T", value)
	}
	return wrong
}

func ocsfSchema(t *testing.T) *schema {
	t.Helper()
	text, err := os.ReadFile("testdata/ocsf-authentication.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestOCSF has every event be one of the published schema.
func TestOCSF(t *testing.T) {
	t.Parallel()
	root := ocsfSchema(t)
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.accepted(100, keyA)
	w.closed(100)
	w.provided(101, keyA, "r2", alice)
	w.provided(101, keyA, "r3", bob)
	w.sshd(101, "Partial publickey for ubuntu from 10.0.0.1 port 40101 ssh2: ED25519 %s", keyA)
	w.sshd(101, "Accepted keyboard-interactive/pam for ubuntu from 10.0.0.1 port 40101 ssh2")
	w.provided(102, keyA, "", "")
	w.accepted(102, keyA)
	w.closed(102)
	w.gate("gate-opened", "EIC_PORT", "0", "EIC_USER", "i-0123456789abcdef0.port0", "EIC_CALLER", alice, "EIC_REQUEST_ID", "r4", "EIC_INSTANCE_ID", "i-0123456789abcdef0")
	w.gate("gate-closed", "EIC_PORT", "0")
	w.gate("gate-broken-glass", "EIC_PORT", "0", "EIC_REASON", "imds-unreachable")
	logons, logoffs := 0, 0
	for _, s := range w.report(Options{}).Sessions {
		for _, kind := range []audit.Kind{audit.SessionOpened, audit.SessionClosed} {
			line, err := s.OCSF(kind)
			if err != nil {
				t.Fatal(err)
			}
			if line == "" {
				continue
			}
			var value map[string]any
			if err := json.Unmarshal([]byte(line), &value); err != nil {
				t.Fatal(err)
			}
			for _, wrong := range root.check(root, "event", value) {
				t.Errorf("%s\n%s", wrong, line)
			}
			if value["activity_id"] == 1.0 {
				logons++
			} else {
				logoffs++
			}
		}
	}
	if logons != 5 || logoffs != 3 {
		t.Errorf("%d logons, %d logoffs", logons, logoffs)
	}
	// The check finds what is wrong.
	for text, want := range map[string]string{
		`{"activity_id":1}`: "lacks class_uid", `{"class_uid":3001}`: "is 3001", `{"class_uid":"x"}`: "is a string", `{"nonsense":1}`: "has nonsense",
		`{"user":{}}`: "has none of", `{"user":{"name":""}}`: "is empty", `{"time":1.5}`: "is 1.5", `{"status_id":7}`: "is 7",
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if wrong := strings.Join(root.check(root, "event", value), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%s: %s", text, wrong)
		}
	}
}

// TestOCSFMeaning has the fields that engines search by.
func TestOCSFMeaning(t *testing.T) {
	t.Parallel()
	end := start.Add(time.Minute)
	s := &Session{
		ID: "id", Where: Where{"host", "machine", "boot", 7}, Start: start, End: &end, EndTold: ToldBySSHD, User: "ubuntu", Address: "10.0.0.1", Port: "40100",
		Key: Key{Fingerprint: keyA}, Push: Push{Caller: alice, Request: "r1", Instance: "i-1"},
	}
	line, err := s.OCSF(audit.SessionClosed)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"type_uid":300202`, `"actor":{"user":{"name":"` + alice + `","uid":"` + alice + `"}}`, `"src_endpoint":{"ip":"10.0.0.1","port":40100}`,
		`"dst_endpoint":{"hostname":"host","uid":"machine","instance_uid":"i-1"}`, `"session":{"uid":"id",`, `"correlation_uid":"r1"`,
		`"user":{"name":"ubuntu","uid":"ubuntu","credential_uid":"` + keyA + `"}`, `"time":1772366460000`, `"status_detail":"sshd"`,
	} {
		if !strings.Contains(line, part) {
			t.Errorf("%s is missing in %s", part, line)
		}
	}
}
