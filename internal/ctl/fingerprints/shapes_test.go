package fingerprints

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/eic-agent/eic-agent/test/need"
)

// A pair is one that ssh-keygen has made, in its forms.
type pair struct {
	line, rfc4716, spki, private, openssh, sha256 string
	putty                                         []string // of versions 2 and 3
}

// newPair makes an RSA pair, whose private key says more than the public one.
func newPair(t *testing.T) pair {
	t.Helper()
	need.Program(t, "ssh-keygen")
	need.Program(t, "puttygen")
	file := filepath.Join(t.TempDir(), "key")
	ask := func(args ...string) string {
		out, err := output(t, nil, "ssh-keygen", args...)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return string(out)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var p pair
	ask("-q", "-N", "", "-t", "rsa", "-b", "2048", "-C", `CORP\nick`, "-f", file)
	p.line, p.openssh = strings.TrimSpace(read(file+".pub")), read(file)
	p.rfc4716, p.spki = ask("-e", "-m", "RFC4716", "-f", file+".pub"), ask("-e", "-m", "PKCS8", "-f", file+".pub")
	_, p.sha256 = keygen(t, file+".pub", "sha256")
	for _, version := range []string{"2", "3"} {
		if _, err := output(t, nil, "puttygen", file, "-O", "private", "-o", file+".ppk", "--ppk-param", "version="+version); err != nil {
			t.Fatal(err)
		}
		p.putty = append(p.putty, read(file+".ppk"))
	}
	ask("-q", "-p", "-N", "", "-P", "", "-m", "PEM", "-f", file)
	p.private = read(file)
	return p
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

func asUTF16(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func indent(by string) func(string) string {
	return func(text string) string {
		return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by) + "\n"
	}
}
func newlines(by string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, "\n", by) }
}

// shapes are ways in which a key is damaged on its way to a file.
func shapes() map[string]func(string) string {
	return map[string]func(string) string{
		"as it is":             func(text string) string { return text },
		"UTF-8 mark":           func(text string) string { return "\ufeff" + text },
		"UTF-16 LE":            func(text string) string { return asUTF16(binary.LittleEndian, "\ufeff"+text) },
		"UTF-16 BE":            func(text string) string { return asUTF16(binary.BigEndian, "\ufeff"+text) },
		"UTF-16 LE, CRLF":      func(text string) string { return asUTF16(binary.LittleEndian, "\ufeff"+newlines("\r\n")(text)) },
		"UTF-16 LE, no mark":   func(text string) string { return asUTF16(binary.LittleEndian, text) },
		"UTF-16 BE, no mark":   func(text string) string { return asUTF16(binary.BigEndian, text) },
		"CRLF":                 newlines("\r\n"),
		"CR":                   newlines("\r"),
		"blanks for newlines":  newlines(" "),
		"two blanks":           newlines("  "),
		`\n for newlines`:      newlines(`\n`),
		`\r\n for newlines`:    newlines(`\r\n`),
		"indented":             indent("    "),
		"indented by tabs":     indent("\t"),
		"cited in mail":        indent("> "),
		"in double quotes":     func(text string) string { return `"` + strings.TrimSpace(text) + `"` },
		"in single quotes":     func(text string) string { return "'" + text + "'\n" },
		"in curly quotes":      func(text string) string { return "“" + strings.TrimSpace(text) + "”" },
		"in backquotes":        func(text string) string { return "`" + text + "`" },
		"a cell of a table":    func(text string) string { return `"` + newlines(" ")(text) + `"` },
		"blank lines around":   func(text string) string { return "\n \n" + text + "\n\n\n" },
		"no last newline":      strings.TrimSpace,
		"hard blanks":          func(text string) string { return "\u00a0" + newlines("\u00a0")(text) },
		"in JSON":              func(text string) string { return `{"a":[{"b":` + quoted(text) + `}]}` },
		"a JSON string":        quoted,
		"JSON in JSON":         func(text string) string { return quoted(`{"key":` + quoted(text) + `}`) },
		"in base64":            func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
		"in base64, JSON":      func(text string) string { return `{"k":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}` },
		"UTF-16 in JSON":       func(text string) string { return asUTF16(binary.LittleEndian, "\ufeff"+`{"k":`+quoted(text)+`}`) },
		"a variable":           func(text string) string { return `KEY="` + strings.TrimSpace(text) + `"` + "\n" },
		"a variable on a line": func(text string) string { return `export KEY="` + newlines(`\n`)(text) + `"` + "\n" },
		"in YAML":              func(text string) string { return "key: |\n" + indent("  ")(text) + "other: 1\n" },
		"in HCL":               func(text string) string { return "key = <<-EOT\n" + indent("    ")(text) + "EOT\n" },
		"behind a comment":     func(text string) string { return "# the key of nick\n" + text },
	}
}

