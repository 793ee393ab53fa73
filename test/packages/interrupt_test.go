package packages

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

// interrupting is a /bin/sh that runs scripts of rpm and dpkg with bash, which kills itself before one
// command: before it /run/interrupt is the number of commands that are let through.
const interrupting = `#!/bin/bash
case $1 in
/var/tmp/rpm-tmp.* | /var/lib/dpkg/info/eic-agent.* | /var/lib/dpkg/tmp.ci/*)
	read -r count </run/interrupt
	export EIC_COUNT=$count BASH_ENV=/run/interrupt.sh
	exec /bin/bash "$@" ;;
esac
exec /bin/dash "$@"
`

// interruptEach is sourced before each script. The commands of all scripts of one run of rpm or dpkg are
// counted together, in /run/reached.
const interruptEach = `set -T
unset BASH_ENV
eic_step() {
	local reached=0
	[ ! -s /run/reached ] || read -r reached </run/reached
	reached=$((reached + 1))
	echo "$reached" >/run/reached
	[ "$reached" != $((EIC_COUNT + 1)) ] || { echo "$0: $BASH_COMMAND" >/run/interrupted; kill -9 $$; }
}
trap eic_step DEBUG
`

// An interruptible is what a package manager does, with scripts of the package.
type interruptible struct {
	name   string
	before *root // how it finds the system
	run    func(*root) (string, error)
	next   func(*root) (string, error) // resumes an interrupted run; nil is run again
	done   func(*root)                 // checks the system after an uninterrupted run
}

// interrupted kills a script of the package before every fifteenth of its commands, with EIC_EACH=1 before each. Logins
// go on working, and the next run of the package manager ends in the same state as one that was not
// interrupted.
func interrupted(t *testing.T, tests []interruptible) {
	step := 15
	if need.Each() {
		step = 1
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			whole := test.before.clone(t)
			whole.interrupt(-1)
			if out, err := test.run(whole); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			commands, err := strconv.Atoi(strings.TrimSpace(whole.read("/run/reached")))
			if err != nil || commands < 5 {
				t.Fatalf("%d commands were counted, %v", commands, err)
			}
			t.Logf("%d commands", commands)
			whole.interruptNoMore()
			test.done(whole)
			want := whole.state()
			for count := 0; count < commands; count += step {
				t.Run(strconv.Itoa(count), func(t *testing.T) {
					r := test.before.clone(t)
					r.interrupt(count)
					out, _ := test.run(r)
					if !r.exists("/run/interrupted") {
						t.Fatalf("nothing was interrupted:\n%s", out)
					}
					at := strings.TrimSpace(r.read("/run/interrupted"))
					r.interruptNoMore()
					r.loginWorks(at)
					next := test.next
					if next == nil {
						next = test.run
					}
					if out, err := next(r); err != nil {
						t.Errorf("interrupted before %q, the next run fails: %v\n%s", at, err, out)
					}
					got := r.state()
					more := slices.DeleteFunc(slices.Clone(got), func(line string) bool { return slices.Contains(want, line) })
					missing := slices.DeleteFunc(slices.Clone(want), func(line string) bool { return slices.Contains(got, line) })
					if len(more)+len(missing) > 0 {
						t.Errorf("interrupted before %q, the next run leaves %q instead of %q", at, more, missing)
					}
				})
			}
		})
	}
}

func (r *root) interrupt(count int) {
	r.t.Helper()
	r.write("/run/interrupt", fmt.Sprintln(count), 0o644)
	r.write("/run/interrupt.sh", interruptEach, 0o644)
	r.write("/bin/sh", interrupting, 0o755)
}

func (r *root) interruptNoMore() {
	r.t.Helper()
	if err := errors.Join(os.Remove(r.dir+"/bin/sh"), os.Symlink("dash", r.dir+"/bin/sh")); err != nil {
		r.t.Fatal(err)
	}
}

// state lists what is not as on the machine, with a sum of the content where it does not tell the time, and
// what sshd has.
func (r *root) state() (lines []string) {
	r.t.Helper()
	for _, path := range r.left() {
		if strings.HasPrefix(path, "/etc/") && !strings.Contains(path, "shadow") {
			what, err := describe(r.upper + path)
			if err != nil {
				r.t.Fatal(err)
			}
			path = fmt.Sprintf("%s %x", path, sha256.Sum256([]byte(what)))
		}
		lines = append(lines, path)
	}
	lines = append(lines, strings.Split(r.run("find", "/run", "-path", "/run/eic-*", "-printf", "%p %u %m\n"), "\n")...)
	return append(lines, strings.Split(r.sshd(), "\n")...)
}

