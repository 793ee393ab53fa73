package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// Names of the packages below machine.GuestFiles.
const (
	previousDeb = "previous.deb"
	currentDeb  = "eic-agent.deb"
)

// previousVersion comes before every version of a checkout.
const previousVersion = "0.0.0~previous"

// checkout is the directory that this runs in.
func checkout() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("this has to run in the checkout: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// buildDeb builds the package of that version from this checkout, "" for the
// version that it has, and returns its path.
func (w *world) buildDeb(version string) (string, error) {
	dir, err := checkout()
	if err != nil {
		return "", err
	}
	if version == "" {
		out, err := exec.Command(filepath.Join(dir, "packaging/version")).Output()
		if err != nil {
			return "", fmt.Errorf("packaging/version: %w", err)
		}
		version = strings.TrimSpace(string(out))
	}
	target := w.path("packages-" + version)
	cmd := exec.Command(filepath.Join(dir, "packaging/build"), version, target)
	cmd.Env = append(os.Environ(), "ARCHES=amd64", "FORMATS=deb")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the package %s: %w\n%s", version, err, out)
	}
	found, err := filepath.Glob(filepath.Join(target, "eic-agent_*_amd64.deb"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s has %d packages for Debian, want one", target, len(found))
	}
	return found[0], nil
}

// dpkg runs dpkg with nobody to answer questions.
func (w *world) dpkg(args string) (string, error) {
	return w.Root("DEBIAN_FRONTEND=noninteractive dpkg "+args, 3*time.Minute)
}

// people opens a session as root, and gives alice her password.
func people(w *world) (string, error) {
	var err error
	if w.rootPrivate, err = w.rootKey(); err != nil {
		return "", err
	}
	if w.session, err = w.openSession("root", w.rootPrivate); err != nil {
		return "", err
	}
	_, err = w.Root("echo "+machine.Quote("alice:"+password)+" | chpasswd", time.Minute)
	return "", err
}

// take notes how the system is before the package, and opens the session that
// has to outlive it all.
func take(w *world) (string, error) {
	_, err := people(w)
	if err != nil {
		return "", err
	}
	if w.installed, err = w.installation(); err != nil {
		return "", err
	}
	w.before, err = w.snapshot()
	return fmt.Sprintf("%d files below /etc/ssh", strings.Count(w.before.ssh, "\n")/2), err
}

// install shows that the package alone changes nothing about who logs in.
func install(w *world) (string, error) {
	if out, err := w.dpkg("-i " + machine.GuestFiles + "/" + previousDeb); err != nil {
		return out, err
	}
	now, err := w.snapshot()
	if err != nil {
		return "", err
	}
	if err := differ("/etc/ssh", w.before.ssh, now.ssh); err != nil {
		return "", err
	}
	if err := differ("sshd -T", w.before.effective, now.effective); err != nil {
		return "", err
	}
	if err := differ("sshd's process", w.before.pid, now.pid); err != nil {
		return "", err
	}
	key, public, err := w.NewKey("early")
	if err != nil {
		return "", err
	}
	if _, err := w.push("alice", public); err != nil {
		return "", err
	}
	if err := w.noLogin("alice", key); err != nil {
		return "", err
	}
	if err := w.aws.Withdraw(instanceID, "alice"); err != nil {
		return "", err
	}
	_, err = w.login("root", w.rootPrivate)
	return "", err
}

// enable gives the agent the test root and puts it into sshd.
func enable(w *world) (string, error) {
	note := ""
	if w.modern {
		var err error
		if note, err = w.userdb(); err != nil {
			return "", err
		}
	}
	if err := w.trust(); err != nil {
		return "", err
	}
	_, err := w.reload("eicctl sshd enable")
	return note, err
}

// userdb shows that systemd's command, which sshd has, is not replaced unasked, and that
// systemd listens for sshd.
func (w *world) userdb() (string, error) {
	if out, err := w.Root("systemctl is-active ssh.socket && ! systemctl is-enabled ssh.service", time.Minute); err != nil {
		return "", fmt.Errorf("systemd does not listen for sshd: %w: %s", err, out)
	}
	out, err := w.Root("eicctl sshd enable", 2*time.Minute)
	exit, ok := errors.AsType[*machine.ExitError](err)
	if !ok || exit.Code != 4 || !strings.Contains(out, "20-systemd-userdb.conf") || !strings.Contains(out, chain) {
		return "", fmt.Errorf("beside userdbctl: %v: %s", err, out)
	}
	now, err := w.snapshot()
	if err != nil {
		return "", err
	}
	return "systemd listens, and userdbctl goes into [chain]", differ("/etc/ssh", w.before.ssh, now.ssh)
}

// reload runs a command that makes sshd read its configuration again, and
// waits until it has: for a moment nobody listens.
func (w *world) reload(command string) (string, error) {
	since, err := w.now()
	if err != nil {
		return "", err
	}
	out, err := w.Root(command, 2*time.Minute)
	if err != nil || w.modern { // then systemd has the socket all the time
		return out, err
	}
	return out, w.eventually("sshd listens again", func() (bool, error) {
		records, err := w.records(since, "_SYSTEMD_UNIT=ssh.service")
		return slices.ContainsFunc(records, func(r record) bool { return strings.HasPrefix(r.field("MESSAGE"), "Server listening on ::") }), err
	})
}

// eventually waits until is says so, for at most ten minutes.
func (w *world) eventually(what string, is func() (bool, error)) error {
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up waiting until %s", what)
		}
	}
}

