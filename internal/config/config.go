// Package config reads the agent's configuration, /etc/eic-agent/config.toml and the
// files in /etc/eic-agent/config.d.
package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pelletier/go-toml/v2"

	"github.com/eic-agent/eic-agent/internal/chain"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/rootfile"
)

// DefaultPath is where the configuration is looked for. A missing file there is
// the default configuration.
const DefaultPath = "/etc/eic-agent/config.toml"

const (
	// maxFile bounds the configuration file and the roots that it names.
	maxFile = 1 << 20
	// maxTimeout keeps the promise that sshd has an answer inside 5 seconds.
	maxTimeout = 4 * time.Second
)

// The values of [instance] attest.
const (
	AttestAuto = "auto"
	AttestIMDS = "imds"
)

// RootsSystem as [trust] roots takes the system's roots.
const RootsSystem = "system"

// A Config is a valid configuration.
type Config struct {
	Instance struct {
		Attest string `toml:"attest"`
	} `toml:"instance"`
	IMDS struct {
		Endpoint string   `toml:"endpoint"`
		Timeout  Duration `toml:"timeout"`
	} `toml:"imds"`
	Trust struct {
		Roots   string   `toml:"roots"`
		Domains []string `toml:"domains"`
	} `toml:"trust"`
	Keys struct {
		MaxLifetime Duration `toml:"max_lifetime"`
		ClockSkew   Duration `toml:"clock_skew"`
		MinRSABits  int      `toml:"min_rsa_bits"`
		Types       []string `toml:"types"`
		Options     string   `toml:"options"`
		ExpiryTime  bool     `toml:"expiry_time"`
	} `toml:"keys"`
	Users Users `toml:"users"`
	Cache struct {
		Dir string `toml:"dir"`
	} `toml:"cache"`
	Serial Serial `toml:"serial"`
	Chain  struct {
		Command []string `toml:"command"`
	} `toml:"chain"`
}

// A Duration is written as Go writes one: "4s", "1m30s".
type Duration struct {
	time.Duration
	broken string // what was written instead
}

// Span formats a duration without the zeros at its end: "1m" for time.Duration's "1m0s".
func Span(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// String formats the duration as Span does.
func (d Duration) String() string { return Span(d.Duration) }

// UnmarshalText implements encoding.TextUnmarshaler. It leaves errors to check,
// which knows the key: the TOML package forgets it for what is no string.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		d.broken = fmt.Sprintf("%.40q", text)
	}
	d.Duration = parsed
	return nil
}

// Default returns the configuration of an agent without a file.
func Default() *Config {
	c := new(Config)
	c.Instance.Attest = AttestAuto
	c.IMDS.Endpoint = imds.EndpointIPv4
	c.IMDS.Timeout.Duration = maxTimeout
	c.Keys.MaxLifetime.Duration = 60 * time.Second
	c.Keys.ClockSkew.Duration = 60 * time.Second
	c.Keys.MinRSABits = keyrecord.MinRSABits
	c.Keys.Types = keyrecord.SupportedTypes()
	c.Users.Enforce = true
	c.Cache.Dir = "/run/eic-agent"
	return c
}

// Parse reads a configuration of one file. The error says what is wrong with it, with
// line and key where they are known.
func Parse(text []byte) (*Config, error) {
	c := Default()
	if err := c.merge(text); err != nil {
		return nil, err
	}
	return c, nil
}

// merge reads a file over those before it: a key that it sets replaces the earlier value,
// lists and the rows of [[users.map]] as a whole. An error leaves c unusable.
func (c *Config) merge(text []byte) error {
	decoder := toml.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(c); err != nil {
		return locate(err)
	}
	if err := checkCase(text); err != nil {
		return err
	}
	c.Chain.Command = chain.Join(c.Chain.Command)
	return c.check()
}

// checkCase refuses keys with capitals, which the TOML package takes for the
// keys in lower case: Deny = [] would undo deny = ["root"], and so would a key in
// quotes that writes its capital as an escape.
func checkCase(text []byte) error {
	capitals := false
	for line := range bytes.Lines(text) {
		isComment := bytes.HasPrefix(bytes.TrimSpace(line), []byte("#"))
		capitals = capitals || !isComment && bytes.ContainsFunc(line, func(c rune) bool { return c == '\\' || unicode.ToLower(c) != c })
	}
	if !capitals {
		return nil
	}
	var tables map[string]any
	if err := toml.Unmarshal(text, &tables); err != nil {
		return locate(err)
	}
	return checkKeys(tables)
}

func checkKeys(value any) error {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if key != strings.ToLower(key) {
				return fmt.Errorf("unknown key %.100q: keys are written in lower case", key)
			}
			if err := checkKeys(inner); err != nil {
				return err
			}
		}
	case []any:
		for _, inner := range value {
			if err := checkKeys(inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// locate puts line and key first, which the TOML package keeps apart from its
// message, and leaves out its Go types. The error is one line.
func locate(err error) error {
	return errors.New(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return '?'
		}
		return c
	}, located(err)))
}

