package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// password is alice's, for the serial port alone: sshd of Debian takes it too,
// but the tests do not offer it.
const password = "correct horse battery staple"

// serialPush is the call that begins a session of the serial console.
func (w *world) serialPush(public string) error {
	_, err := w.client().SendSerialConsoleSSHPublicKey(context.Background(), &ec2instanceconnect.SendSerialConsoleSSHPublicKeyInput{
		InstanceId: aws.String(instanceID), SSHPublicKey: aws.String(public),
	})
	return err
}

// joinConsole begins a session as on EC2, where the gateway keeps the key to
// itself: the gate does not see it.
func (w *world) joinConsole() (*console, error) {
	w.consoles++
	key, public, err := w.NewKey(fmt.Sprintf("console%d", w.consoles))
	if err != nil {
		return nil, err
	}
	// A moment after a session no other can begin.
	var refused error
	if err := w.eventually("a session of the serial console can begin", func() (bool, error) {
		refused = w.serialPush(public)
		return refused == nil, nil
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", err, refused)
	}
	began := w.consoleSessions()
	c, err := w.openConsole(key)
	if err != nil {
		return nil, err
	}
	if err := w.eventually("the gateway has let the client in", func() (bool, error) { return w.consoleSessions() > began, nil }); err != nil {
		return nil, err
	}
	return c, w.aws.Withdraw(instanceID, emulator.SerialUser(instanceID, 0))
}

// emergency shows that the emergency shell is root's, whatever holds the port. It
// ends all sessions.
func emergency(w *world) (string, error) {
	if out, err := w.dpkg("-i " + machine.GuestFiles + "/" + currentDeb); err != nil {
		return out, err
	}
	if err := w.trust(); err != nil {
		return "", err
	}
	if _, err := w.Root("eicctl serial enable --when-unreachable lock", time.Minute); err != nil {
		return "", err
	}
	if err := w.console.press("is locked ("); err != nil {
		return "", err
	}
	if _, err := w.Root("echo "+machine.Quote("root:"+password)+" | chpasswd && systemctl emergency --no-block", time.Minute); err != nil {
		return "", err
	}
	if err := w.console.talk("root password for ", password, "root@instance", "echo $((6 * 7)) on $(tty)", "42 on /dev/", "systemctl default"); err != nil {
		return "", err
	}
	return "", w.console.press("is locked (")
}

// consoleSessions is how many sessions the gateway has begun.
func (w *world) consoleSessions() int {
	n := 0
	for _, e := range w.aws.GatewayEvents() {
		if e.Event == "session-started" {
			n++
		}
	}
	return n
}

// serialEnable locks the port.
func serialEnable(w *world) (string, error) {
	if _, err := w.Root("eicctl serial enable --when-unreachable lock", time.Minute); err != nil {
		return "", err
	}
	// The least that is allowed.
	if _, err := w.Root(`printf '\n[serial]\nidle_timeout = "2m"\n' >> `+configPath, time.Minute); err != nil {
		return "", err
	}
	out, err := w.Root("eicctl serial status", time.Minute)
	if err != nil {
		return "", err
	}
	var unit string
	if unit, err = w.Root("systemctl show -p ExecStart --value serial-getty@ttyS0.service", time.Minute); err == nil && !strings.Contains(unit, "/usr/bin/eic-serial-getty") {
		err = fmt.Errorf("it says %q, and the unit is %s", out, unit)
	}
	return "", err
}

// serialLocked shows that nobody gets a prompt without a push.
func serialLocked(w *world) (string, error) {
	key, _, err := w.NewKey("stranger")
	if err != nil {
		return "", err
	}
	stranger, err := w.openConsole(key)
	if err != nil {
		return "", err
	}
	if err := stranger.expect("Permission denied"); err != nil {
		return "", fmt.Errorf("the gateway without a push: %w", err)
	}
	if w.console, err = w.joinConsole(); err != nil {
		return "", err
	}
	return "not-pushed", w.console.press("is locked (not-pushed)")
}

// openGate pushes a key for the port as on EC2 and logs alice in.
func (w *world) openGate(name string) (request string, err error) {
	_, public, err := w.NewKey(name)
	if err != nil {
		return "", err
	}
	if request, err = w.push(emulator.SerialUser(instanceID, 0), public); err != nil {
		return "", err
	}
	if err := w.console.press("login: "); err != nil {
		return "", err
	}
	return request, w.console.talk("", "alice", "assword: ", password, "alice@instance")
}

// serialOpened shows a login on the port, and that it is locked again after.
func serialOpened(w *world) (string, error) {
	since, err := w.now()
	if err != nil {
		return "", err
	}
	request, err := w.openGate("gate")
	if err != nil {
		return "", err
	}
	if err := w.console.talk("$", "echo $(tty) $(id -un)", "/dev/ttyS0 alice"); err != nil {
		return "", err
	}
	opened, err := w.records(since, "EIC_EVENT=gate-opened")
	if err != nil {
		return "", err
	}
	if len(opened) != 1 || opened[0].field("EIC_CALLER") != emulator.DefaultCallerARN || opened[0].field("EIC_REQUEST_ID") != request || opened[0].field("EIC_PORT") != "0" {
		return "", fmt.Errorf("the journal says %v", opened)
	}
	return "already-used, the second time", errors.Join(w.console.talk("", "exit", "logout"), w.console.press("is locked (already-used)"))
}

// keeper is a program that holds the port as a session of its own, opens it anew
// when it is hung up, and keeps it in loopback (TIOCMBIS) and the line discipline
// N_NULL (TIOCSETD).
const keeper = `use Fcntl; use POSIX; fork and exit; POSIX::setsid(); $SIG{HUP} = "IGNORE"; my ($null, $loop) = (pack("i", 27), pack("i", 0x8000));
for (;;) { sysopen(my $f, "/dev/ttyS0", O_RDWR|O_NONBLOCK); 1 while ioctl($f, 0x5416, $loop) and ioctl($f, 0x5423, $null) and select(undef, undef, undef, 0.01) == 0; select(undef, undef, undef, 0.05) }`

// serialKept shows that the port is locked after a login that has left a process
// running there, with which systemd cannot use it.
func serialKept(w *world) (string, error) {
	if _, err := w.openGate("kept"); err != nil {
		return "", err
	}
	// With five bits a character nothing of it could be read.
	if err := w.console.send("sleep 1; stty cs5 parenb; perl -e " + machine.Quote(strings.ReplaceAll(keeper, "\n", " ")) + "; sleep 1; exit"); err != nil {
		return "", err
	}
	if err := w.console.press("is locked (already-used)"); err != nil {
		return "", err
	}
	if _, err := w.Root("pgrep -u alice perl && stty -F /dev/ttyS0 -a | grep -w -e cs8 | grep -w -e -parenb && pkill -u alice perl", time.Minute); err != nil {
		return "", err
	}
	restarts, err := w.Root("systemctl show -p NRestarts --value serial-getty@ttyS0.service", time.Minute)
	return strings.TrimSpace(restarts) + " restarts", err
}

// serialLeft leaves a session open and goes away.
func serialLeft(w *world) (string, error) {
	if _, err := w.openGate("abandoned"); err != nil {
		return "", err
	}
	w.console.close()
	return "", nil
}

// serialHungUp shows that the session that was left is not there any more.
func serialHungUp(w *world) (string, error) {
	began := time.Now()
	var closed []record
	for len(closed) == 0 {
		if time.Since(began) > 15*time.Minute {
			return "", errors.New("it was not hung up")
		}
		var err error
		if closed, err = w.records(0, "EIC_EVENT=gate-closed"); err != nil {
			return "", err
		}
		time.Sleep(time.Second)
	}
	var err error
	if w.console, err = w.joinConsole(); err != nil {
		return "", err
	}
	return closed[0].field("MESSAGE"), w.console.press("is locked (")
}
