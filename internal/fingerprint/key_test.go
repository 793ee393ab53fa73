package fingerprint

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/test/need"
)

// readVectors reads testdata/vectors.txt.
func readVectors(t testing.TB) []map[string]string {
	t.Helper()
	text := readTestdata(t, "vectors.txt")
	var all []map[string]string
	for block := range strings.SplitSeq(text, "\n\n") {
		v := make(map[string]string)
		for line := range strings.Lines(block) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && line[0] != '#' {
				v[name] = value
			}
		}
		if v["name"] != "" {
			all = append(all, v)
		}
	}
	if len(all) != 4 {
		t.Fatalf("found %d vectors, want 4", len(all))
	}
	return all
}

func readTestdata(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeyVectors(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t) {
		key, err := ParseKey([]byte(v["line"] + "\n"))
		if err != nil {
			t.Errorf("%s: %v", v["name"], err)
			continue
		}
		bare := strings.Join(strings.Fields(v["line"])[:2], " ")
		if key.Line() != bare || key.Comment != "vec-"+v["name"] || key.Form != OpenSSH {
			t.Errorf("%s: read as %q, %q, %q", v["name"], key.Line(), key.Comment, key.Form)
		}
		if got := key.EC2(); got != v["ec2"] {
			t.Errorf("%s: EC2 shows %s, want %s", v["name"], got, v["ec2"])
		}
		if got := SHA256(key.Blob()); got != v["sha256"] {
			t.Errorf("%s: sshd shows %s, want %s", v["name"], got, v["sha256"])
		}
		if got := MD5(key.Blob()); v["md5"] != "" && (got != v["md5"] || got == "MD5:"+key.EC2()) {
			t.Errorf("%s: the MD5 of the blob is %s, want %s, and not what EC2 shows", v["name"], got, v["md5"])
		}
	}
}

// TestKeyForms reads one key in every form there is.
func TestKeyForms(t *testing.T) {
	t.Parallel()
	v := readVectors(t)[1]
	want, err := ParseKey([]byte(v["line"]))
	if err != nil {
		t.Fatal(err)
	}
	der := strings.TrimSpace(readTestdata(t, "rsa2048.der.b64"))
	spki, err := base64.StdEncoding.DecodeString(der)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public.(*rsa.PublicKey))
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	rfc := readTestdata(t, "rsa2048.rfc4716")
	for name, row := range map[string]struct {
		text    string
		form    Form
		comment string
	}{
		"line":          {v["line"], OpenSSH, "vec-rsa2048"},
		"bare":          {want.Line(), OpenSSH, ""},
		"two blanks":    {strings.Replace(v["line"], " ", "  ", 1), OpenSSH, "vec-rsa2048"},
		"long comment":  {want.Line() + " a b c\n", OpenSSH, "a b c"},
		"RFC 4716":      {rfc, RFC4716, "2048-bit RSA, vec-rsa2048"},
		"CRLF":          {strings.ReplaceAll(rfc, "\n", "\r\n"), RFC4716, "2048-bit RSA, vec-rsa2048"},
		"continued":     {strings.Replace(rfc, "2048-bit RSA", "2048-bit \\\nRSA", 1), RFC4716, "2048-bit RSA, vec-rsa2048"},
		"other headers": {strings.Replace(rfc, "Comment", "Subject: me\nx-y: z\ncomment", 1), RFC4716, "2048-bit RSA, vec-rsa2048"},
		"DER":           {der + "\n", DERBase64, ""},
		"DER, wrapped":  {der[:76] + "\n" + der[76:], DERBase64, ""},
		"PEM":           {block("PUBLIC KEY", spki), PEM, ""},
		"PKCS #1":       {block("RSA PUBLIC KEY", pkcs1), PEM, ""},
		"base64":        {base64.StdEncoding.EncodeToString([]byte(v["line"] + "\n")), OpenSSHBase64, "vec-rsa2048"},
	} {
		got, err := ParseKey([]byte(row.text))
		if err != nil || got.Line() != want.Line() || got.Form != row.form || got.Comment != row.comment {
			t.Errorf("%s: %q, %q, %v, want %q, %q", name, got.Form, got.Comment, err, row.form, row.comment)
		}
	}
	if got := want.RSABits(); got != 2048 {
		t.Errorf("%d bits, want 2048", got)
	}
}

