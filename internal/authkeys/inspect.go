package authkeys

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

// An Inspection is what Run would decide, and the result of each check, for a person
// to read. Do not grant access based on it.
type Inspection struct {
	User string
	// Instance is the id of this instance, "" where it is not known.
	Instance string
	// Source says where the id is from: "board", "xen" for a Xen instance whose
	// id the metadata service gives, "imds" where the configuration asks for no
	// board; "" for no EC2 instance.
	Source string
	// Nothing says why nothing was asked or is there, or is "".
	Nothing string
	Records []InspectedRecord
	// Limit is the size in bytes at which the list of records was cut off, 0 where
	// it was read whole.
	Limit int
	// Signer is the signing chain, nil where it was not asked for.
	Signer *InspectedSigner
	// Err says why it is unknown whether a key would be granted:
	// what Run fails with. It is a *reason.Error or nil.
	Err error
}

// Granted returns how many records would be granted.
func (i Inspection) Granted() int {
	n := 0
	for _, r := range i.Records {
		if r.Granted {
			n++
		}
	}
	return n
}

// An InspectedRecord is one record with the result of every check.
type InspectedRecord struct {
	*keyrecord.Record
	Checks keyrecord.Verdicts
	// User and Caller are the configuration's verdicts on the user and the
	// caller that the record names; CallerMapped is not made of a malformed record.
	// Unless Enforced, neither refuses the record.
	User, CallerMapped keyrecord.Verdict
	Enforced           bool
	// Granted and Refusal are what Run decides, neither where it cannot.
	// Refusal is a *reason.Error.
	Granted bool
	Refusal error
	// Repeats says that the same record was served before.
	Repeats bool
}

// An InspectedSigner is the signing chain as it was served.
type InspectedSigner struct {
	Region, Domain string
	Certificates   []signer.Certificate
	Staples        []signer.Staple
	ValidUntil     time.Time // of what is proved
	Err            error     // why it is not proved, a *reason.Error or nil
}

// Inspect makes the same checks as Run, and asks
// for the signer even if no record needs it. It does not use the cache.
func (a *Agent) Inspect(ctx context.Context, user string) Inspection {
	in := Inspection{User: user}
	if !osuser.Valid(user) {
		in.Nothing = "EC2 Instance Connect does not accept this user name"
		return in
	}
	id, source, err := a.identifySource()
	switch {
	case reason.Of(err) == reason.NotEC2:
		in.Nothing = err.Error()
		return in
	case err != nil:
		in.Err = err
		return in
	}
	in.Instance, in.Source = id, source
	body, err := a.Metadata.Get(ctx, keysPath+user+"/", maxKeys)
	cut, isCut := errors.AsType[imds.TooLarge](err)
	switch {
	case isCut:
		body = keyrecord.Whole(cut.Beginning)
		in.Limit = maxKeys
	case errors.Is(err, imds.ErrNotFound):
		in.Nothing = "no key is pushed for this user"
	case err != nil:
		in.Err = err
		return in
	}
	r := a.newRun(user, id, fingerprint.Filter{})
	by, served, inspected := r.inspectSigner(ctx)
	in.Signer = inspected
	in.Instance = cmp.Or(id, served)
	r.inspectRecords(&in, body, by)
	if isCut && in.Granted() == 0 {
		in.Err = cut // a key may be in what was not read
		return in
	}
	if len(in.Records) == 0 {
		in.Nothing = cmp.Or(in.Nothing, "no key is pushed for this user")
	}
	return in
}

// identifySource is identify with the source of the id.
func (a *Agent) identifySource() (id, source string, err error) {
	id, err = a.identify()
	switch {
	case err != nil:
		return "", "", err
	case a.Config.Instance.Attest == config.AttestIMDS:
		return "", "imds", nil
	case id != "":
		return id, "board", nil
	}
	return "", "xen", nil
}

// inspectRecords decides on every record. by is nil where the signer is not
// proved.
func (r *run) inspectRecords(in *Inspection, body []byte, by *signer.Signer) {
	terms := r.terms
	terms.Now = r.now()
	terms.Instance = in.Instance
	seen := make(map[string]bool)
	for record := range keyrecord.Records(body) {
		ir := InspectedRecord{
			Record:   record,
			Checks:   record.Verdicts(by, terms),
			Enforced: r.Config.Users.Enforce,
			User:     verdict(r.permit(r.user)),
			Repeats:  seen[string(record.Text())],
		}
		seen[string(record.Text())] = true
		if ir.Checks.Form.Fault == nil {
			ir.CallerMapped = verdict(r.permitCaller(record.Caller(), r.user))
		}
		switch err := r.screenOne(record); {
		case err != nil:
			ir.Refusal = err
		case by == nil:
			in.Err = in.Signer.Err
		default:
			ir.Refusal = r.decideOne(record, []*signer.Signer{by}, terms).err
			ir.Granted = ir.Refusal == nil
		}
		in.Records = append(in.Records, ir)
	}
}

func verdict(err error) keyrecord.Verdict {
	var fault *reason.Error
	errors.As(err, &fault)
	return keyrecord.Verdict{Made: true, Fault: fault}
}

// inspectSigner asks for the signer, and describes it also where it is not
// proved; then by is nil. id is that of this instance where the board does not
// tell it.
func (r *run) inspectSigner(ctx context.Context) (by *signer.Signer, id string, in *InspectedSigner) {
	in = &InspectedSigner{}
	roots, err := r.Roots()
	if err != nil {
		in.Err = err
		return nil, "", in
	}
	served, err := r.fetchChain(ctx)
	if err != nil {
		in.Err = err
		return nil, "", in
	}
	in.Region, in.Domain = served.Region, served.Domain
	chain, err := signer.Verify(served.Chain, r.trust(roots), served.Region, served.Domain, r.now())
	var staples [][]byte
	if err == nil {
		staples, by, err = r.proveChain(ctx, chain)
	} else if listing, listErr := r.Metadata.Get(ctx, staplePath, maxListing); listErr == nil {
		staples, _ = r.getStaples(ctx, listed(listing, nil))
	}
	in.Certificates, in.Staples = signer.Inspect(chain, served.Chain, staples, r.now())
	if in.Err = err; err != nil {
		return nil, served.InstanceID, in
	}
	in.ValidUntil = by.ValidUntil()
	return by, served.InstanceID, in
}
