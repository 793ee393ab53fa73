package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// What the rpm has for SELinux and the package of Debian has not.
const (
	policyModule = "eic_agent.cil"
	policyScript = "selinux.sh"
)

// enforcing shows that what follows is not said of another mode, or of daemons without
// domains.
func enforcing(w *world) (string, error) {
	out, err := w.Root(`getenforce
		for unit in ssh systemd-journald; do tr '\0' '\n' </proc/$(systemctl show -p MainPID --value $unit)/attr/current; done`, time.Minute)
	if want := "Enforcing\nsystem_u:system_r:sshd_t:s0\nsystem_u:system_r:syslogd_t:s0\n"; err == nil && strings.ReplaceAll(out, "\n\n", "\n") != want {
		err = fmt.Errorf("it says %q", out)
	}
	return "", err
}

// selinuxSteps are the work of the agent under SELinux.
func selinuxSteps() []step {
	return []step{
		{"SELinux is enforcing", enforcing},
		{"the board has the instance ID", board},
		{"opened a session", people},
		{"installed, with the policy module", installPolicy},
		{"eicctl sshd enable", enable},
		{"a pushed key logs in", pushedKeyLogsIn},
		{"the cache is the agent's own", cacheUsed},
		{"eicctl doctor finds nothing wrong", doctor},
		{"refused, with the reason", refusals},
		{"eicctl serial enable", serialEnable},
		{"the serial console is locked", serialLocked},
		{"a push opens it once", serialOpened},
		{"somebody leaves it logged in", serialLeft},
		{"the serial session that was left is hung up", serialHungUp},
		{"nothing was denied", nothingDenied},
		{"a command of [chain] is denied, the login is not", chainDenied},
		{"eicctl doctor tells of the denials", doctorTellsDenials},
		{"with the boolean the command gives keys", chainPermitted},
		{"and one that is late is killed", chainLate},
		{"nothing else was denied", nothingDenied},
	}
}

// installPolicy installs the package, and then the module as the rpm does, which brings it.
func installPolicy(w *world) (string, error) {
	if out, err := w.dpkg("-i " + machine.GuestFiles + "/" + currentDeb); err != nil {
		return out, err
	}
	_, err := w.Root(fmt.Sprintf(`mkdir -p /usr/share/selinux/packages && cp %[1]s/%[2]s /usr/share/selinux/packages/%[2]s &&
		. %[1]s/%[3]s && eic_selinux_install && eic_selinux_label`, machine.GuestFiles, policyModule, policyScript), 5*time.Minute)
	if err != nil {
		return "", err
	}
	const want = "eic_authkeys_exec_t eic_serial_getty_exec_t eic_authkeys_var_run_t etc_t\n"
	out, err := w.Root("stat -c %C /usr/bin/eic-authkeys /usr/bin/eic-serial-getty /run/eic-agent /etc/eic-agent/config.toml | cut -d: -f3 | xargs", time.Minute)
	if err == nil && out != want {
		err = fmt.Errorf("the files are labelled %s", out)
	}
	return "", err
}

// denials returns what SELinux has denied that has to do with the agent's types, or with
// its programs.
func (w *world) denials(since moment) ([]string, error) {
	records, err := w.records(since, "_TRANSPORT=audit", "+", "_TRANSPORT=kernel")
	if err != nil {
		return nil, err
	}
	var denials []string
	for _, r := range records {
		_, denial, found := strings.Cut(r.field("MESSAGE"), "avc:  denied  ")
		if found && (strings.Contains(denial, ":eic_") || strings.Contains(denial, "eic-")) && !slices.Contains(denials, denial) {
			denials = append(denials, denial)
		}
	}
	return denials, nil
}

func nothingDenied(w *world) (string, error) {
	denials, err := w.denials(w.provoked)
	if err == nil && len(denials) > 0 {
		err = errors.New(strings.Join(denials, "\n"))
	}
	return "", err
}

// chain gives the agent a command of [chain].
func (w *world) chain(command string) error {
	_, err := w.Root(fmt.Sprintf(`sed -i '/^\[chain\]/,$d' %[1]s && printf '[chain]\ncommand = ["%%s"]\n' %[2]s >>%[1]s`, configPath, machine.Quote(command)), time.Minute)
	return err
}

// loginAfterChained logs in with a pushed key, behind one that only a command of [chain]
// can know: for a key that was pushed none is run.
func (w *world) loginAfterChained(name string) error {
	key, public, err := w.NewKey(name)
	if err != nil {
		return err
	}
	if _, err := w.push("alice", public); err != nil {
		return err
	}
	_, err = w.login("alice", w.chained, key)
	return err
}

// chainDenied shows that a command of [chain] costs no login where the policy forbids
// it.
func chainDenied(w *world) (string, error) {
	var err error
	var public string
	if w.chained, public, err = w.NewKey("chained"); err != nil {
		return "", err
	}
	if err := w.chain("/usr/bin/echo " + public); err != nil {
		return "", err
	}
	since, err := w.now()
	if err != nil {
		return "", err
	}
	if err := w.noLogin("alice", w.chained); err != nil {
		return "", err
	}
	if err := w.loginAfterChained("beside-chain"); err != nil {
		return "", err
	}
	said, err := w.records(since, "EIC_EVENT=chain-failed")
	if err != nil {
		return "", err
	}
	denials, err := w.denials(since)
	if err != nil {
		return "", err
	}
	if len(said) == 0 || len(denials) == 0 {
		return "", fmt.Errorf("the journal has %d records of it, and %d denials", len(said), len(denials))
	}
	for _, d := range denials {
		if !strings.Contains(d, ":eic_authkeys_t:") || !strings.Contains(d, ":bin_t:") {
			return "", fmt.Errorf("denied %s", d)
		}
	}
	w.provoked, err = w.now()
	return said[0].field("MESSAGE"), err
}

// doctorTellsDenials shows what eicctl doctor makes of the denials of chainDenied.
func doctorTellsDenials(w *world) (string, error) {
	report, err := w.examine()
	if err != nil {
		return "", err
	}
	for _, f := range report.Findings {
		if f.ID == "selinux-denied" && f.Status == "problem" {
			return f.Text + " -> " + f.Fix, nil
		}
	}
	return "", fmt.Errorf("it finds %v", report.Findings)
}

// chainPermitted shows that the boolean makes the difference.
func chainPermitted(w *world) (string, error) {
	if _, err := w.Root("setsebool eic_authkeys_chain on", time.Minute); err != nil {
		return "", err
	}
	took, err := w.login("alice", w.chained)
	return since(time.Now().Add(-took)), err
}

// chainLate shows that the agent may kill what it runs.
func chainLate(w *world) (string, error) {
	if err := w.chain("/usr/bin/sleep 60"); err != nil {
		return "", err
	}
	since, err := w.now()
	if err != nil {
		return "", err
	}
	if err := w.loginAfterChained("beside-late"); err != nil {
		return "", err
	}
	said, err := w.records(since, "EIC_EVENT=chain-failed")
	if err != nil {
		return "", err
	}
	if len(said) == 0 || !strings.Contains(said[0].field("MESSAGE"), "timed out") {
		return "", fmt.Errorf("the journal says %v", said)
	}
	if out, err := w.Root("! grep -x sleep /proc/[0-9]*/comm", time.Minute); err != nil {
		return "", fmt.Errorf("it is not killed: %s", out)
	}
	return said[0].field("MESSAGE"), nil
}
