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
	// partly is why the fixes, where they are commands, leave something wrong here.
	partly string
	// then does what the comment behind a fix says.
	then func(*testing.T)
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

// butFor says what the fixes cannot mend here.
func (f fault) butFor(why string) fault {
	f.partly = why
	return f
}

// and says what is to be done after the fix.
func (f fault) and(then func(*testing.T)) fault {
	f.then = then
	return f
}

// Each fault is found by its name and no other; the fixes that are commands are run as
// they are printed, and the host is healthy afterwards.
func TestFaults(t *testing.T) {
	all := slices.Concat(serverFaults(), commandFaults(), loginFaults(), configFaults(), metadataFaults(), instanceFaults(),
		chainFaults(), recordFaults(), cacheFaults(), journalFaults(), gapFaults(), policyFaults(), programFaults())
	if len(all) < 40 {
		t.Errorf("only %d faults", len(all))
	}
	named := make(map[string]bool)
	ran, mended := 0, 0
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			ran++
			f.set(t)
			if f.user == "" {
				f.user = user
			}
			slices.Sort(f.want)
			slices.Sort(f.open)
			left := func(r doctor.Report) []string {
				return slices.DeleteFunc(ids(r, doctor.Unknown), func(id string) bool { return slices.Contains(open(), id) })
			}
			r := examineFor(t, f.user, func(r doctor.Report) bool {
				return slices.Equal(ids(r, doctor.Problem), f.want) && (f.open == nil || slices.Equal(left(r), f.open))
			})
			if got := ids(r, doctor.Problem); !slices.Equal(got, f.want) {
				t.Errorf("problems %q, want %q\n%s", got, f.want, show(r))
			}
			if got := left(r); f.open != nil && !slices.Equal(got, f.open) {
				t.Errorf("unknown %q, want %q\n%s", got, f.open, show(r))
			}
			check(t, r)
			if mend(t, f, r) {
				mended++
			}
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
	if ran == len(all) && mended < 80 {
		t.Errorf("only %d faults were mended by the fix that was printed", mended)
	}
	t.Logf("%d faults, %d of %d findings; %d faults mended by the fix that was printed", len(all), len(named), len(doctor.Catalog()), mended)
}

// mend runs the fixes of a report, if all of its problems have commands, and reports
// whether all was well then.
func mend(t *testing.T, f fault, r doctor.Report) bool {
	t.Helper()
	problems, commands := 0, []doctor.Finding(nil)
	for _, finding := range r.Findings {
		if finding.Status != doctor.Problem {
			continue
		}
		problems++
		if finding.Command {
			commands = append(commands, finding)
		}
	}
	if problems == 0 || len(commands) < problems || t.Failed() {
		return false
	}
	if f.partly != "" {
		t.Logf("not mended: %s: %q", f.partly, commands[0].Fix)
		return false
	}
	keepFiles(t)
	for _, finding := range commands {
		fixed(t, finding)
	}
	if f.then != nil {
		f.then(t)
	}
	after := examineFor(t, f.user, func(r doctor.Report) bool { return r.Problems == 0 })
	if got := ids(after, doctor.Problem); len(got) > 0 {
		t.Errorf("after %q: problems %q\n%s", commands[0].Fix, got, show(after))
	}
	return !t.Failed()
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
		case f.Status == doctor.Problem && !slices.ContainsFunc(doctor.Catalog(), func(e *doctor.Entry) bool { return e.ID == f.ID && string(e.Area) == f.Area }):
			t.Errorf("%s of area %s is not in the catalog", f.ID, f.Area)
		case f.Status == doctor.Problem && f.Fix == "":
			t.Errorf("%s has no fix", f.ID)
		}
	}
}

// unmade are the findings that cannot be made here.
func unmade() []string {
	return []string{
		"client-penalty",                                          // takes OpenSSH 9.8, which the tests of releases have
		"sshd-directory",                                          // takes systemd, as below
		"imds-denied",                                             // takes a cgroup with an address filter
		"unit-log-level", "unit-log-namespace", "unit-log-filter", // take systemd
		"sessions-account", "sessions-state", "sessions-not-running", "sessions-behind", // take systemd, which the tests of releases have
		"signer-search", // takes a chain that no emulator serves
	}
}
