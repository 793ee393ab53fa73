package config

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

// goodOptions are taken, and have to be taken by sshd.
func goodOptions() []string {
	bare, _ := options()
	return append(bare,
		"restrict,pty", "RESTRICT,Pty,x11-FORWARDING", "restrict,restrict", strings.Join(bare, ","),
		`command="/bin/true"`, `command="echo \"a, b\" c"`, `command="a\\b"`, `command="a,b=c d#e"`, `command=" "`, `command="\""`, `COMMAND="x"`, `restrict,command="/bin/a b",pty`,
		`from="10.0.0.0/8,!10.1.0.0/16,*.example.com"`, `from="::1"`,
		`environment="A=b"`, `environment="A_1="`, `environment="A=b=c d"`, `environment="A=1",environment="B=2"`, `environment="1=x"`,
		`expiry-time="20300101"`, `expiry-time="203001012359"`, `expiry-time="20300101235958"`, `expiry-time="20300101",expiry-time="20310101"`,
		`permitopen="host:22"`, `permitopen="[::1]:22"`, `permitopen="*:*"`, `permitopen="192.0.2.1:65535",permitopen="a.example:80"`,
		`permitlisten="8080"`, `permitlisten="localhost:8080"`, `permitlisten="*:*"`, `permitlisten="*"`, `permitlisten="[::]:1"`,
		`tunnel="0"`, `tunnel="any"`, `tunnel="ANY"`, `tunnel="2147483644"`, `tunnel="1",tunnel="2"`,
		"command=\"a\u00e4\u2028\"",
	)
}

// badOptions are refused, and sshd does not let a key with them in.
func badOptions() []string {
	return []string{
		"cert-authority", "restrict,cert-authority", "CERT-AUTHORITY", `cert-authority,principals="root"`,
		"unknown", "Restrict1", "restrict,unknown", "no-restrict", "no-command", "ptyx", "p", "-", "restrict;pty", "ssh-ed25519", "#restrict", "restrict#",
		"restrict pty", "restrict, pty", "=", "\"\"", "\"restrict\"",
		"pty=", `pty="x"`, `pty="yes"`, "restrict=1", "command", "from", "expiry-time", "tunnel", "environment", "permitopen",
		"command=", "command=x", `command="x`, `command=x"`, `command='x'`, `command="a"b"`, `command="a"b"c"`, `command="a""b"`, `command="a"x`, `command="a" "b"`, `command = "a"`, `command="a\"`,
		`command="a",command="b"`, `command="a",COMMAND="b"`, `from="a",from="b"`,
		`environment="A"`, `environment="=b"`, `environment="A-B=c"`, `environment="A B=c"`, `environment="A"=b`,
		`expiry-time="soon"`, `expiry-time="2030"`, `expiry-time="2030010"`, `expiry-time="20301301"`, `expiry-time="20300132"`, `expiry-time="2030010123"`, `expiry-time="203001012360"`, `expiry-time="203001010000000"`,
		`expiry-time="2030-01-01"`, `expiry-time="19600101"`, `expiry-time=20300101`,
		`permitopen="host"`, `permitopen="22"`, `permitopen="host:0"`, `permitopen="host:65536"`, `permitopen="host:ssh1"`, `permitopen="host:"`, `permitopen="::1:22"`, `permitopen="[::1:22"`, `permitopen="` + strings.Repeat("a", 1025) + `:22"`,
		`permitlisten="0"`, `permitlisten="host:x1"`, `permitlisten="x1"`,
		`tunnel="x"`, `tunnel="-1"`, `tunnel="2147483646"`, `tunnel="2147483648"`, `tunnel="0:0"`,
	}
}

// strictOptions are refused although sshd takes them: they have no use, or not
// the same meaning for every sshd.
func strictOptions() []string {
	return []string{
		`principals="root"`, " restrict", "restrict ",
		`expiry-time="20300101Z"`, `command=""`, `from=""`, "touch-required", "no-verify-required",
		"restrict,,pty", ",restrict", "restrict,", ",", `permitopen=":22"`, `permitlisten=":8080"`,
		// The line is read, but then nobody comes from there.
		`from="10.0.0.0/33"`, `from="10.0.0.1/8"`, `from="*.example.com,!10.0.0.0/x"`,
	}
}

// hostileOptions would reach beyond the options or the line.
func hostileOptions() []string {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
	return []string{
		key, key + " x", "restrict " + key, "restrict " + key + "\n", "restrict\n" + key, "restrict\r", "restrict\t", "\trestrict", "\x00", "restrict\x00", "restrict\x7f",
		"command=\"a\nb\"", "command=\"a\tb\"", "command=\"a\x1bb\"", "\n", " ", "restrict\n", "# comment", "\xff", "restrict,\u00e4",
	}
}

