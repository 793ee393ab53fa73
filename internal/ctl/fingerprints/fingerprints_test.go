package fingerprints

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/test/need"
)

func output(t *testing.T, stdin []byte, program string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd.Output()
}

// readFile and readOne return the one key of a file.
func readFile(path string) (*Report, error) { return only(ReadFile(path)) }

func readOne(r io.Reader, name string) (*Report, error) { return only(Read(r, name)) }

func only(reports []*Report, err error) (*Report, error) {
	if err == nil && len(reports) != 1 {
		err = fmt.Errorf("%d keys", len(reports))
	}
	if err != nil {
		return nil, err
	}
	return reports[0], nil
}

func place(r *Report, where string) Shown {
	for _, s := range r.Fingerprints {
		if s.Where == where {
			return s
		}
	}
	return Shown{}
}

// keygen returns what ssh-keygen -l says of a public key file: size and
// fingerprint.
func keygen(t *testing.T, file, hash string) (bits, fingerprint string) {
	t.Helper()
	out, err := output(t, nil, "ssh-keygen", "-l", "-E", hash, "-f", file)
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		t.Fatalf("ssh-keygen -l: %v: %s", err, out)
	}
	return fields[0], fields[1]
}

// agree compares a report with ssh-keygen.
func agree(t *testing.T, r *Report, pub string) {
	t.Helper()
	bits, sha256 := keygen(t, pub, "sha256")
	_, md5 := keygen(t, pub, "md5")
	if fmt.Sprint(r.Bits) != bits || place(r, sshKeygen).Fingerprint != sha256 || place(r, sshdLog).Fingerprint != sha256 || place(r, sshKeygenMD5).Fingerprint != md5 {
		t.Errorf("got\n%swant %s bits, %s, %s", r.Text(), bits, sha256, md5)
	}
}

// Every key that ssh-keygen makes, in every format that it writes.
func TestAgainstSSHKeygen(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	kinds := []string{"ed25519", "rsa 2048", "rsa 3072", "rsa 4096", "ecdsa 256", "ecdsa 384", "ecdsa 521"}
	// OpenSSH 10.0 and later have no DSA.
	if types, err := output(t, nil, "ssh", "-Q", "key"); err != nil {
		t.Fatal(err)
	} else if strings.Contains(string(types), "ssh-dss\n") {
		kinds = append(kinds, "dsa")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			typ, bits, _ := strings.Cut(kind, " ")
			formats, privates := 0, []string{"RFC4716", "PKCS8", "PEM"}
			if typ == "dsa" {
				privates = []string{"RFC4716"} // Go reads no DSA in PKCS #8, and ssh-keygen takes long to make one
			}
			for _, private := range privates {
				file := filepath.Join(t.TempDir(), "key")
				args := []string{"-q", "-N", "", "-C", "a comment", "-t", typ, "-m", private, "-f", file}
				if bits != "" {
					args = append(args, "-b", bits)
				}
				if _, err := output(t, nil, "ssh-keygen", args...); err != nil {
					t.Fatal(err)
				}
				pub := file + ".pub"
				for _, path := range []string{file, pub} {
					r, err := readFile(path)
					if err != nil {
						t.Fatalf("%s: %v", path, err)
					}
					agree(t, r, pub)
				}
				for _, format := range []string{"RFC4716", "PKCS8", "PEM"} {
					text, err := output(t, nil, "ssh-keygen", "-e", "-m", format, "-f", pub)
					if err != nil {
						continue // not for this type
					}
					formats++
					r, err := readOne(bytes.NewReader(text), format)
					if err != nil {
						t.Fatalf("%s: %v:\n%s", format, err, text)
					}
					agree(t, r, pub)
				}
			}
			want := 3 * len(privates)
			if typ == "ed25519" {
				want = len(privates) // only RFC 4716
			}
			if formats < want {
				t.Errorf("ssh-keygen wrote %d public keys, want %d", formats, want)
			}
		})
	}
}

