package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
	"github.com/eic-agent/eic-agent/internal/ctl/keys"
	"github.com/eic-agent/eic-agent/internal/ctl/metrics"
	"github.com/eic-agent/eic-agent/internal/ctl/policy"
	"github.com/eic-agent/eic-agent/internal/ctl/serial"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/internal/ctl/sshdsetup"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// The manual pages name every member of what is printed as JSON, but for the
// innards of sshd.
func TestFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	page := func(name string) string {
		text, err := os.ReadFile("../../man/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	audit := page("eicctl-audit.8")
	for _, c := range []struct {
		value any
		text  string
	}{
		{keys.Report{}, page("eicctl-keys.8")}, {fingerprintAnswers{}, page("eicctl-fingerprint.8")}, {noAnswer{}, page("eicctl.8")},
		{sessions.Report{}, audit}, {sessions.Answer{}, page("eicctl-explain.8") + audit},
		{sshdsetup.Report{}, page("eicctl-sshd.8")}, {serial.Report{}, page("eicctl-serial.8")}, {doctor.Report{}, page("eicctl-doctor.8")},
		{policy.Report{}, page("eicctl-policy.8")}, {metrics.Snapshot{}, page("eicctl-metrics.8")},
	} {
		typ := reflect.TypeOf(c.value)
		names := make(map[string]bool)
		members(typ, names)
		if len(names) == 0 {
			t.Errorf("%v has no members", typ)
		}
		for name := range names {
			if !regexp.MustCompile(`(?m)^\.(Li|Pq Li)\b.*[ ]` + name + `( |$)`).MatchString(c.text) {
				t.Errorf("no manual page names %s of %v", name, typ)
			}
		}
	}
}

// members adds the names that a type's members have in JSON, at any depth.
func members(typ reflect.Type, names map[string]bool) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice:
		members(typ.Elem(), names)
		return
	case reflect.Struct:
	default:
		return
	}
	if typ == reflect.TypeFor[time.Time]() || typ == reflect.TypeFor[sshd.Server]() {
		return
	}
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name != "" {
			names[name] = true
		}
		if field.IsExported() || field.Anonymous {
			members(field.Type, names)
		}
	}
}
