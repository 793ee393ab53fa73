package main

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

func (w *world) granted(name, comment string, body []byte, output ...string) {
	w.write(vector{name: name, comment: comment, expect: "granted", body: body, output: output})
}

func (w *world) refuse(reason, name, comment string, body []byte) {
	w.write(vector{name: name, comment: comment, expect: reason, body: body})
}

func (w *world) recordVectors() {
	w.goodRecords()
	w.badFields()
	w.badKeys()
	w.badSignatures()
	w.neighbours()
}

func (w *world) goodRecords() {
	k := w.keys
	f := standard(live)
	w.granted("record-ok", "the usual record", w.good(k.ed), k.ed)
	w.granted("record-no-caller-no-request", "Caller and Request may be missing", w.record(f[:2], k.ed), k.ed)
	w.granted("record-unknown-field", "an unknown field is part of what is signed", w.record(append(f, "#Future=1"), k.ed), k.ed)
	w.granted("record-unknown-field-first", "an unknown field comes first", w.record(append(fields{"#Future"}, f...), k.ed), k.ed)
	w.granted("record-fields-reordered", "the order of the fields is free, as long as it is the signed one", w.record(fields{f[3], f[1], f[2], f[0]}, k.ed), k.ed)
	trailing := append(f.text(k.ed), "#Future=1\n"...)
	w.granted("record-field-after-key", "a field after the key line is part of what is signed", keyrecord.Encode(trailing, w.sign(trailing)), k.ed)

	text := f.text(k.ed)
	signature := base64.StdEncoding.EncodeToString(w.sign(text))
	w.granted("record-signature-one-line", "the signature is on one line", append(text, signature+"\n\n"...), k.ed)
	w.granted("record-no-blank-line-at-end", "the last record has no blank line", append(text, signature+"\n"...), k.ed)
	w.granted("record-no-newline-at-end", "the last record has no newline", append(text, signature...), k.ed)
	w.granted("record-blank-lines-before", "blank lines come first", append([]byte("\n\n\n"), w.good(k.ed)...), k.ed)

	w.granted("key-comment", "the comment of a key is not printed", w.good(k.ed+` alice@host restrict,command="x" "quoted"`), k.ed)
	w.granted("key-comment-like-a-key", "a comment that is a key is not printed", w.good(k.ed+" "+k.ed2), k.ed)
	w.granted("key-two-spaces", "two spaces part type and key", w.good(strings.Replace(k.ed, " ", "  ", 1)), k.ed)
	for name, key := range map[string]string{
		"rsa2048": k.rsa2048, "rsa3072": k.rsa3072, "rsa4096": k.rsa4096, "ecdsa256": k.p256, "ecdsa384": k.p384,
		"ecdsa521": k.p521, "sk-ed25519": k.skEd, "sk-ecdsa256": k.skP256,
	} {
		w.granted("key-"+name, "a key of this type", w.good(key), key)
	}
	for name, expires := range map[string]time.Duration{"1s": time.Second, "60s": time.Minute, "120s": 2 * time.Minute} {
		w.granted("timestamp-in-"+name, "the key lives that long from now", w.record(standard(now.Add(expires)), k.ed), k.ed)
	}
	w.granted("two-keys", "two keys were pushed", append(w.good(k.ed), w.good(k.rsa2048)...), k.ed, k.rsa2048)
	w.granted("same-key-twice", "one key was pushed twice", append(w.good(k.ed), w.record(standard(now.Add(time.Second)), k.ed)...), k.ed)
	w.write(vector{name: "expiry-time", comment: "sshd gets the last second of the key", expect: "granted",
		config: []string{"[keys]", "expiry_time = true"}, body: w.good(k.ed),
		output: []string{`expiry-time="20261124120044Z" ` + k.ed}})
	w.write(vector{name: "expiry-time-same-key-twice", comment: "a key that was pushed twice lives as long as the later push", expect: "granted",
		config: []string{"[keys]", "expiry_time = true"}, body: append(w.record(standard(now.Add(time.Second)), k.ed), w.good(k.ed)...),
		output: []string{`expiry-time="20261124120044Z" ` + k.ed}})
	w.write(vector{name: "expiry-time-same-key-twice-later-first", comment: "the later push is served first", expect: "granted",
		config: []string{"[keys]", "expiry_time = true"}, body: append(w.good(k.ed), w.record(standard(now.Add(time.Second)), k.ed)...),
		output: []string{`expiry-time="20261124120044Z" ` + k.ed}})
	w.write(vector{name: "options", comment: "the configured options come first", expect: "granted",
		config: []string{"[keys]", `options = 'restrict,pty,from="10.0.0.0/8"'`, "expiry_time = true"}, body: w.good(k.ed),
		output: []string{`restrict,pty,from="10.0.0.0/8",expiry-time="20261124120044Z" ` + k.ed}})

	w.write(vector{name: "nothing-pushed", comment: "an empty answer", expect: "none"})
	w.write(vector{name: "only-blank-lines", comment: "an answer of blank lines", expect: "none", body: []byte("\n\n\r\n\n")})
	w.write(vector{name: "fingerprint-sha256", comment: "the filter selects one of two keys", expect: "granted",
		fingerprint: ssh.FingerprintSHA256(w.keys.edKey), body: append(w.good(k.ed2), w.good(k.ed)...), output: []string{k.ed}})
	sum := md5.Sum(blob(k.ed))
	w.write(vector{name: "fingerprint-md5", comment: "the filter selects one of two keys by MD5", expect: "granted",
		fingerprint: "MD5:" + strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":"), body: append(w.good(k.ed2), w.good(k.ed)...), output: []string{k.ed}})
	w.write(vector{name: "fingerprint-other", comment: "another key was pushed", expect: "none",
		fingerprint: ssh.FingerprintSHA256(w.keys.edKey), body: w.good(k.ed2)})
	w.write(vector{name: "fingerprint-other-expired", comment: "another key was pushed and has expired: nothing to say of it", expect: "none",
		fingerprint: ssh.FingerprintSHA256(w.keys.edKey), body: w.record(standard(now), k.ed2)})
	padded := ssh.Marshal(struct{ Type, E, N string }{"ssh-rsa", "\x00\x01\x00\x01", string(blob(k.rsa2048)[len(blob(k.rsa2048))-257:])})
	paddedKey := must(ssh.ParsePublicKey(padded))
	w.write(vector{name: "fingerprint-of-padded-key", comment: "the exponent has a leading zero byte, which sshd does not keep", expect: "granted",
		fingerprint: ssh.FingerprintSHA256(paddedKey), body: w.good(blobLine("ssh-rsa", padded)), output: []string{k.rsa2048}})
	w.write(vector{name: "fingerprint-of-certificate", comment: "sshd names a certificate by its key", expect: "key-type",
		fingerprint: ssh.FingerprintSHA256(w.keys.edKey), body: w.good(k.cert)})
}

