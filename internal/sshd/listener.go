package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/procfs"
)

// A Listener is a running sshd that takes connections.
type Listener struct {
	PID     int    `json:"pid"`
	Program string `json:"program"` // what it runs
	// Args is its command line. sshd 8.2 and later shows it in one piece, so that
	// where a word ends is not always known.
	Args string `json:"args"`
	// Replaced names a program that it runs, or starts for each connection, and that
	// is another than when it was started; "" for none. It may reset every
	// connection until it is started again.
	Replaced string `json:"replaced,omitempty"`
	// Mismatched names a program that it starts for each connection and that is not of
	// its version of OpenSSH, or does not tell its version; "" for none. It need not
	// have been replaced: it may be covered by a mount, or be of another package.
	Mismatched string `json:"mismatched,omitempty"`
	// Endpoints are the TCP addresses at which it takes connections.
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`

	line CommandLine
}

// Listeners returns the sshds that root runs in this process namespace and below this root
// directory, and that take connections: those of containers are not among them, nor that of
// the host where this runs in the chroot of an image. Nor is what another user calls sshd:
// asking it something would run that user's program as root. The mount namespace may differ:
// systemd makes one for a unit with LogNamespace=, PrivateTmp= and the like. Only root sees
// them.
func Listeners() []Listener {
	own, _ := os.Readlink("/proc/self/ns/pid")
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
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != own {
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
// its arguments. By its title an sshd is known that was started under another name.
func parseListener(cmdline []byte) (Listener, bool) {
	text := string(bytes.TrimRight(cmdline, "\x00"))
	if name, title, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(name, "sshd") {
		at := strings.LastIndex(title, " [listener] ")
		if at < 0 || !strings.HasSuffix(title, " startups") {
			return Listener{}, false
		}
		l := Listener{Args: title[:at], line: parseTitle(titleEscapes.Replace(title[:at]))}
		l.line.titled = true
		words := l.line.Words
		return l, len(words) > 0 && filepath.IsAbs(words[0]) && filepath.Base(words[0]) == name && !l.line.single
	}
	args := strings.Split(text, "\x00")
	l := Listener{Args: strings.Join(args, " "), line: parseCommandLine(args)}
	return l, l.line.isSSHD() && !l.line.single
}

// titleEscapes are what sshd writes for blanks and backslashes in its title.
var titleEscapes = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n")

// sessionPrograms returns the programs of OpenSSH 9.8 and later that serve a connection:
// those that sshd names, or where it does not answer, those that are where distributions
// have them.
func (s *Server) sessionPrograms(ctx context.Context) (list []string) {
	// Every sshd that has these programs has -G, too.
	if dump, err := s.run(ctx, s.ConfigFile, s.Options, "-G"); err == nil {
		values := parseValues(dump)
		for _, keyword := range []string{"SshdSessionPath", "SshdAuthPath"} {
			if path := values.Get(keyword); path != "" {
				list = append(list, path)
			}
		}
		return list
	}
	for _, dir := range []string{"/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec", "/usr/local/libexec"} {
		for _, name := range []string{"sshd-session", "sshd-auth"} {
			if path := filepath.Join(dir, name); exists(path) {
				list = append(list, path)
			}
		}
	}
	return list
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkPrograms compares the program that runs with the one that is there now, and the
// time of those that it starts for each connection, of which only the path is used, with
// the time since when the listener runs as it does. A reload runs the new program. Those
// that are as old are asked for their version.
func (s *Server) checkPrograms(ctx context.Context, l *Listener) {
	running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", l.PID))
	if err != nil {
		return
	}
	if there, err := os.Stat(l.Program); err != nil || !os.SameFile(running, there) {
		l.Replaced = l.Program
		return
	}
	read, readErr := l.lastRead("/run/sshd.pid")
	for _, path := range s.sessionPrograms(ctx) {
		var st unix.Stat_t
		if readErr == nil && unix.Stat(path, &st) == nil && time.Unix(st.Ctim.Unix()).After(read.At) {
			l.Replaced = path
			return
		}
		if version, _ := versionOf(ctx, s.Root, path); version != s.Version {
			l.Mismatched = path
			return
		}
	}
}

// Doubt says by which of its programs the listener may be unable to take connections: "" for
// none. Whether it takes them, Greets tells.
func (l Listener) Doubt() string {
	switch {
	case l.Replaced != "":
		return fmt.Sprintf("%s was replaced since sshd, process %d, was started", l.Replaced, l.PID)
	case l.Mismatched != "":
		return fmt.Sprintf("%s is not of the version of sshd, process %d, that starts it for each connection", l.Mismatched, l.PID)
	}
	return ""
}

// Greets connects to the listener as a client does, as far as the key exchange, and
// returns why that fails. Each of sshd's programs has run by then.
func (l Listener) Greets(ctx context.Context) error {
	if len(l.Endpoints) == 0 {
		return errors.New("it has no TCP address")
	}
	at := l.Endpoints[0]
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	ctx, cancel := context.WithTimeout(ctx, greetTime)
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
	greeted := false
	_, _, _, err = ssh.NewClientConn(conn, at.String(), &ssh.ClientConfig{
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error {
			greeted = true
			return errors.New("nobody wants to log in")
		},
	})
	// One that has no algorithm in common with this client answered, too.
	if _, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok || greeted {
		return nil
	}
	return err
}

// greetTime is generous: a busy host is not one that resets connections.
const greetTime = 10 * time.Second
