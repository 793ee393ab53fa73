// Package fingerprints answers `eicctl fingerprint`: every fingerprint of a key,
// each with the place where it is shown.
package fingerprints

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/textfile"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// maxFile bounds a file of keys, such as known_hosts.
const maxFile = 8 << 20

// maxShown bounds the text from a file that is shown.
const maxShown = 200

// Forms that package fingerprint does not read.
const (
	privateKey  fingerprint.Form = "private-key"
	certificate fingerprint.Form = "certificate"
)

// A Report is a key and its fingerprints.
type Report struct {
	File         string           `json:"file"`
	LineNumber   int              `json:"line,omitempty"` // where a file has several keys
	Type         string           `json:"type"`
	Bits         int              `json:"bits"`
	Form         fingerprint.Form `json:"form"`
	Comment      string           `json:"comment,omitempty"`
	Fingerprints []Shown          `json:"fingerprints"`

	key fingerprint.Key
}

// Line returns the key as `type base64`.
func (r *Report) Line() string { return r.key.Line() }

// Shown is a fingerprint as it is shown somewhere.
type Shown struct {
	Where       string `json:"where"` // one word
	Place       string `json:"place"` // for people
	Fingerprint string `json:"fingerprint,omitempty"`
	// Note says why there is no fingerprint, or what to know of it.
	Note string `json:"note,omitempty"`
}

// ReadFile reports on the keys in the file at path.
func ReadFile(path string) ([]*Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, textfile.WithoutPath(err)
	}
	defer f.Close()
	return Read(f, path)
}

// Read reports on the keys in r. Beside the keys that it has read it may return an
// error about another one. The error never has text from the file, which may be a
// secret, and does not name it.
func Read(r io.Reader, name string) ([]*Report, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, textfile.WithoutPath(err)
	case len(content) > maxFile:
		return nil, fmt.Errorf("it has more than %d MiB, more than a file of keys", maxFile>>20)
	}
	keys := findDER(content)
	if len(keys) == 0 {
		text, _ := io.ReadAll(textfile.Reader(bytes.NewReader(content))) // memory does not fail
		keys, err = find(string(text), 0)
	}
	var reports []*Report
	for _, k := range keys {
		report := &Report{
			File:         name,
			Type:         k.key.Type(),
			Bits:         bits(k.key),
			Form:         k.key.Form,
			Comment:      audit.Clean(k.key.Comment, maxShown),
			Fingerprints: shown(k.key, k.private),
			key:          k.key,
		}
		if len(keys) > 1 {
			report.LineNumber = k.line
		}
		reports = append(reports, report)
	}
	return reports, err
}

// bits returns the size that ssh-keygen -l prints.
func bits(key fingerprint.Key) int {
	switch key.Type() {
	case ssh.KeyAlgoECDSA384:
		return 384
	case ssh.KeyAlgoECDSA521:
		return 521
	case ssh.KeyAlgoRSA:
		return key.RSABits()
	case "ssh-dss": // ssh.InsecureKeyAlgoDSA
		return dsaBits(key.Blob())
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return 256
	}
	return 0
}

// The places where fingerprints are shown.
const (
	ec2Imported   = "ec2-imported"
	ec2Created    = "ec2-created"
	lightsail     = "lightsail"
	sshKeygen     = "ssh-keygen"
	sshKeygenMD5  = "ssh-keygen-md5"
	sshdLog       = "sshd-log"
	noMD5         = "FIPS 140 is enforced here, which rules it out"
	onlyByPrivate = "needs the private key: give its file"
)

// shown returns the fingerprints of key. private is nil where only the public key
// is at hand.
func shown(key fingerprint.Key, private crypto.Signer) []Shown {
	blob := key.Blob()
	sha256, md5 := fingerprint.SHA256(blob), fingerprint.MD5(blob)
	list := []Shown{
		{Where: ec2Imported, Place: "EC2 console, imported pair", Fingerprint: key.EC2()},
		{Where: ec2Created, Place: "EC2 console, pair made by EC2", Fingerprint: fingerprint.EC2Created(private)},
		{Where: lightsail, Place: "Lightsail", Fingerprint: key.Lightsail(), Note: "AWS does not say how; taken to be EC2's"},
		{Where: sshKeygen, Place: "ssh-keygen -l", Fingerprint: sha256},
		{Where: sshKeygenMD5, Place: "ssh-keygen -l -E md5", Fingerprint: md5},
		{Where: sshdLog, Place: "sshd's log, Accepted publickey", Fingerprint: sha256, Note: "MD5 with FingerprintHash md5"},
	}
	taken := key.Type() == ssh.KeyAlgoRSA || key.Type() == ssh.KeyAlgoED25519
	for i := range list {
		s := &list[i]
		switch {
		case s.Where == ec2Created && key.Type() == ssh.KeyAlgoED25519:
			s.Fingerprint = key.EC2()
		case s.Fingerprint != "":
		case !taken && s.Where != sshKeygenMD5:
			s.Note = "takes no keys of this type"
		case fips140.Enforced():
			s.Note = noMD5
		case s.Where == ec2Created:
			s.Note = onlyByPrivate
		}
	}
	return list
}

// Heading describes the key itself in one line.
func (r *Report) Heading() string {
	forms := map[fingerprint.Form]string{
		fingerprint.OpenSSH:       "an OpenSSH line",
		fingerprint.RFC4716:       "RFC 4716",
		fingerprint.PEM:           "PEM",
		fingerprint.DERBase64:     "DER in base64",
		fingerprint.OpenSSHBase64: "an OpenSSH line in base64",
		privateKey:                "a private key",
		certificate:               "a certificate of it",
	}
	place := audit.Clean(r.File, maxShown)
	if r.LineNumber > 0 {
		place += fmt.Sprintf(":%d", r.LineNumber)
	}
	text := fmt.Sprintf("%s: %s, %d bits, from %s", place, r.Type, r.Bits, forms[r.Form])
	if r.Comment != "" {
		text += ", comment " + r.Comment
	}
	return text
}

// Text writes the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	b.WriteString(r.Heading() + "\n")
	for _, s := range r.Fingerprints {
		line := s.Fingerprint
		switch {
		case line == "":
			line = "(" + s.Note + ")"
		case s.Note != "":
			line += "  (" + s.Note + ")"
		}
		fmt.Fprintf(&b, "  %-31s %s\n", s.Place, line)
	}
	return b.String()
}
