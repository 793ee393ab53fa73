// Package config reads the agent's configuration, /etc/eic-agent/config.toml.
package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

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
}

// A Duration is written as Go writes one: "4s", "1m30s".
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
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
	c.Cache.Dir = "/run/eic-agent"
	return c
}

// Load reads the configuration at path. Only root may be able to change the
// file; a file that is not there is the default configuration at DefaultPath and
// an error elsewhere. The error is a *reason.Error that names the file and,
// where it can, line and key.
func Load(path string) (*Config, error) {
	text, err := rootfile.Read(path, maxFile)
	switch {
	case path == DefaultPath && errors.Is(err, fs.ErrNotExist):
		return Default(), nil
	case err != nil:
		return nil, fault("cannot use the configuration: %v", err)
	}
	c, err := Parse(text)
	if err != nil {
		return nil, fault("cannot use the configuration: %s: %v", path, err)
	}
	return c, nil
}

// Parse reads a configuration. The error says what is wrong with it, with line
// and key where that can be told.
func Parse(text []byte) (*Config, error) {
	c := Default()
	decoder := toml.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(c); err != nil {
		return nil, locate(err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// locate puts line and key first, which the TOML package keeps apart from its
// message.
func locate(err error) error {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf("line %d: unknown key %q", row, strings.Join(unknown.Errors[0].Key(), "."))
	}
	if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, _ := decode.Position()
		message := strings.TrimPrefix(decode.Error(), "toml: ")
		if key := strings.Join(decode.Key(), "."); key != "" {
			return fmt.Errorf("line %d: %s: %s", row, key, message)
		}
		return fmt.Errorf("line %d: %s", row, message)
	}
	return err
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
		value      time.Duration
		least, max time.Duration
	}{
		{"imds.timeout", c.IMDS.Timeout.Duration, 100 * time.Millisecond, maxTimeout},
		{"keys.max_lifetime", c.Keys.MaxLifetime.Duration, time.Second, 10 * time.Minute},
		{"keys.clock_skew", c.Keys.ClockSkew.Duration, 0, 10 * time.Minute},
	} {
		if d.value < d.least || d.value > d.max {
			return fmt.Errorf("%s: %v is not between %v and %v", d.key, d.value, d.least, d.max)
		}
	}
	for _, domain := range c.Trust.Domains {
		if !isDomain(domain) {
			return fmt.Errorf("trust.domains: %q is not a domain name in lower case", domain)
		}
	}
	if roots := c.Trust.Roots; roots != "" && roots != RootsSystem && !strings.HasPrefix(roots, "/") {
		return fmt.Errorf("trust.roots: %q is neither %q nor an absolute path", roots, RootsSystem)
	}
	if dir := c.Cache.Dir; dir != "" && !strings.HasPrefix(dir, "/") {
		return fmt.Errorf("cache.dir: %q is not an absolute path", dir)
	}
	if c.Keys.MinRSABits < keyrecord.MinRSABits || c.Keys.MinRSABits > 16384 {
		return fmt.Errorf("keys.min_rsa_bits: %d is not between %d and 16384", c.Keys.MinRSABits, keyrecord.MinRSABits)
	}
	for _, t := range c.Keys.Types {
		if !slices.Contains(keyrecord.SupportedTypes(), t) {
			return fmt.Errorf("keys.types: %q is none of %s", t, strings.Join(keyrecord.SupportedTypes(), ", "))
		}
	}
	if err := checkOptions(c.Keys.Options); err != nil {
		return fmt.Errorf("keys.options: %v", err)
	}
	return c.Users.check()
}

// isDomain allows letters, digits, hyphens and, between labels, dots.
func isDomain(s string) bool {
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
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault("cannot use trust.roots: %s holds no certificate", c.Trust.Roots)
	}
	return pool, nil
}

func fault(format string, args ...any) error {
	return reason.New(reason.Config, fmt.Sprintf(format, args...))
}
