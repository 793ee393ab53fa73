// Package releases installs the agent's package on each Debian release that the project
// supports, boots it with the release's own systemd, and logs in as users would.
package releases

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

// The versions of the package that are built, one the upgrade of the other.
const (
	oldVersion = "0.0.1"
	newVersion = "0.0.2~rc1"
)

// built is the folder of the packages, "" where they cannot be installed.
var built string

func TestMain(m *testing.M) {
	// They wait more than they work.
	flag.Parse()
	flag.Set("test.parallel", "4")
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if os.Geteuid() != 0 {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "eic-releases-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	for _, version := range []string{oldVersion, newVersion} {
		cmd := exec.Command("../../packaging/build", version, filepath.Join(dir, version))
		cmd.Env = append(os.Environ(), "ARCHES=amd64", "FORMATS=deb", "DPKG_DEB_COMPRESSOR_LEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building the package: %w\n%s", err, out)
		}
	}
	if err := makeRepositories(dir); err != nil {
		return 1, err
	}
	built = dir
	return m.Run(), nil
}

// deb is the file of the agent's package.
func deb(version string) string {
	return filepath.Join(built, version, "eic-agent_"+version+"-1_amd64.deb")
}

// A scenario is what is tried with a release, on a host of its own.
type scenario struct {
	name    string
	recipe  func(suite string) release.Recipe
	prepare func(*host) // before the package is installed; nil for nothing
	run     func(*host)
}

var scenarios = []scenario{
	{"service", release.Host, nil, enableAndDisable},
	{"socket", release.Host, bySocket, enableAndDisable},
	{"accept", release.Host, byAccept, enableAndDisable},
	{"control-group", release.Host, controlGroup, enableAndDisable},
	{"by-hand", release.Host, byHand, enableAndDisable},
	{"other", release.Host, otherByAccept, besideOther},
	{"several", release.Host, nil, besideGenerated},
	{"replaced", release.Host, nil, replaced},
	{"userdb", release.Userdb, nil, besideUserdb},
	{"package", release.Host, nil, upgradeAndPurge},
	{"serial", release.Host, nil, serialGate},
	{"names", release.Host, nil, otherSpellings},
	{"boot", release.Host, nil, checkedAtBoot},
	{"verdicts", release.Host, nil, verdicts},
	{"silence", release.Host, nil, silence},
	{"sessions", release.Host, nil, recordsSessions},
}

// chosen are the releases named by RELEASES, or all.
func chosen(t *testing.T) []string {
	t.Helper()
	need.Namespaces(t)
	for _, program := range []string{"mmdebstrap", "nsenter", "ip"} {
		need.Program(t, program)
	}
	names := strings.Fields(os.Getenv("RELEASES"))
	if len(names) == 0 {
		names = release.Names
	}
	return names
}

func TestReleases(t *testing.T) {
	t.Parallel()
	for _, name := range chosen(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			for _, s := range scenarios {
				recipe := s.recipe(name)
				if recipe.Suite == "" {
					continue // there is no such thing in this release
				}
				t.Run(s.name, func(t *testing.T) {
					h := newHost(t, recipe)
					if s.prepare != nil {
						s.prepare(h)
					}
					s.run(h)
				})
			}
			t.Logf("%s took %.0f s", name, time.Since(began).Seconds())
		})
	}
}
