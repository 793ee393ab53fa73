package packages

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A root in which an image is made may have no /proc, as those of "dnf --installroot":
// what needs it waits for the boot, and all else is done.
func TestWithoutProc(t *testing.T) {
	t.Parallel()
	enable := []string{"EIC_ENABLE=1"}
	for name, install := range map[string]func() *root{
		"deb": func() *root {
			r := newRoot(t)
			r.withoutProc()
			r.runWith(enable, "dpkg", "-i", r.bring(deb("eic-agent", newVersion)))
			return r
		},
		"rpm": func() *root {
			r := newRPMRoot(t)
			r.withPolicy()
			r.withoutProc()
			if out, err := r.rpm(enable, append([]string{"-i"}, agentRPMs(newVersion)...)...); err != nil || strings.Contains(out, "scriptlet failed") {
				t.Errorf("%v\n%s", err, out)
			}
			if got := r.read("/run/semodule"); got != policyInstall {
				t.Errorf("installed with semodule %q, want %q", got, policyInstall)
			}
			return r
		},
	} {
		r := install()
		if r.exists("/run/eic-agent") {
			t.Errorf("%s: systemd-tmpfiles does not need /proc any more", name)
		}
		if got := r.sshd(); !strings.Contains(got, ourCommand) {
			t.Errorf("%s: not enabled; sshd has:\n%s", name, got)
		}
		if err := unix.Mount("proc", r.dir+"/proc", "proc", 0, ""); err != nil {
			t.Fatal(err)
		}
		r.run("eicctl", "sshd", "disable")
		r.run("systemd-tmpfiles", "--create", "eic-agent.conf")
		r.checkInstalled(newVersion)
	}
}

func (r *root) withoutProc() {
	r.t.Helper()
	if err := unix.Unmount(r.dir+"/proc", unix.MNT_DETACH); err != nil {
		r.t.Fatal(err)
	}
}

// rpm does not retry a removal: an account that cannot be removed keeps nothing else, and
// rpm reports it.
func TestRPMAccountInUse(t *testing.T) {
	t.Parallel()
	r := newRPMRoot(t)
	r.withPolicy()
	r.installRPM("-i", newVersion)
	r.write("/run/modules", "200 eic_agent   cil\n", 0o644)
	r.write("/run/semodule", "", 0o644)

	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	user := exec.Command("/usr/bin/setpriv", "--reuid=eic-agent", "--clear-groups", "sh", "-c", "echo; read line")
	user.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	user.Dir = "/"
	user.Stdin = in
	started, err := user.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := started.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	said, _ := r.rpm(nil, "-e", "eic-agent", "eic-agent-selinux")
	if !strings.Contains(said, "currently used by process") || !strings.Contains(said, "scriptlet failed") {
		t.Errorf("rpm says\n%s", said)
	}
	if got, want := r.read("/run/semodule"), policyList+policyRemove; got != want {
		t.Errorf("removed with semodule %q, want %q", got, want)
	}
	out.Close()
	user.Wait()
	for _, path := range []string{"/usr/bin/eic-authkeys", "/run/eic-agent", "/run/eic-serial-getty"} {
		if r.exists(path) {
			t.Errorf("%s is left", path)
		}
	}
}