func (w *world) badFields() {
	k := w.keys.ed
	f := standard(live)
	stamp := func(value string) []byte { return w.record(f.with(0, "#Timestamp="+value), k) }
	unix := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	for name, value := range map[string]string{"now": unix(0), "a-second-ago": unix(-time.Second), "a-year-ago": unix(-365 * 24 * time.Hour), "zero": "0"} {
		w.refuse("expired", "timestamp-"+name, "the key expired then", stamp(value))
	}
	for name, value := range map[string]string{"in-121s": unix(121 * time.Second), "in-32-bits": "2147483647", "in-63-bits": "9223372036854775807"} {
		w.refuse("lifetime-too-long", "timestamp-"+name, "the key claims to live longer than a pushed key may", stamp(value))
	}
	w.write(vector{name: "timestamp-past-configured-lifetime", comment: "the administrator allows less", expect: "lifetime-too-long",
		config: []string{"[keys]", `max_lifetime = "30s"`, `clock_skew = "0s"`}, body: w.good(k)})
	for name, value := range map[string]string{
		"negative": "-1", "plus": "+" + unix(30*time.Second), "text": "tomorrow", "empty": "", "fraction": unix(30*time.Second) + ".5", "exponent": "1e9",
		"hex": "0x7fffffff", "space": " " + unix(30*time.Second), "trailing-space": unix(30*time.Second) + " ", "over-63-bits": "9223372036854775808", "over-64-bits": "99999999999999999999",
	} {
		w.refuse("malformed", "timestamp-"+name, "the Timestamp is no number of seconds", stamp(value))
	}
	w.refuse("malformed", "timestamp-missing", "there is no Timestamp", w.record(f.with(0, ""), k))
	w.refuse("malformed", "timestamp-lower-case", "the field is named timestamp", w.record(f.with(0, "#timestamp="+unix(30*time.Second)), k))
	w.refuse("malformed", "timestamp-twice", "there are two equal Timestamps", w.record(append(fields{f[0]}, f...), k))
	w.refuse("malformed", "timestamp-twice-apart", "the second Timestamp is still live, the first is not", w.record(append(fields{"#Timestamp=1"}, f...), k))

	for name, id := range map[string]string{
		"other": "i-0fedcba9876543210", "prefix": instanceID[:len(instanceID)-1], "longer": instanceID + "0", "upper-case": "I-0123456789ABCDEF0",
		"short-form": "i-01234567", "trailing-space": instanceID + " ", "leading-space": " " + instanceID,
	} {
		w.refuse("wrong-instance", "instance-"+name, "the record is for another instance", w.record(f.with(1, "#Instance="+id), k))
	}
	w.refuse("malformed", "instance-missing", "there is no Instance", w.record(f.with(1, ""), k))
	w.refuse("malformed", "instance-empty", "the Instance is empty", w.record(f.with(1, "#Instance="), k))
	w.refuse("malformed", "instance-twice", "there are two equal Instances", w.record(append(f, f[1]), k))
	w.refuse("malformed", "instance-twice-apart", "the second Instance is this one", w.record(append(fields{"#Instance=i-0fedcba9876543210"}, f...), k))
	w.refuse("malformed", "caller-twice", "there are two Callers", w.record(append(f, "#Caller=arn:aws:iam::123456789012:user/eve"), k))
	w.refuse("malformed", "request-twice", "there are two Requests", w.record(append(f, f[3]), k))
	w.refuse("malformed", "caller-control-character", "the Caller has a carriage return", w.record(f.with(2, f[2]+"\rroot"), k))
	w.refuse("malformed", "caller-escape", "the Caller has an escape sequence", w.record(f.with(2, f[2]+"\x1b[2J"), k))
	w.refuse("malformed", "field-nul", "an unknown field has a NUL", w.record(append(f, "#Future=\x00"), k))

	for name, field := range map[string]string{"caller": f[2], "request": f[3]} {
		text := append(f[:2].text(k), field+"\n"...)
		w.refuse("malformed", name+"-after-key", "the field comes after the key line", keyrecord.Encode(text, w.sign(text)))
	}

	signature := w.sign(f.text(k))
	altered := func(name, comment string, changed fields) {
		w.refuse("bad-signature", name, comment, keyrecord.Encode(changed.text(k), signature))
	}
	altered("timestamp-altered", "the Timestamp was changed after the signature", f.with(0, "#Timestamp="+unix(46*time.Second)))
	other := f.with(1, "#Instance=i-0fedcba9876543210")
	w.refuse("bad-signature", "instance-altered", "a record for another instance was made out to this one", keyrecord.Encode(f.text(k), w.sign(other.text(k))))
	altered("caller-altered", "the Caller was changed after the signature", f.with(2, "#Caller=arn:aws:iam::123456789012:user/eve"))
	altered("caller-removed", "the Caller was taken out after the signature", f.with(2, ""))
	altered("request-altered", "the Request was changed after the signature", f.with(3, "#Request=0"))
	altered("request-removed", "the Request was taken out after the signature", f.with(3, ""))
	altered("field-added", "a field was added after the signature", append(f, "#Future=1"))
	altered("fields-swapped", "two fields were swapped after the signature", fields{f[0], f[1], f[3], f[2]})
	altered("field-space-added", "a space was added after the signature", f.with(3, f[3]+" "))
	future := append(f, "#Future=1")
	w.refuse("bad-signature", "field-removed", "an unknown field was taken out after the signature", keyrecord.Encode(f.text(k), w.sign(future.text(k))))
}