func located(err error) string {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		row, _ := unknown.Errors[0].Position()
		return fmt.Sprintf("line %d: unknown key %.100q", row, strings.Join(unknown.Errors[0].Key(), "."))
	}
	if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, _ := decode.Position()
		message, _, _ := strings.Cut(strings.TrimPrefix(decode.Error(), "toml: "), " into struct field ")
		message = strings.Replace(message, "cannot decode TOML", "wrong type:", 1)
		if key := strings.Join(decode.Key(), "."); key != "" {
			return fmt.Sprintf("line %d: %.100s: %s", row, key, message)
		}
		return fmt.Sprintf("line %d: %s", row, message)
	}
	return err.Error()
}

func (c *Config) check() error {
	if c.Instance.Attest != AttestAuto && c.Instance.Attest != AttestIMDS {
		return fmt.Errorf("instance.attest: %q is neither %q nor %q", c.Instance.Attest, AttestAuto, AttestIMDS)
	}
	if err := imds.CheckEndpoint(c.IMDS.Endpoint); err != nil {
		return fmt.Errorf("imds.endpoint: %v", err)
	}
	for _, d := range []struct {
		key        string
		value      Duration
		least, max time.Duration
	}{
		{"imds.timeout", c.IMDS.Timeout, 100 * time.Millisecond, maxTimeout},
		{"keys.max_lifetime", c.Keys.MaxLifetime, time.Second, 10 * time.Minute},
		{"keys.clock_skew", c.Keys.ClockSkew, 0, 10 * time.Minute},
	} {
		if d.value.broken != "" {
			return fmt.Errorf("%s: %s is not a duration like \"4s\"", d.key, d.value.broken)
		}
		if d.value.Duration < d.least || d.value.Duration > d.max {
			return fmt.Errorf("%s: %v is not between %s and %s", d.key, d.value, Span(d.least), Span(d.max))
		}
	}
	for _, domain := range c.Trust.Domains {
		if !IsDomain(domain) {
			return fmt.Errorf("trust.domains: %q is not a domain name in lower case", domain)
		}
	}
	if roots := c.Trust.Roots; roots != "" && roots != RootsSystem && !isPath(roots) {
		return fmt.Errorf("trust.roots: %q is neither %q nor an absolute path", roots, RootsSystem)
	}
	if dir := c.Cache.Dir; dir != "" && !isPath(dir) {
		return fmt.Errorf("cache.dir: %q is not an absolute path", dir)
	}
	if c.Keys.MinRSABits < keyrecord.MinRSABits || c.Keys.MinRSABits > 16384 {
		return fmt.Errorf("keys.min_rsa_bits: %d is not between %d and 16384", c.Keys.MinRSABits, keyrecord.MinRSABits)
	}
	if len(c.Keys.Types) == 0 {
		return errors.New("keys.types: must not be empty")
	}
	for _, t := range c.Keys.Types {
		if !slices.Contains(keyrecord.SupportedTypes(), t) {
			return fmt.Errorf("keys.types: %q is not supported; the types are %s", t, strings.Join(keyrecord.SupportedTypes(), ", "))
		}
	}
	if err := checkOptions(c.Keys.Options); err != nil {
		return fmt.Errorf("keys.options: %v", err)
	}
	if err := c.Serial.check(); err != nil {
		return err
	}
	if err := chain.Check(c.Chain.Command); err != nil {
		return fmt.Errorf("chain.command: %v", err)
	}
	return c.Users.check()
}

// Patience is how long a request to the metadata service may go unanswered before it
// is sent once more.
func (c *Config) Patience() time.Duration { return c.IMDS.Timeout.Duration / 4 }

// isPath allows absolute paths that can stand in a message.
func isPath(s string) bool {
	return strings.HasPrefix(s, "/") && !strings.ContainsFunc(s, unicode.IsControl)
}

// IsDomain allows letters, digits, hyphens and, between labels, dots.
func IsDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// Roots returns the certificates that replace the built-in roots, or nil when
// none are configured. Only root may be able to change the file that it reads.
// The error is a *reason.Error.
func (c *Config) Roots() (*x509.CertPool, error) {
	switch c.Trust.Roots {
	case "":
		return nil, nil
	case RootsSystem:
		// crypto/x509 would let these say where the system's roots are.
		os.Unsetenv("SSL_CERT_FILE")
		os.Unsetenv("SSL_CERT_DIR")
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fault("cannot use trust.roots: %v", err)
		}
		return pool, nil
	}
	text, err := rootfile.Read(c.Trust.Roots, maxFile)
	if err != nil {
		return nil, fault("cannot use trust.roots: %v", err)
	}
	pool, err := parseRoots(text)
	if err != nil {
		return nil, fault("cannot use trust.roots: %s %v", c.Trust.Roots, err)
	}
	return pool, nil
}

// parseRoots reads certificates in PEM. A broken one is an error, where
// crypto/x509 passes over it.
func parseRoots(text []byte) (*x509.CertPool, error) {
	begun := bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----"))
	if begun == 0 {
		return nil, errors.New("contains no certificate")
	}
	pool := x509.NewCertPool()
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			break
		}
		pool.AddCert(cert)
		n++
	}
	if n != begun {
		return nil, fmt.Errorf("contains an invalid certificate: only %d of %d are valid", n, begun)
	}
	return pool, nil
}

func fault(format string, args ...any) error {
	return reason.New(reason.Config, fmt.Sprintf(format, args...))
}