func (p pair) forms() map[string]string {
	return map[string]string{"line": p.line + "\n", "RFC 4716": p.rfc4716, "PEM": p.spki, "private": p.private, "OpenSSH's private": p.openssh, "PuTTY's private": p.putty[1]}
}

// Every form of a key, in every way in which it is damaged.
func TestShapes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for form, text := range p.forms() {
		for shape, change := range shapes() {
			r, err := readOne(strings.NewReader(change(text)), "key")
			if err != nil {
				t.Errorf("%s, %s: %v", form, shape, err)
				continue
			}
			if got := place(r, sshKeygen).Fingerprint; got != p.sha256 {
				t.Errorf("%s, %s: %s, want %s", form, shape, got, p.sha256)
			}
			if isPrivate := strings.HasSuffix(form, "private"); isPrivate != (place(r, ec2Created).Fingerprint != "") {
				t.Errorf("%s, %s: made by EC2: %+v", form, shape, place(r, ec2Created))
			}
			if form == "line" && !strings.HasPrefix(r.Comment, "CORP") {
				t.Errorf("%s: comment %q", shape, r.Comment)
			}
		}
	}
	block, _ := pem.Decode([]byte(p.spki))
	private, _ := pem.Decode([]byte(p.private))
	blob := strings.Fields(p.line)[1]
	madeByEC2 := map[string]bool{"private DER": true, "create-key-pair, ppk": true, "PuTTY": true, "PuTTY, CRLF, UTF-16": true, "PuTTY in YAML": true, "PuTTY in YAML, quoted": true, "Kubernetes": true, "OpenSSH's, no markers": true}
	made := place(mustRead(t, p.private), ec2Created).Fingerprint
	for name, text := range map[string]string{
		"DER":                     string(block.Bytes),
		"private DER":             string(private.Bytes),
		"DER in base64, UTF-16":   asUTF16(binary.LittleEndian, "\ufeff"+base64.StdEncoding.EncodeToString(block.Bytes)),
		"DER in base64, CRLF":     newlines("\r\n")(strings.Join(strings.Split(p.spki, "\n")[1:8], "\n")),
		"blob":                    blob,
		"wrapped line":            p.line[:80] + "\n" + p.line[80:160] + "\n" + p.line[160:],
		"long dashes":             strings.ReplaceAll(p.spki, "-----", "—–—"),
		"text around":             "Public-Key: (2048 bit)\nModulus:\n    00:ab\n" + p.spki + "done\n",
		"known_hosts, authority":  "@cert-authority *.example.com " + p.line,
		"known_hosts, revoked":    "@revoked host " + p.line,
		"known_hosts, hashed":     "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= " + p.line,
		"known_hosts, port":       "[host.example.com]:2222,[10.0.0.1]:2222 " + p.line,
		"ssh-keyscan":             "# host:22 SSH-2.0-OpenSSH_9.2\nhost " + p.line + "\n",
		"authority with a key":    `cert-authority,principals="a b" ` + p.line,
		"key in an option":        `command="echo ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDFTDz5SHeC6LZpRqnVSUjNGwxijTVEngFpBpodhlInVqwxoDNKB4IlVNdZpgx3Pb3EPnakPMCEEScXwlC9i2bhQ/mP2lABOC9sM8Trh9Rz2+rJ7QSRvgOFx6YbtTr/A1sWWHkr3TRe3uqtq7Ul3NqKLFz5xNYyVfm5MkHUzlIpqw==" ` + p.line,
		"create-key-pair":         `{"KeyFingerprint":"1f:51","KeyMaterial":` + quoted(p.private) + `,"KeyName":"k","KeyPairId":"key-1"}`,
		"create-key-pair, text":   "1f:51:ae\t" + p.private + "\tk\tkey-1\n",
		"describe-key-pairs":      `{"KeyPairs":[{"KeyPairId":"key-1","KeyFingerprint":"1f:51","KeyType":"rsa","PublicKey":` + quoted(p.line+"\n") + `}]}`,
		"import-key-pair's input": `{"KeyName":"k","PublicKeyMaterial":"` + base64.StdEncoding.EncodeToString([]byte(p.line)) + `"}`,
		"Lightsail":               `{"keyPair":{"name":"k","fingerprint":"1f:51"},"publicKeyBase64":` + quoted(p.line) + `,"privateKeyBase64":` + quoted(p.private) + `,"operation":{"id":"x"}}`,
		"Terraform output":        `{"key":{"sensitive":true,"type":"string","value":` + quoted(p.private) + `}}`,
		"Terraform state": `{"version":4,"resources":[{"type":"tls_private_key","instances":[{"attributes":{"algorithm":"RSA","private_key_openssh":` + quoted(p.openssh) + `,"private_key_pem":` + quoted(p.private) +
			`,"public_key_fingerprint_md5":"1f:51","public_key_openssh":` + quoted(p.line+"\n") + `,"public_key_pem":` + quoted(p.spki) + `}}]}]}`,
		"create-key-pair, ppk":  `{"KeyFingerprint":"1f:51","KeyMaterial":` + quoted(p.putty[0]) + `,"KeyName":"k"}`,
		"PuTTY":                 p.putty[1],
		"PuTTY, CRLF, UTF-16":   asUTF16(binary.LittleEndian, "\ufeff"+newlines("\r\n")(p.putty[1])),
		"PuTTY in YAML":         "key: |\n" + indent("  ")(p.putty[0]),
		"PuTTY in YAML, quoted": `key: "` + newlines("\\n\\\n  ")(p.putty[0]) + `"`,
		"Kubernetes":            "kind: Secret\ndata:\n  ssh-privatekey: " + base64.StdEncoding.EncodeToString([]byte(p.private)) + "\n",
		"OpenSSH's, no markers": strings.Join(slices.DeleteFunc(strings.Split(p.openssh, "\n"), func(line string) bool { return strings.HasPrefix(line, "-") }), "\n"),
		"type and blob apart":   strings.Join(strings.Fields(p.line)[:2], "\n"),
		"folded in YAML":        "key: >-\n  ssh-rsa\n  " + blob[:70] + "\n  " + blob[70:140] + "\n  " + blob[140:] + "\n",
		"Terraform source":      "resource \"aws_key_pair\" \"k\" {\n  key_name   = \"k\"\n  public_key = \"" + p.line + "\"\n}\n",
		"cloud-config":          "#cloud-config\nusers:\n  - name: nick\n    ssh_authorized_keys:\n      - " + p.line + "\n",
		"CloudFormation":        "Resources:\n  Key:\n    Properties:\n      PublicKeyMaterial: " + p.line + "\n",
	} {
		r, err := readOne(strings.NewReader(text), "key")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := place(r, sshKeygen).Fingerprint; got != p.sha256 {
			t.Errorf("%s: %s, want %s", name, got, p.sha256)
		}
		if hasPrivate := strings.Contains(text, "PRIVATE KEY") || madeByEC2[name]; hasPrivate != (place(r, ec2Created).Fingerprint != "") {
			t.Errorf("%s: made by EC2: %+v", name, place(r, ec2Created))
		} else if hasPrivate && place(r, ec2Created).Fingerprint != made {
			t.Errorf("%s: made by EC2: %+v, want %s", name, place(r, ec2Created), made)
		}
	}
}