// upgrade shows that the next package keeps configuration and logins.
func upgrade(w *world) (string, error) {
	version := func() (string, error) { return w.Root("eicctl --version; cat "+configPath, time.Minute) }
	old, err := version()
	if err != nil {
		return "", err
	}
	if out, err := w.dpkg("-i " + machine.GuestFiles + "/" + currentDeb); err != nil {
		return out, err
	}
	now, err := version()
	if err != nil {
		return "", err
	}
	oldVersion, oldConfig, _ := strings.Cut(old, "\n")
	newVersion, newConfig, _ := strings.Cut(now, "\n")
	if oldVersion == newVersion || oldConfig != newConfig {
		return "", fmt.Errorf("%s became %s, and the configuration %q", oldVersion, newVersion, newConfig)
	}
	return newVersion, w.pushAndLogin("upgraded")
}

func (w *world) pushAndLogin(name string) error {
	key, public, err := w.NewKey(name)
	if err != nil {
		return err
	}
	if _, err := w.push("alice", public); err != nil {
		return err
	}
	_, err = w.login("alice", key)
	return err
}

// disable shows sshd as it was.
func disable(w *world) (string, error) {
	if _, err := w.reload("eicctl sshd disable"); err != nil {
		return "", err
	}
	return "", w.sshdAsBefore()
}

func (w *world) sshdAsBefore() error {
	now, err := w.snapshot()
	if err != nil {
		return err
	}
	if err := differ("/etc/ssh", w.before.ssh, now.ssh); err != nil {
		return err
	}
	if err := differ("sshd -T", w.before.effective, now.effective); err != nil {
		return err
	}
	key, public, err := w.NewKey(fmt.Sprintf("late%d", time.Now().UnixNano()))
	if err != nil {
		return err
	}
	if _, err := w.push("alice", public); err != nil {
		return err
	}
	if err := w.noLogin("alice", key); err != nil {
		return err
	}
	_, err = w.login("root", w.rootPrivate)
	return err
}

// remove takes the package away while it is in use.
func remove(w *world) (string, error) {
	if _, err := w.reload("eicctl sshd enable"); err != nil {
		return "", err
	}
	if err := w.pushAndLogin("last"); err != nil {
		return "", err
	}
	out, err := w.reload("DEBIAN_FRONTEND=noninteractive dpkg -r eic-agent")
	if err != nil {
		return "", err
	}
	if strings.Contains(out, "could not") {
		return "", fmt.Errorf("dpkg says %s", out)
	}
	if _, err := w.Root("test ! -e /usr/bin/eic-authkeys && test -e "+configPath, time.Minute); err != nil {
		return "", fmt.Errorf("the programs are to go, the configuration to stay: %w", err)
	}
	if err := w.console.press("login: "); err != nil {
		return "", fmt.Errorf("the serial console: %w", err)
	}
	return "", w.sshdAsBefore()
}

// purge compares with how the system was.
func purge(w *world) (string, error) {
	if _, err := w.dpkg("-P eic-agent && ! dpkg -s eic-agent 2>/dev/null"); err != nil {
		return "", err
	}
	if err := w.sshdAsBefore(); err != nil {
		return "", err
	}
	now, err := w.installation()
	if err != nil {
		return "", err
	}
	for _, c := range []struct{ what, before, now string }{
		{"users and groups", w.installed.accounts, now.accounts},
		{"units", w.installed.units, now.units},
		{"files", w.installed.files, now.files},
	} {
		if err := differ(c.what, c.before, c.now); err != nil {
			return "", err
		}
	}
	out, err := w.Root("find / -xdev -not -path '/proc/*' -not -path '"+machine.GuestFiles+"/*' -name '*eic-*' -o -path '/run/*' -name '*eic*'", time.Minute)
	if err != nil {
		return "", err
	}
	if out != "" {
		return "", fmt.Errorf("left behind: %s", out)
	}
	return "", nil
}
