// Package fault is about faults to order: how one is written down, when it
// strikes, and what it does to an HTTP exchange. What faults there are is the
// emulator's business.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Spec orders one fault. Every restriction that is empty is none.
type Spec struct {
	Name  string
	Value string // what the fault takes, such as a duration; may be empty

	Service     string // "api" or "imds"
	Instance    string // id, of a metadata service
	Path        string // what the path of the request begins with
	Operation   string // of the API, such as SendSSHPublicKey
	Certificate string // leaf, intermediate or root: whose staple it is

	Share float64       // of the requests that fit, evenly; 0 means all
	After int           // requests that fit before the first strikes
	Times int           // strikes in all; 0 means no end
	From  time.Duration // since the order
	Until time.Duration // since the order; 0 means no end
}

// Services.
const (
	API  = "api"
	IMDS = "imds"
)

// ParseSpec reads NAME[=VALUE][,RESTRICTION=VALUE]..., in which a value cannot
// have a comma.
func ParseSpec(text string) (Spec, error) {
	var spec Spec
	for i, part := range strings.Split(text, ",") {
		name, value, given := strings.Cut(part, "=")
		if i == 0 {
			spec.Name, spec.Value = name, value
			continue
		}
		if !given || value == "" {
			return Spec{}, fmt.Errorf("fault %q: %q is not NAME=VALUE", text, part)
		}
		if err := spec.restrict(name, value); err != nil {
			return Spec{}, fmt.Errorf("fault %q: %w", text, err)
		}
	}
	if err := spec.check(); err != nil {
		return Spec{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return spec, nil
}

// restrict sets one restriction.
func (s *Spec) restrict(name, value string) (err error) {
	switch name {
	case "service":
		s.Service = value
	case "instance":
		s.Instance = value
	case "path":
		s.Path = value
	case "operation":
		s.Operation = value
	case "certificate":
		s.Certificate = value
	case "share":
		s.Share, err = strconv.ParseFloat(value, 64)
		if err == nil && s.Share == 0 {
			return errors.New("share must be greater than 0")
		}
	case "after":
		s.After, err = strconv.Atoi(value)
	case "times":
		s.Times, err = strconv.Atoi(value)
	case "from":
		s.From, err = time.ParseDuration(value)
	case "until":
		s.Until, err = time.ParseDuration(value)
	default:
		return fmt.Errorf("there is no restriction %q, only service, instance, path, operation, certificate, share, after, times, from and until", name)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be %q", name, value)
	}
	return nil
}

func (s Spec) check() error {
	switch {
	case s.Name == "":
		return errors.New("no name")
	case s.Service != "" && s.Service != API && s.Service != IMDS:
		return fmt.Errorf("service must be %s or %s, not %q", API, IMDS, s.Service)
	case s.Certificate != "" && !slices.Contains(certificates(), s.Certificate):
		return fmt.Errorf("certificate must be %s, not %q", strings.Join(certificates(), ", "), s.Certificate)
	case !(s.Share >= 0 && s.Share <= 1):
		return fmt.Errorf("share must be between 0 and 1, not %v", s.Share)
	case s.After < 0, s.Times < 0, s.From < 0, s.Until < 0, s.Until > 0 && s.Until <= s.From:
		return errors.New("after, times, from and until must not be negative, and until must be later than from")
	}
	return nil
}

func certificates() []string { return []string{"leaf", "intermediate", "root"} }

// Concerns reports whether the staple of the certificate at place i of the
// chain is meant.
func (s Spec) Concerns(i int) bool {
	return s.Certificate == "" || slices.Index(certificates(), s.Certificate) == i
}

// String writes the spec as ParseSpec reads it.
func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	if s.Value != "" {
		b.WriteString("=" + s.Value)
	}
	write := func(name, value string) {
		if value != "" && value != "0" && value != "0s" {
			b.WriteString("," + name + "=" + value)
		}
	}
	write("service", s.Service)
	write("instance", s.Instance)
	write("path", s.Path)
	write("operation", s.Operation)
	write("certificate", s.Certificate)
	write("share", strconv.FormatFloat(s.Share, 'g', -1, 64))
	write("after", strconv.Itoa(s.After))
	write("times", strconv.Itoa(s.Times))
	write("from", s.From.String())
	write("until", s.Until.String())
	return b.String()
}
