package doctor

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
)

// A fault is set up for real, and undone when its test ends. want are all problems
// that may be named.
type fault struct {
	name string
	set  func(*testing.T)
	user string // alice unless given
	want []string
	open []string // checks that have to be left open; nil for any
}

func one(name string, set func(*testing.T), want ...string) fault {
	return fault{name: name, set: set, want: want}
}

// of names another user than alice.
func (f fault) of(user string) fault {
	f.user = user
	return f
}

// leaving says which checks rest on the fault, and have to be left open.
func (f fault) leaving(open ...string) fault {
	f.open = open
	return f
}

func TestFaults(t *testing.T) {
	all := slices.Concat(serverFaults(), commandFaults(), loginFaults(), configFaults(), metadataFaults(), instanceFaults(),
		chainFaults(), recordFaults(), cacheFaults(), journalFaults(), policyFaults(), programFaults())
	if len(all) < 40 {
		t.Errorf("only %d faults", len(all))
	}
	named := make(map[string]bool)
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			f.set(t)
			if f.user == "" {
				f.user = user
			}
			r := examine(t, f.user)
			slices.Sort(f.want)
			if got := ids(r, doctor.Problem); !slices.Equal(got, f.want) {
				t.Errorf("problems %q, want %q\n%s", got, f.want, show(r))
			}
			open := slices.DeleteFunc(ids(r, doctor.Untold), func(id string) bool { return slices.Contains(untold(), id) })
			if slices.Sort(f.open); f.open != nil && !slices.Equal(open, f.open) {
				t.Errorf("left open %q, want %q\n%s", open, f.open, show(r))
			}
			check(t, r)
		})
		for _, id := range f.want {
			named[id] = true
		}
	}
	// All is undone.
	healthy(t)
	for _, e := range doctor.Catalog() {
		if !named[e.ID] && !slices.Contains(unmade(), e.ID) {
			t.Errorf("no fault makes %s", e.ID)
		}
	}
	t.Logf("%d faults, %d of %d findings", len(all), len(named), len(doctor.Catalog()))
}

// check makes sure of what holds for every report.
func check(t *testing.T, r doctor.Report) {
	t.Helper()
	for _, f := range r.Findings {
		if strings.ContainsFunc(f.Text+f.Fix, unicode.IsControl) {
			t.Errorf("%s shows a control character: %q", f.ID, f.Text+f.Fix)
		}
		switch {
		case f.Text == "" || f.ID == "" || f.Area == "":
			t.Errorf("a finding is not complete: %+v", f)
		case f.Status == doctor.Problem && f.Fix == "":
			t.Errorf("%s has no fix", f.ID)
		}
	}
}

// unmade are the findings that cannot be made here.
func unmade() []string {
	return []string{
		"imds-denied", // takes a cgroup with an address filter
	}
}
