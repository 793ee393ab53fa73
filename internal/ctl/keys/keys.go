// Package keys answers `eicctl keys`: what the metadata service holds for a user,
// with the verdict of every check, as text or JSON. It decides nothing: package
// authkeys does.
package keys

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// Text from records, certificates and errors is bounded to what can be read.
const (
	maxShort = 256
	maxLong  = 600
)

// A Report is an inspection as it is shown: no text in it has control
// characters.
type Report struct {
	User string `json:"user"`
	// SSHDUser is the name that sshd asks for where that is another: the one that the
	// host knows the account by.
	SSHDUser string    `json:"sshd_user,omitempty"`
	Time     time.Time `json:"time"`
	Instance Instance  `json:"instance"`
	Granted  int       `json:"granted"` // records
	// Nothing says why there is no record, or nothing was asked.
	Nothing string   `json:"nothing,omitempty"`
	Error   *Fault   `json:"error,omitempty"`
	Records []Record `json:"records"`
	// ReadLimit is the size in bytes at which the list of records was cut off.
	ReadLimit int `json:"read_limit,omitempty"`
	// Login is what keeps the user out of sshd whatever the key, and SSHD why sshd could
	// not be asked.
	Login  []accept.Limit `json:"login,omitempty"`
	SSHD   string         `json:"sshd_unknown,omitempty"`
	Signer *Signer        `json:"signer,omitempty"`
}

// Instance is this instance, as far as it is known.
type Instance struct {
	ID     string `json:"id,omitempty"`
	Source string `json:"source,omitempty"` // board, xen or imds
}

// A Fault says why not.
type Fault struct {
	Reason reason.Word `json:"reason,omitempty"`
	Detail string      `json:"detail"`
	Hint   string      `json:"hint,omitempty"`
}

// The verdicts of a check.
const (
	OK          = "ok"
	Refused     = "refused"
	WouldRefuse = "would-refuse" // if [users] were enforced
	NotChecked  = "not-checked"
)

// A Check is one check of a record.
type Check struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Fix     string `json:"fix,omitempty"` // of what sshd refuses
}

// A Record is one record. What it says of itself is a claim unless Proved.
type Record struct {
	Fingerprint    string     `json:"fingerprint,omitempty"`
	FingerprintMD5 string     `json:"fingerprint_md5,omitempty"`
	KeyType        string     `json:"key_type,omitempty"`
	PublicKey      string     `json:"public_key,omitempty"` // type and base64
	Caller         string     `json:"caller,omitempty"`
	Request        string     `json:"request,omitempty"`
	Instance       string     `json:"instance,omitempty"`
	Expires        *time.Time `json:"expires,omitempty"`
	SecondsLeft    int64      `json:"seconds_left"`
	Proved         bool       `json:"proved"` // the signature is valid
	Granted        bool       `json:"granted"`
	Repeats        bool       `json:"repeats,omitempty"` // as a record above
	Refusal        *Fault     `json:"refusal,omitempty"`
	Checks         []Check    `json:"checks"`
}

// A Signer is the signing chain as it is served.
type Signer struct {
	Region       string        `json:"region,omitempty"`
	Domain       string        `json:"domain,omitempty"`
	Proved       bool          `json:"proved"`
	ValidUntil   *time.Time    `json:"valid_until,omitempty"`
	Fault        *Fault        `json:"fault,omitempty"`
	Certificates []Certificate `json:"certificates"`
	Staples      []Staple      `json:"staples"`
}