func (w *world) badKeys() {
	k := w.keys
	f := standard(live)
	w.refuse("bad-signature", "key-altered", "the key was changed after the signature", keyrecord.Encode(f.text(k.ed2), w.sign(f.text(k.ed))))
	w.refuse("bad-signature", "key-comment-altered", "the comment was changed after the signature", keyrecord.Encode(f.text(k.ed+" eve"), w.sign(f.text(k.ed+" bob"))))
	for name, key := range map[string]string{"dsa": k.dsa, "certificate": k.cert, "unknown": k.unknown} {
		w.refuse("key-type", "key-"+name, "a key of this type", w.good(key))
	}
	w.write(vector{name: "key-type-not-configured", comment: "the administrator allows Ed25519 only", expect: "key-type",
		config: []string{"[keys]", `types = ["ssh-ed25519"]`}, body: w.good(k.rsa2048)})
	w.refuse("key-too-short", "key-rsa1024", "an RSA key of 1024 bits", w.good(k.rsa1024))
	w.refuse("key-too-short", "key-rsa2040", "an RSA key of 2040 bits", w.good(k.rsa2040))
	w.write(vector{name: "key-shorter-than-configured", comment: "the administrator asks for 4096 bits", expect: "key-too-short",
		config: []string{"[keys]", "min_rsa_bits = 4096"}, body: w.good(k.rsa3072)})

	typ, text, _ := strings.Cut(k.ed, " ")
	edBlob := blob(k.ed)
	point := append([]byte{}, blob(k.p256)...)
	point[len(point)-1] ^= 1
	for name, c := range map[string]struct{ comment, line string }{
		"option":          {"an option comes before the key", "no-pty " + k.ed},
		"command":         {"a command comes before the key", `command="/bin/sh" ` + k.ed},
		"cert-authority":  {"the key is made a CA", "cert-authority " + k.ed},
		"space-first":     {"a space comes first", " " + k.ed},
		"tab":             {"a tab parts type and key", strings.Replace(k.ed, " ", "\t", 1)},
		"carriage-return": {"the line ends in a carriage return", k.ed + "\r"},
		"nul":             {"the comment has a NUL", k.ed + " a\x00b"},
		"escape":          {"the comment has an escape sequence", k.ed + " \x1b[2J"},
		"c1-control":      {"the comment has a C1 control character", k.ed + " a\u0085b"},
		"only-type":       {"there is only a type", typ},
		"only-base64":     {"there is only base64", text},
		"not-a-key":       {"the base64 is none", typ + " notakey!"},
		"wrong-type":      {"the type is that of another key", "ssh-rsa " + text},
		"signature-type":  {"the type is that of a signature", strings.Replace(k.rsa2048, "ssh-rsa", "rsa-sha2-256", 1)},
		"cut-off":         {"the base64 is cut off", k.ed[:len(k.ed)-4]},
		"unpadded":        {"the base64 has no padding", strings.TrimRight(k.p521, "=")},
		"trailing-bits":   {"the base64 has stray bits at its end", strayBits(k.rsa3072)},
		"trailing-data":   {"bytes follow the key", blobLine(typ, append(edBlob, 0))},
		"short-point":     {"an Ed25519 key of 31 bytes", blobLine(typ, ssh.Marshal(struct{ T, K string }{typ, strings.Repeat("k", 31)}))},
		"off-curve":       {"the point is not on the curve", blobLine("ecdsa-sha2-nistp256", point)},
		"huge-length":     {"the first length reaches past the end", blobLine(typ, []byte("\xff\xff\xff\xffssh-ed25519"))},
		"rsa-even-exponent": {"an RSA key with an even exponent", blobLine("ssh-rsa", ssh.Marshal(struct {
			T, E, N string
		}{"ssh-rsa", "\x02", string(number(2048).Bytes())}))},
		"html": {"an error page in its place", "<html><body>404 - Not Found</body></html>"},
	} {
		w.refuse("malformed", "key-"+name, c.comment, w.good(c.line))
	}
	noKey := []byte(strings.Join(f, "\n") + "\n")
	w.refuse("malformed", "key-missing", "there are only fields", noKey)
	w.refuse("malformed", "key-missing-but-signed", "the fields are signed by themselves", keyrecord.Encode(noKey, w.sign(noKey)))
	two := append(f.text(k.ed), k.ed2+"\n"...)
	w.refuse("malformed", "key-twice", "two key lines are signed together", keyrecord.Encode(two, w.sign(two)))
	w.refuse("malformed", "record-too-long", "the record has more than 16 KiB", w.record(append(f, "#Future="+strings.Repeat("x", 16<<10)), k.ed))
	w.refuse("malformed", "record-crlf", "the lines end in CR LF", bytes.ReplaceAll(w.good(k.ed), []byte("\n"), []byte("\r\n")))
	w.refuse("malformed", "junk", "no record at all", []byte("<?xml version=\"1.0\"?>\n<html/>\n"))
	w.refuse("malformed", "junk-binary", "binary junk", []byte{0, 1, 2, 0xff, 0xfe, '#', 0x80, '\n', 0xc3, 0x28})
	w.refuse("malformed", "junk-hash", "a hash sign and nothing else", []byte("#"))
}