func TestKeyRefused(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	line := v[3]["line"]
	bare := strings.Join(strings.Fields(line)[:2], " ")
	rfc := readTestdata(t, "rsa2048.rfc4716")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert}
	if err := certificate.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	blob, err := base64.StdEncoding.DecodeString(strings.Fields(line)[1])
	if err != nil {
		t.Fatal(err)
	}
	spki, err := base64.StdEncoding.DecodeString(readTestdata(t, "rsa2048.der.b64"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	block := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	even := *public.(*rsa.PublicKey)
	even.E = 65538
	spki, err = x509.MarshalPKIXPublicKey(&even)
	if err != nil {
		t.Fatal(err)
	}
	padded := ssh.Marshal(struct {
		Type string
		E, N []byte
	}{ssh.KeyAlgoRSA, []byte{0, 1, 0, 1}, append([]byte{0, 0}, public.(*rsa.PublicKey).N.Bytes()...)})
	if _, err := ssh.ParsePublicKey(padded); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"word":          "ssh-ed25519",
		"type alone":    "ssh-ed25519 ",
		"junk":          "ssh-ed25519 AAAA",
		"other type":    strings.Replace(line, "ssh-ed25519", "ssh-rsa", 1),
		"options":       "restrict " + line,
		"two lines":     line + "\n" + line,
		"control":       bare + " a\x1bb",
		"tail":          "ssh-ed25519 " + base64.StdEncoding.EncodeToString(append(blob, 0)),
		"padded":        "ssh-rsa " + base64.StdEncoding.EncodeToString(padded),
		"certificate":   string(ssh.MarshalAuthorizedKey(certificate)),
		"private":       "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"PEM, two":      block + block,
		"PEM, no end":   "-----BEGIN PUBLIC KEY-----\nAAAA\n",
		"PEM, junk":     "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"no end":        strings.Replace(rfc, "---- END", "---- FIN", 1),
		"RFC, control":  strings.Replace(rfc, "2048-bit", "\x1b[2J", 1),
		"no body":       rfc4716Begin + "\n" + rfc4716End,
		"begin alone":   rfc4716Begin,
		"header inside": strings.Replace(rfc, "ENIFek", "x: y\nENIFek", 1),
		"twice encoded": base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(line)))),
		"even exponent": base64.StdEncoding.EncodeToString(spki),
		"PKCS #1, even": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&even)})),
		"too long":      bare + " " + strings.Repeat("c", maxKeyText),
	} {
		if key, err := ParseKey([]byte(text)); err == nil || key.Type() != "" || key.Blob() != nil {
			t.Errorf("%s: read as %q", name, key.Line())
		}
	}
}

// TestCreated compares with the commands of the EC2 User Guide.
func TestCreated(t *testing.T) {
	t.Parallel()
	openssl := need.Program(t, "openssl")
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(pipe string) string {
		out, err := exec.Command("sh", "-c", strings.NewReplacer("openssl", openssl, "KEY", `"$0"`).Replace(pipe), file).Output()
		if err != nil {
			t.Fatal(err)
		}
		_, sum, _ := strings.Cut(strings.TrimSpace(string(out)), "= ")
		return sum
	}
	if got, want := EC2Created(private), ask("openssl pkcs8 -in KEY -inform PEM -outform DER -topk8 -nocrypt | openssl sha1 -c"); got != want {
		t.Errorf("a created key is %s, but openssl says %s", got, want)
	}
	key, err := newKey(private.Public(), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := key.EC2(), ask("openssl rsa -in KEY -pubout -outform DER 2>/dev/null | openssl md5 -c"); got != want {
		t.Errorf("an imported key is %s, but openssl says %s", got, want)
	}

	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	imported, err := newKey(ed.Public(), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := EC2Created(ed); got != imported.EC2() || !strings.HasSuffix(got, "=") {
		t.Errorf("a created ED25519 key is %s, an imported one %s", got, imported.EC2())
	}
	if got := EC2Created(crypto.Signer(nil)); got != "" {
		t.Errorf("no key is %s", got)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add([]byte(v["line"]))
	}
	f.Add([]byte(readTestdata(f, "rsa2048.rfc4716")))
	f.Add([]byte(readTestdata(f, "rsa2048.der.b64")))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseKey(text)
		if err != nil {
			if key.Type() != "" {
				t.Fatal("an error and a key")
			}
			return
		}
		again, err := ParseKey([]byte(key.Line()))
		if err != nil || again.Line() != key.Line() || strings.ContainsAny(key.Line()+key.Comment, "\n\r") {
			t.Fatalf("%q is read as %q: %v", key.Line(), again.Line(), err)
		}
	})
}