// A line may have a comment of any kind, which ssh-keygen writes as it is given, and
// options or host names before the key, which it reads over.
func TestLines(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	dir := t.TempDir()
	read := func(path, comment string) {
		t.Helper()
		r, err := readFile(path)
		if err != nil {
			t.Errorf("%q: %v", comment, err)
			return
		}
		agree(t, r, path)
		if r.Comment != comment || r.Form != fingerprint.OpenSSH {
			t.Errorf("the comment is %q in %s, want %q", r.Comment, r.Form, comment)
		}
	}
	line := ""
	for i, comment := range []string{"a\tb", "a -cert-v01@openssh.com key", "\u00e9\u4e16", "", "#", strings.Repeat("c", 200)} {
		file := filepath.Join(dir, fmt.Sprint(i))
		if out, err := output(t, nil, "ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-C", comment, "-f", file); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		line = string(text)
		read(file+".pub", strings.ReplaceAll(comment, "\t", " "))
	}
	for i, before := range []string{
		"# of the host\n\n", `restrict,from="10.0.0.0/8" `, `command="echo \"a b\" ssh-rsa AAAA",no-pty `, "cert-authority ",
		"host,10.0.0.1 ", "[host]:2222 ", "|1|c2FsdA==|aGFzaA== ", "host\t",
	} {
		file := filepath.Join(dir, "line"+fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(before+line), 0o600); err != nil {
			t.Fatal(err)
		}
		read(file, strings.Repeat("c", 200))
	}
}

// The keys of security keys, which ssh-keygen cannot make without one.
func TestSecurityKeys(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	blobs := map[string][]byte{
		ssh.KeyAlgoSKED25519: ssh.Marshal(struct {
			Type, Key, Application string
		}{ssh.KeyAlgoSKED25519, strings.Repeat("k", 32), "ssh:"}),
		ssh.KeyAlgoSKECDSA256: ssh.Marshal(struct {
			Type, Curve, Key, Application string
		}{ssh.KeyAlgoSKECDSA256, "nistp256", string(point), "ssh:"}),
	}
	for typ, blob := range blobs {
		pub := filepath.Join(t.TempDir(), "key.pub")
		if err := os.WriteFile(pub, []byte(typ+" "+base64.StdEncoding.EncodeToString(blob)+" token\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readFile(pub)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		agree(t, r, pub)
		if s := place(r, ec2Imported); s.Fingerprint != "" || s.Note == "" {
			t.Errorf("EC2 takes %s: %+v", typ, s)
		}
		if text, err := output(t, nil, "ssh-keygen", "-e", "-f", pub); err != nil {
			t.Error(err)
		} else if r, err = readOne(bytes.NewReader(text), "-"); err != nil {
			t.Errorf("%v:\n%s", err, text)
		} else {
			agree(t, r, pub)
		}
	}
}

// What EC2 shows, by the commands of the EC2 User Guide.
func TestAgainstOpenSSL(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	need.Program(t, "openssl")
	for _, format := range []string{"PEM", "PKCS8", "RFC4716"} {
		file := filepath.Join(t.TempDir(), "key")
		if _, err := output(t, nil, "ssh-keygen", "-q", "-N", "", "-t", "rsa", "-b", "2048", "-m", format, "-f", file); err != nil {
			t.Fatal(err)
		}
		r, err := readFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// openssl reads OpenSSH's own format only once it is rewritten.
		if _, err := output(t, nil, "ssh-keygen", "-q", "-p", "-N", "", "-P", "", "-m", "PEM", "-f", file); err != nil {
			t.Fatal(err)
		}
		digest := func(hash string, args ...string) string {
			der, err := output(t, nil, "openssl", args...)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := output(t, der, "openssl", hash, "-c")
			if err != nil {
				t.Fatal(err)
			}
			return string(bytes.TrimSpace(sum[bytes.LastIndexByte(sum, ' ')+1:]))
		}
		if got, want := place(r, ec2Imported).Fingerprint, digest("md5", "rsa", "-in", file, "-pubout", "-outform", "DER"); got != want {
			t.Errorf("%s: imported: got %s, want %s", format, got, want)
		}
		if got, want := place(r, ec2Created).Fingerprint, digest("sha1", "pkcs8", "-in", file, "-outform", "DER", "-topk8", "-nocrypt"); got != want {
			t.Errorf("%s: created: got %s, want %s", format, got, want)
		}
	}
}

const vectors = "../../fingerprint/testdata/vectors.txt"

// The vectors of package fingerprint, as they are pasted.
func TestExpected(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		fields := make(map[string]string)
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			fields[key] = value
		}
		if fields["line"] == "" {
			continue
		}
		seen++
		r, err := readOne(strings.NewReader(fields["line"]), "key")
		if err != nil {
			t.Fatal(err)
		}
		for field, where := range map[string]string{"ec2": ec2Imported, "md5": sshKeygenMD5, "sha256": sshdLog} {
			if fields[field] == "" {
				continue
			}
			for _, pasted := range pastes(fields[field]) {
				e, err := ParseExpected(pasted)
				if err != nil {
					t.Errorf("%s: %v", fields["name"], err)
					continue
				}
				found := false
				for _, m := range e.Matches(r) {
					found = found || m.Where == where
				}
				if !found {
					t.Errorf("%s: %q does not match at %s", fields["name"], pasted, where)
				}
			}
		}
		e, err := ParseExpected(fields["created"])
		if err != nil {
			t.Fatal(err)
		}
		if isRSA := strings.HasPrefix(fields["name"], "rsa"); isRSA != (len(e.Matches(r)) == 0 && e.Hint(r) != "") {
			t.Errorf("%s: the fingerprint of a pair made by EC2: %v, %q", fields["name"], e.Matches(r), e.Hint(r))
		}
	}
	if seen < 4 {
		t.Fatalf("only %d vectors", seen)
	}
}