func TestCheckOptions(t *testing.T) {
	t.Parallel()
	if err := checkOptions(""); err != nil {
		t.Errorf("no options: %v", err)
	}
	for _, text := range goodOptions() {
		if err := checkOptions(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, list := range [][]string{badOptions(), strictOptions(), hostileOptions()} {
		for _, text := range list {
			err := checkOptions(text)
			if err == nil {
				t.Errorf("%q is taken", text)
			} else if strings.ContainsAny(err.Error(), "\n\r\t\x00\x1b") {
				t.Errorf("the error is no line: %q", err)
			}
		}
	}
}

// FuzzCheckOptions: a line with options that are taken is one line, of one key,
// with these options and no others.
func FuzzCheckOptions(f *testing.F) {
	for _, list := range [][]string{goodOptions(), badOptions(), strictOptions(), hostileOptions()} {
		for _, text := range list {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || checkOptions(text) != nil {
			return
		}
		if strings.ContainsAny(text, "\n\r\x00") {
			t.Fatalf("%q is taken", text)
		}
		line := text + " " + sampleKey + "\n"
		key, _, parsed, rest, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || len(rest) > 0 || strings.Join(parsed, ",") != text || strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) != sampleKey {
			t.Errorf("%q is taken, and is read as options %q, rest %q, %v", text, parsed, rest, err)
		}
		lower := strings.ToLower(text)
		if strings.HasPrefix(lower, "cert-authority") || strings.Contains(unquoted(lower), "principals") || strings.Contains(unquoted(lower), "cert-authority") {
			t.Errorf("%q is taken", text)
		}
	})
}

// unquoted returns what stands outside of double quotes.
func unquoted(text string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case text[i] == '"':
			quoted = !quoted
		case !quoted:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

// The real sshd reads lines with the options of the tables.
func TestSSHDTakesOptions(t *testing.T) {
	t.Parallel()
	need.Root(t)
	for _, program := range []string{"sshd", "unshare", "mount"} {
		need.Program(t, program)
	}
	bad := badOptions()
	for i := range sshdFinds(t, bad) {
		t.Errorf("sshd takes a key with the options %q", bad[i])
	}
	// One by one: sshd ends where two keys of one connection have different
	// options.
	for _, text := range append(goodOptions(), strictOptions()...) {
		if !sshdFinds(t, []string{text})[0] {
			t.Errorf("sshd does not take a key with the options %q", text)
		}
	}
}

// testKey returns the nth key of the test.
func testKey(t *testing.T, n int) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%032d", n))
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

// A liar offers its key and signs with another, so that sshd looks for the key,
// refuses it in the end, and is ready for the next.
type liar struct {
	public ssh.PublicKey
	ssh.Signer
}

func (l liar) PublicKey() ssh.PublicKey { return l.public }

// sshdFinds asks sshd for the key of each line, and returns which it finds.
func sshdFinds(t *testing.T, lines []string) map[int]bool {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	hostKey, hostPublic := testKey(t, -1)
	block, err := ssh.MarshalPrivateKey(hostKey, "")
	if err != nil {
		t.Fatal(err)
	}
	lie, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	var signers []ssh.Signer
	for i, text := range lines {
		_, public := testKey(t, i)
		fmt.Fprintf(&file, "%s %s", text, ssh.MarshalAuthorizedKey(public))
		signers = append(signers, liar{public, lie})
	}
	keys, host := filepath.Join(dir, "keys"), filepath.Join(dir, "host")
	for name, text := range map[string][]byte{keys: []byte(file.String()), host: pem.EncodeToMemory(block)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := runSSHD(t, signers, hostPublic, "-h", host, "-o", "AuthorizedKeysFile="+keys, "-o", fmt.Sprintf("MaxAuthTries=%d", 2*len(lines)))

	found := make(map[int]bool)
	for line := range strings.SplitSeq(log, "\n") {
		_, at, ok := strings.Cut(line, keys+":")
		number, message, _ := strings.Cut(at, ": ")
		if !ok || !strings.HasPrefix(message, "matching key found") {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("sshd says %q", line)
		}
		found[n-1] = true
	}
	if !strings.Contains(log, "trying public key file "+keys) {
		t.Fatalf("sshd does not look:\n%s", log)
	}
	return found
}

// runSSHD lets a client offer every key to an sshd on a socket pair, and returns
// what that logs.
func runSSHD(t *testing.T, signers []ssh.Signer, hostKey ssh.PublicKey, args ...string) string {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	context.AfterFunc(ctx, func() { conn.Close() })

	// sshd wants /run/sshd, here one of its own.
	const script = `mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$(command -v sshd)" "$@"`
	sshd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-c", script, "sh",
		"-i", "-e", "-f", "/dev/null", "-o", "LogLevel=DEBUG", "-o", "UsePAM=no", "-o", "StrictModes=no", "-o", "PermitRootLogin=yes"}, args...)...)
	var log bytes.Buffer
	sshd.Stdin, sshd.Stdout, sshd.Stderr = theirs, theirs, &log
	if err := sshd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	_, _, _, err = ssh.NewClientConn(conn, "", &ssh.ClientConfig{
		User:            "root",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyCallback: ssh.FixedHostKey(hostKey),
	})
	conn.Close()
	sshd.Wait()
	if err == nil || !strings.Contains(err.Error(), "no supported methods remain") {
		t.Fatalf("the client ended with %v; sshd says:\n%s", err, &log)
	}
	return log.String()
}
