package packages

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

// interrupting is a /bin/sh that runs scripts of rpm with bash, which kills itself before one
// command: before it /run/interrupt is the number of commands that are let through.
const interrupting = `#!/bin/bash
case $1 in
/var/tmp/rpm-tmp.*)
	read -r count </run/interrupt
	export EIC_COUNT=$count BASH_ENV=/run/interrupt.sh
	exec /bin/bash "$@" ;;
esac
exec /bin/dash "$@"
`

// interruptEach is sourced before each script. The commands of all scripts of one run of rpm are
// counted together, in /run/reached.
const interruptEach = `set -T
unset BASH_ENV
eic_step() {
	local reached=0
	[ ! -s /run/reached ] || read -r reached </run/reached
	reached=$((reached + 1))
	echo "$reached" >/run/reached
	[ "$reached" != $((EIC_COUNT + 1)) ] || { echo "$BASH_COMMAND" >/run/interrupted; kill -9 $$; }
}
trap eic_step DEBUG
`

// A script of the package that is killed before any of its commands costs nobody a login, and the next run of
// rpm finishes what was begun. Every seventh command is tried, with EIC_EACH=1 each.
func TestRPMInterrupted(t *testing.T) {
	t.Parallel()
	step := 7
	if need.Each() {
		step = 1
	}
	for _, test := range []struct {
		name    string
		enabled bool
		before  func(*root)
		what    []string // of rpm
		next    []string
		done    func(*root)
	}{
		{"install", false, func(*root) {}, slices.Concat([]string{"-i"}, agentRPMs(newVersion)), slices.Concat([]string{"-U", "--replacepkgs"}, agentRPMs(newVersion)),
			func(r *root) { r.checkInstalled(newVersion) }},
		{"upgrade", true, func(r *root) { r.installRPM("-i", oldVersion) }, slices.Concat([]string{"-U"}, agentRPMs(newVersion)), slices.Concat([]string{"-U", "--replacepkgs"}, agentRPMs(newVersion)),
			func(r *root) {
				if got := r.sshd(); !strings.Contains(got, ourCommand) {
					t.Errorf("after the upgrade sshd has:\n%s", got)
				}
			}},
		{"erase", true, func(r *root) { r.installRPM("-i", newVersion) }, []string{"-e", "eic-agent", "eic-agent-selinux"}, nil,
			func(r *root) { r.checkNoLogin() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for count := 0; ; count += step {
				r := newRPMRoot(t)
				before := r.left()
				r.canLogIn()
				test.before(r)
				if test.enabled {
					r.run("eicctl", "sshd", "enable")
					r.run("eicctl", "serial", "enable", "--when-unreachable", "lock")
				}
				r.write("/run/interrupt", fmt.Sprintln(count), 0o644)
				r.write("/run/interrupt.sh", interruptEach, 0o644)
				r.write("/bin/sh", interrupting, 0o755)
				said, _ := r.rpm(nil, test.what...)
				if !r.exists("/run/interrupted") {
					if count < 3 {
						t.Fatalf("%d commands were counted:\n%s", count, said)
					}
					t.Logf("%d commands", count)
					break
				}
				at := strings.TrimSpace(r.read("/run/interrupted"))
				r.loginWorks(at)
				_ = os.Remove(r.dir + "/bin/sh")
				if err := os.Symlink("dash", r.dir+"/bin/sh"); err != nil {
					t.Fatal(err)
				}
				next := test.next
				if next == nil { // what is not there any more is installed, and erased again
					if _, err := r.rpm(nil, "-q", "eic-agent"); err != nil {
						r.installRPM("-U", newVersion, "--replacepkgs")
					}
					next = []string{"-e", "eic-agent"}
					if _, err := r.rpm(nil, "-q", "eic-agent-selinux"); err == nil {
						next = append(next, "eic-agent-selinux")
					}
				}
				if said, err := r.rpm(nil, next...); err != nil {
					t.Errorf("interrupted before %q, the next run fails: %v\n%s", at, err, said)
				}
				test.done(r)
				r.loginWorks(at)
				if test.next != nil {
					r.eraseRPM()
				}
				left := slices.DeleteFunc(r.left(), func(path string) bool { return slices.Contains(before, path) })
				if len(left) > 0 {
					t.Errorf("interrupted before %q, the removal leaves %q", at, left)
				}
			}
		})
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