// TestShapesOfShapes damages keys twice.
func TestShapesOfShapes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	all := shapes()
	names := slices.Sorted(maps.Keys(all))
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		first, second := names[r.IntN(len(names))], names[r.IntN(len(names))]
		joins := strings.Contains(second, "blanks") && !strings.Contains(second, "lines around") || strings.Contains(second, "for newlines") || second == "a cell of a table" || second == "hard blanks" || second == "a variable on a line"
		if strings.Contains(first, "UTF") || first == "behind a comment" && joins { // UTF-16 is the last; a comment takes the rest of its line
			continue
		}
		for form, text := range p.forms() {
			got, err := readOne(strings.NewReader(all[second](all[first](text))), "key")
			if err != nil || place(got, sshKeygen).Fingerprint != p.sha256 {
				t.Errorf("%s, %s, then %s: %v", form, first, second, err)
			}
		}
	}
}

func mustRead(t *testing.T, text string) *Report {
	t.Helper()
	r, err := readOne(strings.NewReader(text), "key")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever the type and the passphrase, PuTTY's file shows the public key.
func TestPuTTY(t *testing.T) {
	t.Parallel()
	need.Program(t, "puttygen")
	dir := t.TempDir()
	passphrase := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(passphrase, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for typ, bits := range map[string]string{"rsa": "2048", "ecdsa": "256", "ed25519": "255", "dsa": "1024"} {
		file := filepath.Join(dir, typ)
		if out, err := output(t, nil, "puttygen", "-q", "-t", typ, "-b", bits, "-C", "a: b", "-O", "private", "-o", file, "--new-passphrase", passphrase); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		line, err := output(t, nil, "puttygen", file, "-O", "public-openssh")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := mustRead(t, string(text))
		if r.Line() != strings.Join(strings.Fields(string(line))[:2], " ") || r.Comment != "a: b" || r.Form != privateKey {
			t.Errorf("%s: %s, comment %q, form %s", typ, r.Line(), r.Comment, r.Form)
		}
	}
}

// openssl ecparam -genkey writes the curve before the key.
func TestParameters(t *testing.T) {
	t.Parallel()
	need.Program(t, "openssl")
	text, err := output(t, nil, "openssl", "ecparam", "-name", "prime256v1", "-genkey")
	if err != nil {
		t.Fatal(err)
	}
	if r := mustRead(t, string(text)); r.Type != "ecdsa-sha2-nistp256" {
		t.Errorf("%+v", r)
	}
}

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
	sumA = "SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E"
)

func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	b := newPair(t)
	for name, c := range map[string]struct {
		text  string
		lines []int
		want  string // of the error
	}{
		"authorized_keys": {"# keys\n" + keyA + " a\n\nrestrict " + b.line + "\n", []int{2, 4}, ""},
		"CRLF, UTF-16":    {asUTF16(binary.LittleEndian, "\ufeff"+keyA+" a\r\n"+b.line+"\r\n"), []int{1, 2}, ""},
		"on one line":     {keyA + " a " + b.line, []int{1, 1}, ""},
		`\n between`:      {keyA + ` a\n` + b.line + `\n`, []int{1, 1}, ""},
		"a damaged one":   {keyA + "\n" + b.line[:100] + "\n" + b.line, []int{1, 3}, "line 2 looks like"},
		"other text":      {keyA + "\nnothing\n" + b.line, []int{1, 3}, ""},
		"blocks":          {b.spki + b.rfc4716, []int{0, 0}, ""},
		"block and line":  {b.spki + keyA + "\n", []int{0, strings.Count(b.spki, "\n") + 1}, ""},
		"JSON":            {`[` + quoted(keyA) + `,{"k":` + quoted(b.private) + `}]`, []int{0, 0}, ""},
		"certificate too": {keyA + "\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + b.line, []int{1, 5}, "an X.509 certificate"},
	} {
		reports, err := Read(strings.NewReader(c.text), "file")
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if len(reports) != len(c.lines) {
			t.Errorf("%s: %d keys", name, len(reports))
			continue
		}
		for i, r := range reports {
			if got := place(r, sshKeygen).Fingerprint; r.LineNumber != c.lines[i] || got != sumA && got != b.sha256 {
				t.Errorf("%s: key %d is %s in line %d, want %d", name, i, got, r.LineNumber, c.lines[i])
			}
		}
	}
	// One key twice is two lines of a file, and one key of JSON.
	if reports, err := Read(strings.NewReader(keyA+"\n"+keyA), "file"); err != nil || len(reports) != 2 {
		t.Errorf("twice: %d, %v", len(reports), err)
	}
}

// What is not a key is said, and nothing of it shown.
func TestLooksLike(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"\ufeff \r\n", "it is empty"},
		"X.509":              {"-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n", "an X.509 certificate,"},
		"request":            {"-----BEGIN CERTIFICATE REQUEST-----\nc2VjcmV0\n-----END CERTIFICATE REQUEST-----\n", "certificate request"},
		"OpenPGP":            {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nsecret\n-----END PGP PUBLIC KEY BLOCK-----\n", "OpenPGP"},
		"parameters":         {"-----BEGIN DH PARAMETERS-----\nc2VjcmV0\n-----END DH PARAMETERS-----\n", "BEGIN DH PARAMETERS"},
		"no end":             {p.private[:400], "has no END"},
		"ends as another":    {strings.Replace(p.spki, "END PUBLIC", "END PRIVATE", 1), "ends as END PRIVATE KEY"},
		"damaged PEM":        {strings.Replace(p.spki, "\nMII", "\n!II", 1), "not base64"},
		"cut PEM":            {"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", "not a key that SSH has"},
		"damaged RFC 4716":   {strings.Replace(p.rfc4716, "AAAAB3", "AAAAC3", 1), "RFC 4716 block is damaged"},
		"cut line":           {p.line[:200] + "\n", "line 1 looks like an OpenSSH key (ssh-rsa)"},
		"other type":         {strings.Replace(p.line, "ssh-rsa", "ssh-ed25519", 1), "looks like an OpenSSH key (ssh-ed25519)"},
		"passphrase":         {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nc2VjcmV0\n-----END RSA PRIVATE KEY-----", "under a passphrase"},
		"passphrase, blanks": {"-----BEGIN RSA PRIVATE KEY----- Proc-Type: 4,ENCRYPTED DEK-Info: AES-128-CBC,00  c2VjcmV0 -----END RSA PRIVATE KEY-----", "under a passphrase"},
		"PuTTY, UTF-16":      {asUTF16(binary.LittleEndian, "\ufeffPuTTY-User-Key-File-3: ssh-rsa\r\nsecret"), "PuTTY key file that is damaged"},
		"PuTTY, cut off":     {p.putty[1][:len(p.putty[1])*2/3], "PuTTY key file that is damaged"},
		"PuTTY, two halves":  {strings.Replace(p.putty[1], "Private-Lines: ", "Private-Lines: 0\nX-Lines: ", 1), "PuTTY key file that is damaged"},
		"ssh.com":            {"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"secret\"\nP2/56w==\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n", "ssh-keygen -i"},
		"SSH 1":              {"1024 35 " + strings.Repeat("1234567890", 30) + " secret", "protocol 1"},
		"signify":            {"untrusted comment: secret\nRWQ\n", "signify"},
		"web page":           {"<!DOCTYPE html><p>secret", "web page"},
		"fingerprint":        {sumA + "\n", "it is a fingerprint"},
		"ssh-keygen -l":      {"256 " + sumA + " secret (ED25519)\n", "it is a fingerprint"},
		"import-key-pair":    {`{"KeyFingerprint":"7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5","KeyName":"secret"}`, "the fingerprint of a key, and without the key"},
		"JWK":                {`{"kty":"RSA","n":"secret","e":"AQAB"}`, "JSON Web Key"},
		"JSON":               {`{"a":["secret"]}`, "JSON without a key"},
		"binary":             {"secret\x00\x01\x02\xff", "binary"},
		"text":               {"secret\n", "not a public key"},
		"number":             {"17", "not a public key"},
	} {
		reports, err := Read(strings.NewReader(c.text), "key")
		if err == nil || len(reports) > 0 || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: %d keys, %v", name, len(reports), err)
		}
	}
}