func (w *world) badSignatures() {
	key := w.keys.ed
	f := standard(live)
	text := f.text(key)
	good := w.sign(text)
	refuse := func(name, comment string, signature []byte) {
		w.refuse("bad-signature", "signature-"+name, comment, keyrecord.Encode(text, signature))
	}
	flipped := bytes.Clone(good)
	flipped[100] ^= 1
	digest := sha256.Sum256(text)
	digest512 := sha512.Sum512(text)
	refuse("bit-flipped", "one bit is flipped", flipped)
	refuse("cut-short", "the last byte is missing", good[:len(good)-1])
	refuse("longer", "a zero byte follows", append(bytes.Clone(good), 0))
	refuse("zero", "the signature is all zero", make([]byte, len(good)))
	refuse("other-key", "another key signed", signPSS(w.otherKey, text, 32))
	refuse("salt-20", "the salt has 20 bytes", signPSS(w.leafKey, text, 20))
	refuse("salt-64", "the salt has 64 bytes", signPSS(w.leafKey, text, 64))
	refuse("pkcs1", "the padding is that of PKCS #1 v1.5", must(rsa.SignPKCS1v15(nil, w.leafKey, crypto.SHA256, digest[:])))
	refuse("sha512", "the digest is SHA-512", must(rsa.SignPSS(rand.Reader, w.leafKey, crypto.SHA512, digest512[:], &rsa.PSSOptions{SaltLength: 32})))
	refuse("without-last-newline", "the last newline was not signed", w.sign(text[:len(text)-1]))
	refuse("of-key-line-only", "only the key line was signed", w.sign([]byte(key+"\n")))
	refuse("of-other-record", "the signature is that of another record", w.sign(f.text(w.keys.ed2)))

	encoded := base64.StdEncoding.EncodeToString(good)
	malformed := func(name, comment, signature string) {
		w.refuse("malformed", "signature-"+name, comment, append(bytes.Clone(text), signature...))
	}
	malformed("missing", "there is no signature", "\n")
	malformed("missing-at-end", "the record ends before the signature", "")
	malformed("not-base64", "the signature is text", "unsigned!\n\n")
	malformed("url-safe", "the base64 is the URL-safe one", "-_-_"+encoded[4:]+"\n\n")
	malformed("unpadded", "the base64 has no padding", strings.TrimRight(encoded, "=")+"\n\n")
	malformed("cut-off", "the base64 is cut off", encoded[:len(encoded)-3]+"\n")
	malformed("trailing-bits", "the base64 has stray bits at its end", encoded[:len(encoded)-3]+"R==\n\n")
	malformed("space", "a space follows", encoded+" \n\n")
	malformed("too-long", "the signature has more than 1024 bytes", base64.StdEncoding.EncodeToString(make([]byte, 1025))+"\n\n")
}

