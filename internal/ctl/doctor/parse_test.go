package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/ctl/nss"
)

func TestParseAccount(t *testing.T) {
	t.Parallel()
	a, err := parseAccount("alice:x:1001:100:Alice,,,:/home/alice:/bin/sh")
	if want := (account{name: "alice", uid: 1001, gid: 100, home: "/home/alice", shell: "/bin/sh"}); err != nil || !reflect.DeepEqual(a, want) {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, line := range []string{"", "alice:x:1001", "alice:x:-1:100:::", "alice:x:1001:x:::", "alice:x:4294967296:100:::"} {
		if a, err := parseAccount(line); err == nil || !reflect.DeepEqual(a, account{}) {
			t.Errorf("%q: got %+v, %v", line, a, err)
		}
	}
	if got := parseGroups("alice 100 27 junk 100\n", 100); !slices.Equal(got, []uint32{100, 27}) {
		t.Errorf("groups %v", got)
	}
}

func TestLookUp(t *testing.T) {
	t.Parallel()
	if a, err := lookUp(t.Context(), "root"); err != nil || a.uid != 0 || a.name != "root" {
		t.Errorf("root: %+v, %v", a, err)
	}
	// A number is no name, and a name that begins with a hyphen no option.
	for _, name := range []string{"0", "--help", "", "root:x", "root\n", "no-such-account"} {
		if a, err := lookUp(t.Context(), name); !errors.Is(err, nss.ErrNone) {
			t.Errorf("%q: %+v, %v", name, a, err)
		}
	}
}

func TestParseShadow(t *testing.T) {
	t.Parallel()
	now := time.Unix(20000*86400+3600, 0)
	for line, want := range map[string][2]bool{
		"alice:*:19000:0:99999:7:::":      {false, false},
		"alice:!:19000:0:99999:7:::":      {true, false},
		"alice:!!:19000:0:99999:7:::":     {true, false},
		"alice:$6$x:1:0:99999:7::20000:":  {false, false}, // the last day
		"alice:$6$x:1:0:99999:7::19999:":  {false, true},
		"alice:!$6$x:1:0:99999:7::19999:": {true, true},
		"alice:*:1:0:99999:7::-1:":        {false, false},
		"alice:!":                         {false, false},
		"":                                {false, false},
	} {
		if locked, expired := parseShadow(line, false, now); locked != want[0] || expired != want[1] {
			t.Errorf("%q: locked %v, expired %v", line, locked, expired)
		}
	}
	if _, expired := parseShadow("alice:*:1:0:99999:7::20000:", true, now); !expired {
		t.Error("pam_unix refuses on the day")
	}
}

func TestPasswordExpired(t *testing.T) {
	t.Parallel()
	now := time.Unix(20000*86400+5, 0)
	for line, want := range map[string]bool{
		"alice:*:19910:0:90:7:::":    false,
		"alice:*:19909:0:90:7:::":    true,
		"alice:!:0:0:99999:7:::":     true,
		"alice:*:0::::::":            true,
		"alice:*::0:90:7:::":         false,
		"alice:*:100:0::7:::":        false,
		"alice:*:100:0:-1:7:::":      false,
		"alice:*:20001:0:0:7:::":     false,
		"alice:*:-1:0:90:7:::":       false,
		"alice:*:19909:0:90x:7:30::": false,
		"alice:*:0":                  false,
		"":                           false,
	} {
		if got := passwordExpired(line, now); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, config, rest string
		bad                bool
	}{
		{"eic-authkeys", "", "", false},
		{"eic-authkeys %u %f", "", "%u %f", false},
		{"eic-authkeys --config /a %u", "/a", "%u", false},
		{"eic-authkeys --config=/a %u", "/a", "%u", false},
		{"eic-authkeys -config /a -- %u", "/a", "%u", false},
		{"eic-authkeys -- --config", "", "--config", false},
		{"eic-authkeys --config", "", "", true},
		{"eic-authkeys --verbose %u", "", "%u", true},
		{"eic-authkeys %u --config /a", "", "%u --config /a", false},
	} {
		config, rest, err := arguments(strings.Fields(c.line))
		if config != c.config || strings.Join(rest, " ") != c.rest || (err != nil) != c.bad {
			t.Errorf("%s: %q, %q, %v", c.line, config, rest, err)
		}
	}
	if config, rest, err := arguments(nil); config != "" || rest != nil || err != nil {
		t.Errorf("nothing: %q, %q, %v", config, rest, err)
	}
}

func TestDenials(t *testing.T) {
	t.Parallel()
	since := time.Unix(1700000000, 0)
	log := `type=AVC msg=audit(1700000001.123:456): avc:  denied  { name_connect } for  pid=1 comm="eic-authkeys" dest=80
type=AVC msg=audit(1699999999.123:456): avc:  denied  { name_connect } for  pid=1 comm="eic-authkeys" dest=80
type=AVC msg=audit(1700000001.123:456): avc:  denied  { read } for  pid=1 comm="httpd" name="eic-authkeys"
type=SYSCALL msg=audit(1700000001.123:456): comm="eic-authkeys" denied
AVC avc:  denied  { write } for  pid=2 comm="eic-serial-gett" name="x"
audit: type=1400 audit(1700000002.000:7): avc:  denied  { open } for  pid=3 comm="eic-authkeys" permissive=1
AVC avc:  denied  { open } for  pid=3 comm="eic-authkeys" permissive=1
AVC avc:  denied  { read } for  pid=4 comm="cat" scontext=system_u:system_r:eic_authkeys_t:s0 tcontext=system_u:object_r:shadow_t:s0
AVC avc:  denied  { read } for  pid=5 comm="cat" scontext=system_u:system_r:getty_t:s0 tcontext=system_u:object_r:eic_authkeys_t:s0
`
	got := denials([]byte(log), since)
	want := []string{`denied  { name_connect } for  pid=1 comm="eic-authkeys" dest=80`, `denied  { write } for  pid=2 comm="eic-serial-gett" name="x"`, `denied  { open } for  pid=3 comm="eic-authkeys" permissive=1`,
		`denied  { read } for  pid=4 comm="cat" scontext=system_u:system_r:eic_authkeys_t:s0 tcontext=system_u:object_r:shadow_t:s0`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for label, want := range map[string]string{"system_u:object_r:bin_t:s0": "bin_t", "a:b:c": "c", "": "none", "a:b": "none"} {
		if got := typeOf(label); got != want {
			t.Errorf("type of %q: %q", label, got)
		}
	}
}

// Only what journald says of sshd's unit counts.
func TestIsSSHD(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"Suppressed 1 messages from nginx.service":                                              false,
		"Suppressed 1 messages from ssh-agent.service":                                          false,
		"Suppressed 12 messages from ssh.service":                                               true,
		"Suppressed 13 messages from sshd.service":                                              true,
		"Suppressed 5 messages from sshd@7-10.0.0.1:22-10.0.0.2:4000.service (Name or service)": true,
	} {
		if got := isSSHD.MatchString(message); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
}

func TestOffset(t *testing.T) {
	t.Parallel()
	date := time.Unix(1000, 0)
	at := func(seconds float64) time.Time { return date.Add(time.Duration(seconds * float64(time.Second))) }
	for _, c := range []struct{ before, after, want float64 }{
		{0.2, 0.3, 0}, {0.9, 1.1, 0}, {-0.1, 0, 0}, {-3, 4, 0},
		{3, 3.1, 2}, {-4, -3, -3},
	} {
		if got := offset(at(c.before), at(c.after), date); got != time.Duration(c.want*float64(time.Second)) {
			t.Errorf("between %v and %v: %v, want %v s", c.before, c.after, got, c.want)
		}
	}
	for _, c := range []struct {
		clock clock
		wrong bool
	}{{clock{}, false}, {clock{offset: time.Hour}, false}, {clock{known: true, offset: maxOffset}, false}, {clock{known: true, offset: -maxOffset - 1}, true}} {
		if c.clock.wrong() != c.wrong {
			t.Errorf("%+v: %v", c.clock, !c.wrong)
		}
	}
}

func TestChangedFiles(t *testing.T) {
	t.Parallel()
	out := `??5?????? c /etc/eic-agent/config.toml
??5??????   /usr/bin/eic-authkeys
S.5....T.    /usr/bin/eicctl
.M.......    /usr/bin/eic-serial-getty
missing     /usr/share/man/man8/eicctl.8.gz
missing   c /etc/eic-agent/other
..?......    /usr/bin/unread

junk
`
	want := []string{"/usr/bin/eic-authkeys", "/usr/bin/eicctl", "/usr/share/man/man8/eicctl.8.gz"}
	if got := changedFiles(out); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestGateIn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[Service]\nExecStart=\nExecStart=-/usr/bin/eic-serial-getty %I -- /sbin/agetty\n": "/usr/bin/eic-serial-getty",
		"[Service]\nExecStart=\nExecStart=-/sbin/agetty eic-serial-getty\n":                "",
		"[Unit]\nDocumentation=/usr/bin/eic-serial-getty\n":                                "",
		"#ExecStart=/usr/bin/eic-serial-getty\n":                                           "",
		"":                                                                                 "",
	} {
		path := filepath.Join(t.TempDir(), "drop-in.conf")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := gateIn(path); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, failRefused},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, failNoRoute},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, failNoRoute},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EPERM)}, failDenied},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, failTimeout},
		{context.DeadlineExceeded, failTimeout},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), failBroken},
	} {
		if got := failure(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	denied := contact{Endpoint: "http://169.254.169.254", Dial: failDenied}
	if problem, _, fix := denied.complaint("i-0"); problem != imdsDenied || fix == "" {
		t.Errorf("denied: %s, %s", problem, fix)
	}
}

func TestTryCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if s := tryCache(dir); s.Fault != "" || s.Kind == 0 {
		t.Errorf("good: %+v", s)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o700); err != nil {
		t.Fatal(err)
	}
	if s := tryCache(dir + "/fifo"); s.Fault != "cache-not-a-directory" {
		t.Errorf("a pipe: %+v", s)
	}
	if s := tryCache(""); s != (cacheState{}) {
		t.Errorf("none: %+v", s)
	}
}