// pastes returns a fingerprint as people paste it.
func pastes(f string) []string {
	switch bare := strings.TrimPrefix(strings.TrimPrefix(f, "SHA256:"), "MD5:"); {
	case strings.Contains(bare, ":"):
		return []string{f, bare, "MD5:" + bare, "md5:" + bare, strings.ReplaceAll(bare, ":", ""), strings.ToUpper(bare), " " + bare + "\n", "2048 MD5:" + bare + " someone@host (RSA)"}
	default:
		bare = strings.TrimRight(bare, "=")
		return []string{f, bare, bare + "=", "SHA256:" + bare, "SHA256:" + bare + "=", "sha256:" + bare, `"` + bare + `"`, "256 SHA256:" + bare + " someone@host (ED25519)"}
	}
}

func TestExpectedRefuses(t *testing.T) {
	t.Parallel()
	const (
		md5    = "7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5"
		sha256 = "PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E"
	)
	for _, text := range []string{
		"", "a", "ab", "key", md5[:44], md5 + ":00", "SHA256:" + md5, "MD5:" + sha256, sha256[1:], sha256 + "A",
		md5 + " 00" + md5[2:], `{"a":{"keyFingerprint":"` + md5 + `"},"b":{"fingerprint":"` + sha256 + `"}}`, `{"KeyName":"` + md5 + `"}`, "8a1f4b2c-0000-4000-8000-000000000001", "SHA256:", "MD5:", "SHA1:" + sha256, "SHA512:" + sha256, sha256[:42] + "F",
	} {
		if e, err := ParseExpected(text); err == nil || e.sum != nil {
			t.Errorf("%q is taken for a fingerprint", text)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
	tests := []struct{ name, text, want string }{
		{"nothing", " \n", "it is empty"},
		{"junk", "junk", "not a public key"},
		{"long", strings.Repeat("a", maxFile+1), "more than"},
		{"another type after options", "restrict " + strings.Replace(line, "ed25519", "rsa", 1) + "\n", "line 1 looks like an OpenSSH key (ssh-rsa)"},
		{"bits too many after options", "restrict " + line[:len(line)-1] + "D=\n", "looks like an OpenSSH key"},
		{"PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\nsecret", "PuTTY"},
		{"broken private key", "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----", "give its public key"},
	}
	for _, test := range tests {
		r, err := readOne(strings.NewReader(test.text), "key")
		switch {
		case err == nil || r != nil:
			t.Errorf("%s is read", test.name)
		case !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %q", test.name, err)
		}
	}
	if _, err := readFile(t.TempDir()); err == nil || strings.Contains(err.Error(), "/") {
		t.Errorf("a directory: %v", err)
	}
}

// OpenSSH's own format shows the public key, the others do not.
func TestPassphrase(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		for _, format := range []string{"RFC4716", "PEM", "PKCS8"} {
			file := filepath.Join(t.TempDir(), "key")
			if _, err := output(t, nil, "ssh-keygen", "-q", "-N", "passphrase", "-t", kind, "-m", format, "-f", file); err != nil {
				t.Fatal(err)
			}
			r, err := readFile(file)
			if format != "RFC4716" && kind != "ed25519" {
				if err == nil || !strings.Contains(err.Error(), "under a passphrase") {
					t.Errorf("%s in %s: %v", kind, format, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s in %s: %v", kind, format, err)
				continue
			}
			agree(t, r, file+".pub")
			if s := place(r, ec2Created); r.Form != privateKey || (kind == "rsa") != (s.Note == onlyByPrivate) {
				t.Errorf("%s in %s: %s, %+v", kind, format, r.Form, s)
			}
		}
	}
}

// The private file of a security key holds a handle of it. ssh-keygen -l reads the
// public half, as is done here.
func TestSecurityKeyFile(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	blob := ssh.Marshal(struct {
		Type, Key, Application string
	}{ssh.KeyAlgoSKED25519, strings.Repeat("k", 32), "ssh:"})
	file := func(keys uint32, public []byte) string {
		container := append([]byte("openssh-key-v1\x00"), ssh.Marshal(struct {
			Cipher, KDF, KDFOptions string
			Keys                    uint32
			Public, Private         []byte
		}{"none", "none", "", keys, public, bytes.Repeat([]byte("p"), 64)})...)
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: container}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := file(1, blob)
	r, err := readFile(path)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, r, path)
	for name, path := range map[string]string{"two keys": file(2, blob), "no key": file(1, []byte("x"))} {
		if r, err := readFile(path); err == nil || r != nil || !strings.Contains(err.Error(), "give its public key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The fingerprint of a certificate is that of its key.
func TestCertificates(t *testing.T) {
	t.Parallel()
	need.Program(t, "ssh-keygen")
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca")
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		file := filepath.Join(dir, kind)
		for _, args := range [][]string{
			{"-q", "-N", "", "-t", "ed25519", "-f", ca},
			{"-q", "-N", "", "-C", "a comment", "-t", kind, "-f", file},
			{"-q", "-s", ca, "-I", "id", "-n", "alice", file + ".pub"},
		} {
			if args[len(args)-1] == ca && kind != "ed25519" {
				continue
			}
			if out, err := output(t, nil, "ssh-keygen", args...); err != nil {
				t.Fatalf("%q: %v: %s", args, err, out)
			}
		}
		r, err := readFile(file + "-cert.pub")
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		agree(t, r, file+"-cert.pub")
		agree(t, r, file+".pub")
		if r.Form != certificate || r.Comment != "a comment" || strings.Contains(r.Type, "cert") {
			t.Errorf("%s: %+v", kind, r)
		}
		text, err := os.ReadFile(file + "-cert.pub")
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{
			string(text) + string(text), "x" + string(text), "x-cert-v01@openssh.com AAAA", "x-cert-v01@openssh.com ",
			"ssh-rsa-cert-v01@openssh.com " + strings.Fields(r.Line())[1],
		} {
			if r, err := readOne(strings.NewReader(bad), "x"); err == nil || r != nil {
				t.Errorf("%.60q is read", bad)
			}
		}
	}
}

func TestHostName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"host", "host.example.com", "[host]:2222", "a,b", "10.0.0.1", "fd00::1"} {
		if err := CheckHostName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "a b", "a\nb", "#a", "@revoked", "|1|x", "a\x1b"} {
		if CheckHostName(name) == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}
