// Package release makes roots of Debian releases and runs them in namespaces of
// their own, with the release's own systemd as PID 1 or with none. It needs root.
//
// A program that imports it runs itself again to set up a root; see [init].
package release

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/test/kept"
)

// Names are the releases that the project is tested with.
var Names = []string{"bullseye", "bookworm", "trixie", "sid"}

// A Recipe says what is in a root.
type Recipe struct {
	Suite    string   // the release's name
	Kind     string   // what it is for: a new root takes the place of an earlier one
	Packages []string // beside Debian's essential ones and apt
}

// Newer are the releases whose programs are not those of the machine that CI runs on:
// the project's own tests run in their roots, too.
var Newer = []string{"trixie", "sid"}

// Host is the recipe of a host that is logged in to.
func Host(suite string) Recipe {
	r := Recipe{suite, "host", []string{
		"systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "openssh-client",
		"login", "passwd", "util-linux", "iproute2", "procps",
	}}
	if slices.Contains(Newer, suite) {
		r.Packages = append(r.Packages, "systemd-journal-remote", "nftables", "time")
	}
	return r
}

// Userdb is Host with systemd's userdbctl as sshd's AuthorizedKeysCommand. The zero
// Recipe stands for a release that has not got that.
func Userdb(suite string) Recipe {
	if !slices.Contains(Newer, suite) {
		return Recipe{}
	}
	r := Host(suite)
	r.Kind = "userdb"
	r.Packages = append(r.Packages, "systemd-userdbd")
	return r
}

// Packaging is Host with what looks at the packages that are installed there. It is that
// of one release: the zero Recipe stands for the others.
func Packaging(suite string) Recipe {
	if suite != "bookworm" {
		return Recipe{}
	}
	r := Host(suite)
	r.Kind = "packaging"
	r.Packages = append(r.Packages, "man-db", "rpm", "ansible-core", "python3-apt", "cloud-init", "curl", "jq", "sudo", "systemd-journal-remote")
	return r
}

// RPM is Host with the newest rpm, dnf and rpmlint that Debian has: the zero Recipe stands
// for releases with older ones.
func RPM(suite string) Recipe {
	if suite != "sid" {
		return Recipe{}
	}
	r := Host(suite)
	r.Kind = "rpm"
	r.Packages = append(r.Packages, "rpm", "rpmlint", "dnf", "createrepo-c", "cpio", "gnupg", "ansible-core")
	return r
}

// Lintian is what holds the newest lintian. It is of one release: the zero Recipe stands for
// the others.
func Lintian(suite string) Recipe {
	if suite != "sid" {
		return Recipe{}
	}
	return Recipe{suite, "lintian", []string{"lintian"}}
}

// Newcomer is the recipe of a system that holds what the project's README asks for, and
// Go has to be added.
func Newcomer(suite string) Recipe {
	return Recipe{suite, "newcomer", []string{"make", "git", "ca-certificates"}}
}

// CacheDir is where roots are kept between runs: the value of EIC_RELEASES, or
// /var/cache/eic-agent-test.
func CacheDir() string {
	if dir := os.Getenv("EIC_RELEASES"); dir != "" {
		return dir
	}
	return "/var/cache/eic-agent-test"
}

// Root returns the directory of the root, from the cache or, where it is missing
// there, made by mmdebstrap. It is not to be changed: Start and Boot work on a copy.
// What takes long is said on log.
func (r Recipe) Root(log io.Writer) (dir string, err error) {
	dir = filepath.Join(CacheDir(), r.Suite+"-"+cmp.Or(r.Kind, "other")+"-"+r.hash())
	began := time.Now()
	cached, err := kept.Dir(dir, func(dir string) error {
		fmt.Fprintf(log, "making a root of Debian %s with mmdebstrap, which takes minutes\n", r.Suite)
		out, err := exec.Command("mmdebstrap", append(r.arguments(), dir)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mmdebstrap: %w\n%s", err, out)
		}
		for name, content := range r.files() {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("making a root of Debian %s: %w", r.Suite, err)
	}
	if !cached {
		fmt.Fprintf(log, "made %s in %.0f s\n", dir, time.Since(began).Seconds())
	}
	return dir, nil
}

// arguments are those of mmdebstrap without the directory. Without a mirror it adds
// the security updates by itself.
func (r Recipe) arguments() []string {
	return []string{
		"--mode=root", "--variant=minbase", "--format=directory",
		// An archive that is copied now and then.
		`--aptopt=Acquire::Check-Valid-Until "false"`,
		"--include=" + strings.Join(slices.Sorted(slices.Values(r.Packages)), ","),
		r.Suite,
	}
}

// files are what mmdebstrap takes from this machine or leaves for the first boot.
func (r Recipe) files() map[string]string {
	return map[string]string{
		"etc/hostname":    r.Suite + "\n",
		"etc/hosts":       "127.0.0.1 localhost " + r.Suite + "\n",
		"etc/resolv.conf": "",
		"etc/machine-id":  "0123456789abcdef0123456789abcdef\n",
	}
}

// hash names the root. What Debian's archive holds that day is not part of it.
func (r Recipe) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", r.arguments(), r.files()))
	return hex.EncodeToString(sum[:8])
}