// A fingerprint to compare with comes in as many shapes as a key.
func TestExpectedShapes(t *testing.T) {
	t.Parallel()
	const ec2 = "7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5"
	sum, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(sumA, "SHA256:"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"\ufeff" + ec2: ec2, "\xff\xfe" + ec2 + "\r\n": ec2, ec2 + ",": ec2, "(" + ec2 + ")": ec2, "“" + ec2 + "”": ec2, "\u00a0" + ec2: ec2,
		strings.ReplaceAll(ec2, ":", " "): ec2, strings.ReplaceAll(ec2, ":", "-"): ec2,
		`{"KeyFingerprint": "` + ec2 + `", "KeyName": "k"}`:                           ec2,
		`{"KeyPairs":[{"KeyPairId":"key-0","KeyFingerprint":"` + ec2 + `"}]}`:         ec2,
		`{"keyPair":{"name":"k","fingerprint":"` + ec2 + `"},"operation":{"id":"x"}}`: ec2,
		"Accepted publickey for a from 10.0.0.1 port 1 ssh2: ED25519 " + sumA:         sumA,
		"ED25519 key fingerprint is " + sumA + ".":                                    sumA,
		hex.EncodeToString(sum):                   sumA,
		base64.RawURLEncoding.EncodeToString(sum): sumA,
	} {
		e, err := ParseExpected(text)
		if err != nil || !e.Is(want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseExpected(keyA); err == nil || !strings.Contains(err.Error(), "is a key") {
		t.Errorf("a key: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{keyA, "-----BEGIN PUBLIC KEY----- AAAA -----END PUBLIC KEY-----", `{"k":"` + keyA + `"}`, asUTF16(binary.LittleEndian, "\ufeff"+keyA), "|1|a|b " + keyA} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		reports, err := Read(strings.NewReader(string(text)), "key")
		if len(reports) == 0 && err == nil {
			t.Error("neither a key nor an error")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q", err)
		}
	})
}
