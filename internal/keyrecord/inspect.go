package keyrecord

import (
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

// Verdicts are the results of the checks of Prove, each by itself, for a person
// to read. They grant nothing: only Prove does.
type Verdicts struct {
	Form, Signature, Lifetime, Instance, Key Verdict
}

// A Verdict is the result of one check of a record. The zero Verdict is of a check
// that was not made.
type Verdict struct {
	Made  bool
	Fault *reason.Error // why the record does not pass, or nil
}

// Verdicts makes every check that can be made: of a malformed record no other
// one, without by not that of the signature, and without the id of this instance
// in t not that of the instance. The filter in t is left alone.
func (r *Record) Verdicts(by *signer.Signer, t Terms) Verdicts {
	v := Verdicts{Form: Verdict{true, r.fault}}
	if r.fault != nil {
		return v
	}
	if by != nil {
		v.Signature = Verdict{true, r.checkSignature(by)}
	}
	v.Lifetime = Verdict{true, r.checkLifetime(t)}
	if t.Instance != "" {
		v.Instance = Verdict{true, r.checkInstance(t)}
	}
	_, fault := r.checkKey(t)
	v.Key = Verdict{true, fault}
	return v
}

// Instance returns the id of the instance that the record says it is for.
func (r *Record) Instance() string { return r.instance }
