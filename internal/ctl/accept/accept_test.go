package accept

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/test/need"
)

// An access of a user whom the test host does not have; the tests on a private host ask
// the real sshd.
func access(addr string, lines ...string) *Access {
	values := make(sshd.Values)
	for _, line := range lines {
		keyword, value, _ := strings.Cut(line, " ")
		list := []string{value}
		if strings.HasPrefix(keyword, "Deny") || strings.HasPrefix(keyword, "Allow") {
			list = strings.Fields(value) // sshd -T has a line for each
		}
		values[strings.ToLower(keyword)] = append(values[strings.ToLower(keyword)], list...)
	}
	server := &sshd.Server{Root: "/nowhere", Program: "/usr/sbin/sshd", ConfigFile: sshd.DefaultConfig}
	return &Access{server: server, values: values, conn: sshd.Connection{User: "alice", Addr: addr}}
}

func ids(limits []Limit) (list []string) {
	for _, l := range limits {
		list = append(list, string(l.Status)+" "+l.ID)
	}
	return list
}

func TestUser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr  string
		lines []string
		want  []string
	}{
		{"", nil, nil},
		{"", []string{"DenyUsers bob al*"}, []string{"refuses user-deny-users"}},
		{"", []string{"DenyUsers bob", "DenyUsers alice"}, []string{"refuses user-deny-users"}},
		{"", []string{"AllowUsers al* !alice"}, nil}, // sshd knows no ! here
		{"", []string{"AllowUsers bob"}, []string{"refuses user-allow-users"}},
		{"", []string{"AllowUsers bob alice@10.0.0.0/8"}, []string{"unknown user-access"}},
		{"10.1.2.3", []string{"AllowUsers bob alice@10.0.0.0/8"}, nil},
		{"192.0.2.1", []string{"AllowUsers bob alice@10.0.0.0/8"}, []string{"refuses user-allow-users"}},
		{"10.1.2.3", []string{"AllowUsers alice@10.0.0.0/8,!10.1.0.0/16"}, []string{"refuses user-allow-users"}},
		{"10.1.2.3", []string{"DenyUsers *@10.1.2.*"}, []string{"refuses user-deny-users"}},
		{"192.0.2.1", []string{"DenyUsers *@10.1.2.*"}, nil},
		{"", []string{"DenyUsers alice@10.0.0.0/8"}, []string{"unknown user-access"}},
		{"::ffff:10.1.2.3", []string{"DenyUsers alice@10.0.0.0/8"}, []string{"refuses user-deny-users"}},
		{"", []string{"AllowGroups wheel"}, []string{"refuses user-allow-groups"}},
		{"", []string{"PubkeyAuthentication no"}, []string{"refuses pubkey-authentication-off"}},
		{"", []string{"PubkeyAuthentication yes", "AuthenticationMethods any"}, nil},
		{"", []string{"PubkeyAuthentication yes", "AuthenticationMethods password"}, []string{"refuses authentication-methods"}},
		{"", []string{"PubkeyAuthentication yes", "PasswordAuthentication yes", "AuthenticationMethods publickey,password"}, []string{"note authentication-methods"}},
		{"", []string{"PubkeyAuthentication yes", "KbdInteractiveAuthentication yes", "AuthenticationMethods publickey,keyboard-interactive:pam"}, []string{"note authentication-methods"}},
		{"", []string{"PubkeyAuthentication yes", "ChallengeResponseAuthentication yes", "AuthenticationMethods keyboard-interactive,publickey"}, []string{"note authentication-methods"}},
		{"", []string{"PubkeyAuthentication yes", "PasswordAuthentication yes", "AuthenticationMethods publickey,password publickey"}, nil},
		{"", []string{"PubkeyAuthentication yes", "PasswordAuthentication no", "AuthenticationMethods publickey,password"}, []string{"refuses authentication-methods"}},
		{"", []string{"PubkeyAuthentication yes", "AuthenticationMethods publickey,publickey"}, []string{"note authentication-methods"}},
	} {
		if got := ids(access(c.addr, c.lines...).User(t.Context())); !slices.Equal(got, c.want) {
			t.Errorf("%q from %q: %q, want %q", c.lines, c.addr, got, c.want)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	rsa2048, ed := Key{Type: "ssh-rsa", Bits: 2048}, Key{Type: "ssh-ed25519"}
	for _, c := range []struct {
		key   Key
		lines []string
		want  []string
	}{
		{ed, nil, nil},
		{ed, []string{"PubkeyAcceptedAlgorithms ssh-ed25519"}, nil},
		{ed, []string{"PubkeyAcceptedAlgorithms ssh-ed*,rsa-*"}, nil},
		{ed, []string{"PubkeyAcceptedAlgorithms !ssh-ed25519,*"}, []string{"refuses key-type-refused"}},
		{ed, []string{"PubkeyAcceptedKeyTypes ssh-rsa"}, []string{"refuses key-type-refused"}},
		{rsa2048, []string{"PubkeyAcceptedAlgorithms ssh-ed25519"}, []string{"refuses key-type-refused"}},
		{rsa2048, []string{"PubkeyAcceptedAlgorithms rsa-sha2-256"}, nil},
		{rsa2048, []string{"PubkeyAcceptedAlgorithms ssh-rsa"}, []string{"unknown key-sha1-only"}},
		{rsa2048, []string{"PubkeyAcceptedAlgorithms rsa-sha2-512-cert-v01@openssh.com,ssh-ed25519"}, []string{"refuses key-type-refused"}},
		{rsa2048, []string{"RequiredRSASize 2048"}, nil},
		{rsa2048, []string{"RequiredRSASize 3072"}, []string{"refuses key-size-refused"}},
		{rsa2048, []string{"RSAMinSize 3072"}, []string{"refuses key-size-refused"}},
		{Key{Type: "ssh-rsa"}, []string{"RequiredRSASize 3072"}, []string{"unknown key-size-refused"}},
		{Key{Type: "ssh-rsa"}, []string{"RequiredRSASize 1024"}, nil},
		{ed, []string{"RequiredRSASize 3072"}, nil},
		{Key{Type: "sk-ssh-ed25519@openssh.com"}, []string{"PubkeyAuthOptions touch-required verify-required"}, []string{"unknown key-verify-required"}},
		{Key{Type: "sk-ssh-ed25519@openssh.com"}, []string{"PubkeyAuthOptions none"}, nil},
		{ed, []string{"PubkeyAuthOptions verify-required"}, nil},
		{rsa2048, []string{"PubkeyAcceptedAlgorithms ssh-ed25519", "RequiredRSASize 3072"}, []string{"refuses key-type-refused", "refuses key-size-refused"}},
	} {
		if got := ids(access("", c.lines...).Key(t.Context(), c.key)); !slices.Equal(got, c.want) {
			t.Errorf("%v, %q: %q, want %q", c.key, c.lines, got, c.want)
		}
	}
}

// A revocation list that ssh-keygen cannot read proves nothing about the key.
func TestRevocationList(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGf2f6BGeVaSPxLLY4HR0FfZDa7Pt3JtLyQlyT/Qncke"
	key, err := KeyOf(line)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	makeList := func(name string, lines ...string) {
		cmd := exec.Command("ssh-keygen", "-q", "-k", "-f", filepath.Join(dir, name), "/dev/stdin")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	makeList("this.krl", line)
	makeList("none.krl")
	if err := os.WriteFile(filepath.Join(dir, "broken.krl"), []byte("SSHKRL\n\x00and no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string][]string{
		"this.krl":   {"refuses key-revoked"},
		"none.krl":   nil,
		"broken.krl": {"refuses revoked-keys"},
	} {
		a := access("", "RevokedKeys "+filepath.Join(dir, list))
		a.server.Root = "/"
		if got := ids(a.Key(t.Context(), key)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", list, got, want)
		}
	}
}

func TestLongestPenalty(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]time.Duration{
		"persourcepenalties authfail:5 max:600 min:15":                      10 * time.Minute,
		"PerSourcePenalties authfail:5.000000 max:600.500000 min:15.000000": 10*time.Minute + 500*time.Millisecond,
		"persourcepenalties no":                                             0,
	} {
		if got := access("", line).longestPenalty(); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
}
