package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/procfs"
)

// A Listener is a running sshd that takes connections.
type Listener struct {
	PID     int    `json:"pid"`
	Program string `json:"program"` // what it runs
	// Args is its command line. sshd 8.2 and later shows it in one piece, in
	// which words cannot always be told apart.
	Args string `json:"args"`
	// Replaced names a program that it runs, or starts for each connection, and that
	// is another than when it was started; "" for none. It may reset every
	// connection until it is started again.
	Replaced string `json:"replaced,omitempty"`
	// Endpoints are the TCP addresses at which it takes connections.
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`

	line CommandLine
}

// Listeners returns the sshds that root runs in this mount namespace and below this root
// directory, and that take connections. So those of containers are not among them, nor
// that of the host where this runs in the chroot of an image. Nor is what another user
// calls sshd: asking it something would run that user's program as root. Only root sees
// them.
func Listeners() []Listener {
	own, _ := os.Readlink("/proc/self/ns/mnt")
	ownRoot, _ := os.Stat("/")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var list []Listener
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue
		}
		l, ok := parseListener(text)
		if !ok {
			continue
		}
		if ns, err := os.Readlink(dir + "/ns/mnt"); err != nil || ns != own {
			continue
		}
		if root, err := os.Stat(dir + "/root"); err != nil || !os.SameFile(root, ownRoot) {
			continue
		}
		if !isRoots(dir) {
			continue
		}
		l.PID = pid
		l.line = l.line.from(fmt.Sprintf("process %d", pid), "", 0)
		if exe, err := os.Readlink(dir + "/exe"); err == nil {
			l.Program = strings.TrimSuffix(exe, " (deleted)")
		}
		l.Replaced = l.replaced()
		l.Endpoints, _ = procfs.Listens(pid)
		list = append(list, l)
	}
	return list
}

// isRoots reports whether the process of a directory of /proc runs as root. The
// directory itself belongs to root also for others that cannot be traced.
func isRoots(dir string) bool {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			return strings.Join(strings.Fields(ids), " ") == "0 0 0 0"
		}
	}
	return false
}

// parseListener reads a command line as /proc shows it: the title that sshd gives
// itself since 8.2, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", or
// its arguments.
func parseListener(cmdline []byte) (Listener, bool) {
	text := string(bytes.TrimRight(cmdline, "\x00"))
	var l Listener
	if title, ok := strings.CutPrefix(text, "sshd: "); ok {
		at := strings.LastIndex(title, " [listener]")
		if at < 0 {
			return Listener{}, false
		}
		l = Listener{Args: title[:at], line: parseTitle(title[:at])}
	} else {
		args := strings.Split(text, "\x00")
		l = Listener{Args: strings.Join(args, " "), line: parseCommandLine(args)}
	}
	return l, l.line.isSSHD() && !l.line.single
}

// sessionPrograms are where OpenSSH 9.8 and later have the program that serves a
// connection, by distribution.
func sessionPrograms() []string {
	return []string{
		"/usr/lib/openssh/sshd-session", "/usr/libexec/openssh/sshd-session", "/usr/lib/ssh/sshd-session",
		"/usr/libexec/sshd-session", "/usr/local/libexec/sshd-session",
	}
}

// replaced compares the program that runs with the one that is there now, and the time
// of sshd-session, of which only the path is used, with the time since when the listener
// runs as it does. A reload runs the new program.
func (l Listener) replaced() string {
	running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", l.PID))
	if err != nil {
		return ""
	}
	if there, err := os.Stat(l.Program); err != nil || !os.SameFile(running, there) {
		return l.Program
	}
	read, err := l.lastRead("/run/sshd.pid")
	if err != nil {
		return ""
	}
	for _, path := range sessionPrograms() {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && time.Unix(st.Ctim.Unix()).After(read.At) {
			return path
		}
	}
	return ""
}

// Greets connects to the listener as a client does, and returns why it does not get the
// line by which an SSH server begins.
func (l Listener) Greets(ctx context.Context) error {
	if len(l.Endpoints) == 0 {
		return errors.New("it has no TCP address")
	}
	at := l.Endpoints[0]
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	begin := make([]byte, len("SSH-"))
	if _, err := io.ReadFull(conn, begin); err != nil {
		return err
	}
	if string(begin) != "SSH-" {
		return fmt.Errorf("it answered %q", begin)
	}
	return nil
}
