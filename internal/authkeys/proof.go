package authkeys

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// A Proof is what is proved of the keys pushed for a user.
type Proof struct {
	Keys []keyrecord.Key // in the order served, each record once
	// Refused are the events of the records that yield no key. A key that is granted only
	// because [users] is not enforced has none: see WouldRefuse.
	Refused []audit.Event
}

// Prove determines the keys pushed for user on the instance id, with the checks of
// Run. It returns events only for refusals: the caller logs the use of a key. An
// error is always a *reason.Error, and there are no keys then.
func (a *Agent) Prove(ctx context.Context, user, id string) (Proof, error) {
	if !osuser.Valid(user) || !instance.IsID(id) {
		return Proof{}, nil
	}
	r := a.newRun(user, id, fingerprint.Filter{})
	_, err := r.look(ctx)
	refused := slices.DeleteFunc(r.finish(), func(e audit.Event) bool { return e.Kind != audit.RecordRefused })
	if err != nil {
		return Proof{Refused: refused}, err
	}
	return Proof{Keys: r.granted, Refused: refused}, nil
}

// InstanceID returns the id of this instance. Where only the metadata service can
// tell, it is asked. The error is a *reason.Error.
func (a *Agent) InstanceID(ctx context.Context) (string, error) {
	id, err := a.identify()
	if err != nil || id != "" {
		return id, err
	}
	body, err := a.Metadata.Get(ctx, instanceIDPath, maxFact)
	if err != nil {
		return "", missing(instanceIDPath, err)
	}
	return servedID(strings.TrimSpace(string(body)))
}

// servedID returns the id that the metadata service gives, which has to look like
// one.
func servedID(id string) (string, error) {
	if !instance.IsID(id) {
		return "", reason.New(reason.IMDSError, fmt.Sprintf("the metadata service returned an invalid instance-id %.64q", id))
	}
	return id, nil
}