// A Certificate is one of the chain.
type Certificate struct {
	Subject   string     `json:"subject,omitempty"`
	Issuer    string     `json:"issuer,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
}

// A Staple is an OCSP response.
type Staple struct {
	Certificate string     `json:"certificate,omitempty"`
	ThisUpdate  *time.Time `json:"this_update,omitempty"`
	NextUpdate  *time.Time `json:"next_update,omitempty"`
	Fault       *Fault     `json:"fault,omitempty"`
}

// Failed is the report where there was not even a configuration to look with.
func Failed(user string, now time.Time, err error) Report {
	return New(authkeys.Inspection{User: user, Err: err}, now)
}

// New returns the report of an inspection at the time now.
func New(in authkeys.Inspection, now time.Time) Report {
	r := Report{
		User:      short(in.User),
		Time:      now.UTC(),
		Instance:  Instance{ID: short(in.Instance), Source: in.Source},
		Granted:   in.Granted(),
		Nothing:   in.Nothing,
		ReadLimit: in.Limit,
		Error:     fault(in.Err),
		Records:   []Record{},
	}
	for _, record := range in.Records {
		r.Records = append(r.Records, newRecord(record, now))
	}
	if in.Signer != nil {
		r.Signer = newSigner(in.Signer)
	}
	return r
}

func newRecord(in authkeys.InspectedRecord, now time.Time) Record {
	r := Record{
		KeyType:  short(in.KeyType()),
		Caller:   short(in.Caller()),
		Request:  short(in.Request()),
		Instance: short(in.Record.Instance()),
		Proved:   in.Checks.Signature.Made && in.Checks.Signature.Fault == nil,
		Granted:  in.Granted,
		Repeats:  in.Repeats,
		Refusal:  fault(in.Refusal),
	}
	if blob := in.Blob(); blob != nil {
		r.Fingerprint, r.FingerprintMD5 = fingerprint.SHA256(blob), fingerprint.MD5(blob)
		r.PublicKey = r.KeyType + " " + base64.StdEncoding.EncodeToString(blob)
	}
	if in.Expires() != 0 {
		r.Expires = moment(time.Unix(in.Expires(), 0))
		r.SecondsLeft = in.Expires() - now.Unix()
	}
	c := in.Checks
	r.Checks = []Check{
		check("form", c.Form, "one public key, with its fields"),
		check("signature", c.Signature, "valid"),
		check("lifetime", c.Lifetime, fmt.Sprintf("%d s left", r.SecondsLeft)),
		check("instance", c.Instance, "this instance"),
		check("key", c.Key, "type and size are allowed"),
		check("user", in.User, "allowed by [users]"),
		check("caller", in.CallerMapped, "allowed by [[users.map]]"),
	}
	if !in.Enforced {
		policy := r.Checks[len(r.Checks)-2:]
		for i := range policy {
			if policy[i].Verdict == Refused {
				policy[i].Verdict = WouldRefuse
			}
		}
	}
	return r
}

func check(name string, v keyrecord.Verdict, passed string) Check {
	switch {
	case !v.Made:
		return Check{Check: name, Verdict: NotChecked}
	case v.Fault != nil:
		return Check{Check: name, Verdict: Refused, Reason: string(v.Fault.Word), Detail: long(v.Fault.Detail)}
	}
	return Check{Check: name, Verdict: OK, Detail: passed}
}

func newSigner(in *authkeys.InspectedSigner) *Signer {
	s := &Signer{
		Region: short(in.Region), Domain: short(in.Domain),
		Proved: in.Err == nil, ValidUntil: moment(in.ValidUntil), Fault: fault(in.Err),
		Certificates: []Certificate{}, Staples: []Staple{},
	}
	for _, c := range in.Certificates {
		s.Certificates = append(s.Certificates, Certificate{
			Subject: short(c.Subject), Issuer: short(c.Issuer),
			NotBefore: moment(c.NotBefore), NotAfter: moment(c.NotAfter), Fault: fault(c.Err),
		})
	}
	for _, c := range in.Staples {
		s.Staples = append(s.Staples, Staple{
			Certificate: short(c.Certificate),
			ThisUpdate:  moment(c.ThisUpdate), NextUpdate: moment(c.NextUpdate), Fault: fault(c.Err),
		})
	}
	return s
}

func fault(err error) *Fault {
	if err == nil {
		return nil
	}
	word := reason.Of(err)
	return &Fault{Reason: word, Detail: long(err.Error()), Hint: word.Hint()}
}

// moment returns t where JSON can say it. A Timestamp and a certificate may name
// years that it cannot.
func moment(t time.Time) *time.Time {
	t = t.UTC()
	if t.IsZero() || t.Year() > 9999 || t.Year() < 0 {
		return nil
	}
	return &t
}

func short(s string) string { return audit.Clean(s, maxShort) }
func long(s string) string  { return audit.Clean(s, maxLong) }