// neighbours are good records beside bad ones.
func (w *world) neighbours() {
	k := w.keys
	f := standard(live)
	text := f.text(k.ed2)
	bad := []struct {
		name, reason string
		body         []byte
	}{
		{"expired", "expired", w.record(standard(now), k.ed2)},
		{"of-other-instance", "wrong-instance", w.record(f.with(1, "#Instance=i-0fedcba9876543210"), k.ed2)},
		{"forged", "bad-signature", keyrecord.Encode(text, signPSS(w.otherKey, text, 32))},
		{"without-signature", "malformed", append(bytes.Clone(text), '\n')},
		{"of-fields-only", "malformed", []byte(strings.Join(f, "\n") + "\n\n")},
		{"of-junk", "malformed", []byte("junk\n\n")},
		{"with-crlf", "malformed", bytes.ReplaceAll(w.good(k.ed2), []byte("\n"), []byte("\r\n"))},
		{"of-dsa", "key-type", w.good(k.dsa)},
		{"too-long", "malformed", append(bytes.Repeat([]byte("x"), 20<<10), '\n', '\n')},
	}
	write := func(name, comment string, refused []string, body []byte, output ...string) {
		w.write(vector{name: name, comment: comment, expect: "granted", refused: refused, body: body, output: output})
	}
	var all []byte
	var reasons []string
	for _, b := range bad {
		write("neighbour-"+b.name+"-before", "a bad record before a good one", []string{b.reason}, join(b.body, w.good(k.ed)), k.ed)
		write("neighbour-"+b.name+"-after", "a bad record after a good one", []string{b.reason}, join(w.good(k.ed), b.body), k.ed)
		write("neighbour-"+b.name+"-between", "a bad record between two good ones", []string{b.reason}, join(w.good(k.ed), b.body, w.good(k.rsa2048)), k.ed, k.rsa2048)
		all = append(all, b.body...)
		reasons = append(reasons, b.reason)
	}
	write("neighbour-all-before", "all of them before a good one", reasons, join(all, w.good(k.ed)), k.ed)

	glued := func(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\n")) }
	write("glued", "no blank line parts two good records", nil, join(glued(w.good(k.ed)), w.good(k.rsa2048)), k.ed, k.rsa2048)
	future := append(fields{"#Future=1"}, f...)
	write("glued-unknown-field", "no blank line parts two good records, and the second begins with an unknown field", nil,
		join(glued(w.good(k.ed)), w.record(future, k.rsa2048)), k.ed, k.rsa2048)
	write("glued-without-signature", "a record without signature and blank line comes before a good one", []string{"malformed"}, join(text, w.good(k.ed)), k.ed)
	write("glued-junk", "a line of junk without a blank line comes before a good one", []string{"malformed"}, join([]byte("junk\n"), w.good(k.ed)), k.ed)
	write("cut-off-last", "the answer is cut off within the second record", []string{"malformed"}, join(w.good(k.ed), w.good(k.ed2)[:len(text)+100]), k.ed)
}

// strayBits sets a bit that base64 does not use in the last character of a key.
func strayBits(line string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.IndexByte(line, '=') - 1
	if i < 0 {
		panic("the key has no padding")
	}
	return line[:i] + string(alphabet[strings.IndexByte(alphabet, line[i])+1]) + line[i+1:]
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// policyVectors are about who may push for whom.
func (w *world) policyVectors() {
	k := w.keys.ed
	f := standard(live)
	write := func(name, comment, expect, user, caller string, config ...string) {
		v := vector{name: name, comment: comment, expect: expect, user: user, config: config}
		line := ""
		if caller != "" {
			line = "#Caller=" + caller
		}
		v.body = w.record(f.with(2, line), k)
		if expect == "granted" {
			v.output = []string{k}
		}
		w.write(v)
	}
	alice := "arn:aws:sts::123456789012:assumed-role/dba/alice"
	write("users-denied", "a denied user", "user-denied", "root", alice, "[users]", `deny = ["root"]`)
	write("users-denied-by-pattern", "a user denied by a pattern", "user-denied", "svc-db", alice, "[users]", `deny = ["svc-*"]`)
	write("users-denied-by-negated-set", "a set that is negated as the shell does it", "user-denied", "root", alice, "[users]", `deny = ["[!d]*"]`)
	write("users-allowed-by-negated-set", "a set that is negated as the shell does it", "granted", "daemon", alice, "[users]", `deny = ["[!d]*"]`)
	write("users-not-allowed-by-negated-set", "a set that is negated as the shell does it", "user-denied", "root", alice, "[users]", `allow = ["[!r]*"]`)
	write("users-denied-by-class", "a character class", "user-denied", "root", alice, "[users]", `deny = ["[[:lower:]]*"]`)
	write("users-not-allowed", "a user who is not on the list", "user-denied", "bob", alice, "[users]", `allow = ["ec2-user", "admin*"]`)
	write("users-allowed", "a user on the list", "granted", "admin2", alice, "[users]", `allow = ["ec2-user", "admin*"]`)
	write("users-denied-and-allowed", "deny wins over allow", "user-denied", "root", alice, "[users]", `allow = ["*"]`, `deny = ["root"]`)
	rows := func(caller, users string) []string {
		return []string{"[[users.map]]", fmt.Sprintf("caller = %q", caller), "users = [" + users + "]"}
	}
	dba := rows("arn:aws:sts::*:assumed-role/dba/*", `"postgres", "pg-?"`)
	write("map-match", "a row binds the caller to the user", "granted", "postgres", alice, dba...)
	write("map-user-pattern", "a pattern of users", "granted", "pg-1", alice, dba...)
	write("map-second-row", "the second row binds the caller", "granted", "deploy", "arn:aws:iam::123456789012:user/ci/bot",
		append(dba, rows("arn:aws:iam::123456789012:user/*", `"deploy"`)...)...)
	write("map-other-user", "the row is for other users", "caller-not-mapped", "root", alice, dba...)
	write("map-other-role", "the caller has another role", "caller-not-mapped", "postgres", "arn:aws:sts::123456789012:assumed-role/dev/alice", dba...)
	write("map-role-prefix", "the role only begins alike", "caller-not-mapped", "postgres", "arn:aws:sts::123456789012:assumed-role/dbadmin/alice", dba...)
	write("map-over-colon", "a wildcard does not reach over a colon", "caller-not-mapped", "postgres", "arn:aws:sts::1:x:assumed-role/dba/alice", dba...)
	write("map-no-caller", "AWS named no caller", "caller-not-mapped", "postgres", "", dba...)
	write("map-no-caller-star", "a row for everyone is for callers that AWS named", "caller-not-mapped", "postgres", "", rows("arn:*:*:*:*:*", `"*"`)...)
	write("map-users-crossed", "the caller of one row and the users of another", "caller-not-mapped", "deploy", alice,
		append(dba, rows("arn:aws:iam::123456789012:user/*", `"deploy"`)...)...)

	forged := f.text(k)
	w.write(vector{name: "map-forged-caller", comment: "a forged record names a caller who is mapped", expect: "bad-signature", user: "postgres",
		config: dba, body: keyrecord.Encode(forged, signPSS(w.otherKey, forged, 32))})

	for name, user := range map[string]string{"dots": "a.b@c_d-e", "dollar": "machine$", "digit": "1user", "longest": strings.Repeat("u", 32), "port": "i-0123456789abcdef0.port0"} {
		write("user-"+name, "a user name that the API carries", "granted", user, alice)
	}
	for name, user := range map[string]string{
		"traversal": "nobody/../ec2-user", "dot-dot": "..", "slash": "a/b", "percent": "a%2fb", "digits": "1234", "too-long": strings.Repeat("u", 33),
		"dash": "-a", "space": "a b", "empty": emptyValue, "query": "a?b", "umlaut": "bär",
	} {
		write("user-bad-"+name, "a user name that the API cannot carry", "none", user, alice)
	}
}