func TestRPMInterrupted(t *testing.T) {
	t.Parallel()
	bare := newRPMRoot(t)
	bare.canLogIn()
	enabled := func(version string) *root {
		r := bare.clone(t)
		r.installRPM("-i", version)
		r.enable()
		return r
	}
	do := func(how string, options ...string) func(*root) (string, error) {
		return func(r *root) (string, error) {
			return r.rpm(nil, slices.Concat([]string{how}, options, agentRPMs(newVersion))...)
		}
	}
	interrupted(t, []interruptible{
		{"install", bare, do("-i"), do("-U", "--replacepkgs"), func(r *root) { r.checkInstalled(newVersion) }},
		{"upgrade", enabled(oldVersion), do("-U"), do("-U", "--replacepkgs"), (*root).checkEnabled},
		{"erase", enabled(newVersion), func(r *root) (string, error) { return r.rpm(nil, "-e", "eic-agent", "eic-agent-selinux") }, func(r *root) (string, error) {
			// What is not there any more is installed, and erased again.
			if _, err := r.rpm(nil, "-q", "eic-agent"); err != nil {
				r.installRPM("-U", newVersion, "--replacepkgs")
			}
			erase := []string{"-e", "eic-agent"}
			if _, err := r.rpm(nil, "-q", "eic-agent-selinux"); err == nil {
				erase = append(erase, "eic-agent-selinux")
			}
			return r.rpm(nil, erase...)
		}, (*root).checkNoLogin},
	})
}

func TestDebInterrupted(t *testing.T) {
	t.Parallel()
	bare := newRoot(t)
	bare.canLogIn()
	old, new := bare.bring(deb("eic-agent", oldVersion)), bare.bring(deb("eic-agent", newVersion))
	enabled := func(file string) *root {
		r := bare.clone(t)
		r.run("dpkg", "--force-unsafe-io", "-i", file)
		r.enable()
		return r
	}
	dpkg := func(args ...string) func(*root) (string, error) {
		return func(r *root) (string, error) {
			return r.try([]string{"EIC_ENABLE=1"}, "dpkg", append([]string{"--force-unsafe-io"}, args...)...)
		}
	}
	// Debian 13's debhelper writes a preinst: interrupted there, nothing is unpacked yet.
	resume := func(r *root) (string, error) {
		if !r.exists("/usr/bin/eicctl") {
			return dpkg("-i", new)(r)
		}
		return dpkg("--configure", "-a")(r)
	}
	interrupted(t, []interruptible{
		{"install", bare, dpkg("-i", new), resume, (*root).checkEnabled},
		{"upgrade", enabled(old), dpkg("-i", new), nil, (*root).checkEnabled},
		{"remove", enabled(new), dpkg("--remove", "eic-agent"), nil, (*root).checkNoLogin},
		{"purge", enabled(new), dpkg("--purge", "eic-agent"), nil, (*root).checkNoLogin},
	})
}

// enable has sshd and the serial console use the agent.
func (r *root) enable() {
	r.t.Helper()
	r.run("eicctl", "sshd", "enable")
	r.run("eicctl", "serial", "enable", "--when-unreachable", "lock")
}

func (r *root) checkEnabled() {
	r.t.Helper()
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		r.t.Errorf("sshd has:\n%s", got)
	}
	if got, want := r.run("eic-authkeys", "--version"), "eic-authkeys "+newVersion+"\n"; got != want {
		r.t.Errorf("eic-authkeys --version: %q, want %q", got, want)
	}
}

// canLogIn lets root log in with a key of its own.
func (r *root) canLogIn() {
	r.t.Helper()
	r.run("sh", "-ec", "mkdir -p /run/sshd /run/key; ssh-keygen -q -t ed25519 -N '' -f /run/key/id")
}

// loginWorks logs root in through an sshd that ssh starts.
func (r *root) loginWorks(at string) {
	r.t.Helper()
	out, err := r.try(nil, "ssh", "-F", "none", "-i", "/run/key/id", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ProxyCommand=/usr/sbin/sshd -i -o AuthorizedKeysFile=/run/key/id.pub -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes", "root@host", "echo in")
	if err != nil || out != "in\n" {
		r.t.Errorf("interrupted before %q, nobody can log in: %v\n%s", at, err, out)
	}
}
