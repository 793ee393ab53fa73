package keyrecord

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

// MinRSABits is the least that Terms may ask of an RSA key.
const MinRSABits = 2048

// Terms are what a record has to meet besides being signed. The zero Terms are
// met by no record.
type Terms struct {
	Now         time.Time
	Instance    string        // the id of this instance
	MaxLifetime time.Duration // how long a key may live from now on
	ClockSkew   time.Duration // added to MaxLifetime
	Types       []string      // of SupportedTypes
	MinRSABits  int           // raised to the constant MinRSABits where it is less
	Fingerprint fingerprint.Filter
}

// ErrOtherKey is what Check and Prove return for a record of a key that the
// fingerprint filter does not select: it is no refusal.
var ErrOtherKey = errors.New("the record is for another key")

// Check returns whether the record meets the terms: nil, ErrOtherKey, or a
// *reason.Error. It verifies no signature: it avoids fetching the signer if no
// record needs it. The instance is checked last: wrong-instance means that all
// other terms are met.
func (r *Record) Check(t Terms) error {
	_, err := r.check(t)
	return err
}

func (r *Record) check(t Terms) (ssh.PublicKey, error) {
	if r.key.blob != nil && !r.key.selectedBy(t.Fingerprint) {
		return nil, ErrOtherKey
	}
	if r.fault != nil {
		return nil, r.fault
	}
	if fault := r.checkLifetime(t); fault != nil {
		return nil, fault
	}
	pub, fault := r.checkKey(t)
	if fault != nil {
		return nil, fault
	}
	if fault := r.checkInstance(t); fault != nil {
		return nil, fault
	}
	return pub, nil
}

func (r *Record) checkLifetime(t Terms) *reason.Error {
	if now := t.Now.Unix(); r.expires <= now {
		return reason.New(reason.Expired, fmt.Sprintf("the key expired %d s ago", now-r.expires))
	}
	return t.checkEnd(r.expires)
}

// checkEnd says whether a key that expires then, in Unix seconds, lives too long.
func (t Terms) checkEnd(expires int64) *reason.Error {
	if limit := t.Now.Add(t.MaxLifetime + t.ClockSkew); expires > limit.Unix() {
		return reason.New(reason.LifetimeTooLong, fmt.Sprintf("the key expires in %d s, more than the limit of %d s", expires-t.Now.Unix(), int64((t.MaxLifetime+t.ClockSkew)/time.Second)))
	}
	return nil
}

func (r *Record) checkKey(t Terms) (ssh.PublicKey, *reason.Error) {
	return r.key.check(t.Types, t.minRSABits())
}

func (t Terms) minRSABits() int { return max(t.MinRSABits, MinRSABits) }

func (r *Record) checkInstance(t Terms) *reason.Error {
	if r.instance != t.Instance || t.Instance == "" {
		return reason.New(reason.WrongInstance, fmt.Sprintf("the record is for instance %.40q, not this one, %.40q", r.instance, t.Instance))
	}
	return nil
}

func (r *Record) checkSignature(by *signer.Signer) *reason.Error {
	if !by.Signed(r.signed, r.signature) {
		return reason.New(reason.BadSignature, "the signature of the record is not valid")
	}
	return nil
}

// A Key is a verified public key: AWS signed that Caller pushed it for this
// instance, and it is valid. Only Prove makes one; the zero Key prints nothing.
//
// Not verified is the OS user it was pushed for. The record does not have it;
// it is bound to the user only by the path at which it is served.
type Key struct {
	pub     ssh.PublicKey
	expires time.Time
	caller  string
	request string
	record  *Record
}

// Prove checks everything: the terms, and that by signed exactly this record.
// On any error the Key is zero; the error is ErrOtherKey or a *reason.Error.
func (r *Record) Prove(by *signer.Signer, t Terms) (Key, error) {
	pub, err := r.check(t)
	if err != nil {
		return Key{}, err
	}
	if fault := r.checkSignature(by); fault != nil {
		return Key{}, fault
	}
	return Key{pub: pub, expires: time.Unix(r.expires, 0), caller: r.caller, request: r.request, record: r}, nil
}

// Blob returns the key in SSH wire format, encoded anew from the parsed key.
func (k Key) Blob() []byte {
	if k.pub == nil {
		return nil
	}
	return k.pub.Marshal()
}

// Type returns the key type.
func (k Key) Type() string {
	if k.pub == nil {
		return ""
	}
	return k.pub.Type()
}

// Bits returns the size of an RSA key, and 0 for any other key.
func (k Key) Bits() int { return rsaBits(k.pub) }

// Expires returns the first second at which the key is no longer live.
func (k Key) Expires() time.Time { return k.expires }

// Caller returns the signed IAM principal; it is empty where AWS gave none.
func (k Key) Caller() string { return k.caller }

// Request returns the signed API request id; it is empty where AWS gave none.
func (k Key) Request() string { return k.request }

// Signed returns the bytes that AWS signed, which distinguish one push from
// another; nil for the zero Key. How the signature is written is not among them.
func (k Key) Signed() []byte {
	if k.record == nil {
		return nil
	}
	return k.record.signed
}
