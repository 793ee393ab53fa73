// Package authkeys determines the keys of a user for sshd: it fetches the pushed records
// from the metadata service, verifies them, and returns authorized_keys lines.
package authkeys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keycache"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// Paths of the metadata service below latest/meta-data/, and the most
// that is read of each. The keys of a user may be a thousand records of RSA 4096
// keys; a chain of AWS has 7 KiB, a staple 2 KiB.
const (
	keysPath   = "managed-ssh-keys/active-keys/"
	chainPath  = "managed-ssh-keys/signer-cert/"
	staplePath = "managed-ssh-keys/signer-ocsp/"

	instanceIDPath = "instance-id"

	maxKeys   = 1536 << 10
	maxChain  = 64 << 10
	maxStaple = 8 << 10
	maxFact   = 1 << 10
)

// maxReports is how many decisions of one kind are reported one by one in a run:
// keys that were provided, and refusals for each reason. The rest is counted. The
// journal's rate limit is shared with sshd, whose messages must not be lost to
// excessive or forged pushes.
const maxReports = 10

// Metadata is read from the metadata service, by paths below latest/meta-data/.
// Get returns imds.ErrNotFound for an entry that does not exist, and a
// *reason.Error if it cannot determine that.
type Metadata interface {
	Get(ctx context.Context, path string, limit int) ([]byte, error)
}

// An Agent determines keys on one host. New returns that of the running host.
type Agent struct {
	Config   *config.Config
	Metadata Metadata
	Root     fs.FS // the root file system, which shows the hypervisor
	// Roots returns what replaces the built-in roots, or nil. It is called
	// only when there is a record to prove.
	Roots func() (*x509.CertPool, error)
	// Cache holds data of earlier runs; nil is an empty cache.
	Cache   *keycache.Cache
	SSHDPID int // of the sshd that asks, for the events
	// Now is the clock, nil for that of the host. It is read when a run starts, and
	// again when it decides.
	Now func() time.Time
}

// New returns the agent of this host with the configuration cfg. It presents itself to the
// metadata service as userAgent; cache may be nil. Nothing is sent or read yet.
func New(cfg *config.Config, userAgent string, cache *keycache.Cache) *Agent {
	var tokens imds.Tokens
	if cache != nil {
		tokens = cache
	}
	return &Agent{
		Config:   cfg,
		Metadata: imds.New(cfg.IMDS.Endpoint, userAgent, cfg.Patience(), tokens),
		Root:     os.DirFS("/"),
		Roots:    cfg.Roots,
		Cache:    cache,
	}
}

// Close closes the connections to the metadata service.
func (a *Agent) Close() {
	if c, ok := a.Metadata.(interface{ Close() }); ok {
		c.Close()
	}
}

// An Answer is the output for sshd and the events for the journal.
type Answer struct {
	// Lines are authorized_keys lines of proved keys only.
	Lines []byte
	// Events are the decisions on single records: first the refusals that
	// needed no proof, then the others, each in the order served.
	Events []audit.Event
}

// Run answers for user, with keys that filter selects. No error
// and no lines is the everyday answer: nothing was pushed that could be granted.
// An error is always a *reason.Error; then there are no lines, but there may be
// events.
func (a *Agent) Run(ctx context.Context, user string, filter fingerprint.Filter) (Answer, error) {
	if !osuser.Valid(user) {
		return a.nothing(user, "EC2 Instance Connect does not accept this user name"), nil
	}
	id, err := a.identify()
	switch {
	case reason.Of(err) == reason.NotEC2:
		return a.nothing(user, err.Error()), nil
	case err != nil:
		return Answer{}, err
	}
	if answer, ok := a.recall(user, id, filter); ok {
		return answer, nil
	}
	// Runs that ask for the same keys at the same time share one fetch.
	if !filter.IsZero() {
		waited, done := a.Cache.LeadRecords(ctx, user)
		defer done()
		if waited {
			if answer, ok := a.recall(user, id, filter); ok {
				return answer, nil
			}
		}
	}
	r := a.newRun(user, id, filter)
	pushed, err := r.look(ctx)
	switch {
	case err != nil:
		return Answer{Events: r.finish()}, err
	case !pushed:
		return a.nothing(user, "no key is pushed for this user"), nil
	}
	answer := Answer{Lines: r.lines(), Events: r.finish()}
	if len(answer.Events) == 0 {
		return a.nothing(user, "no pushed key has the requested fingerprint"), nil
	}
	return answer, nil
}

// recall answers from the cache. It does so only with a key that is proved, live
// and the one asked for; that there is none is never known from the cache.
func (a *Agent) recall(user, id string, filter fingerprint.Filter) (answer Answer, ok bool) {
	if filter.IsZero() {
		return Answer{}, false
	}
	body, ok := a.Cache.Records(user)
	if !ok {
		return Answer{}, false
	}
	r := a.newRun(user, id, filter)
	r.screen(body)
	if len(r.candidates) == 0 {
		return Answer{}, false
	}
	roots, err := a.Roots()
	if err != nil || !r.decideFromCache(roots) || len(r.granted) == 0 {
		return Answer{}, false
	}
	provided := slices.DeleteFunc(r.finish(), func(e audit.Event) bool { return e.Kind == audit.RecordRefused })
	return Answer{Lines: r.lines(), Events: provided}, true
}

func (a *Agent) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// identify returns the id of this instance, or "" where only the metadata
// service can tell. The error is a *reason.Error.
func (a *Agent) identify() (string, error) {
	if a.Config.Instance.Attest == config.AttestIMDS {
		return "", nil
	}
	id, err := instance.Identify(a.Root)
	switch {
	case errors.Is(err, instance.ErrUnreadable):
		return "", reason.New(reason.BoardUnreadable, err.Error())
	case err != nil:
		return "", reason.New(reason.NotEC2, err.Error())
	}
	return id, nil
}

// nothing is an answer without keys. Its reason is for a person who
// runs the command by hand.
func (a *Agent) nothing(user, why string) Answer {
	return Answer{Events: []audit.Event{{
		Kind:    audit.NothingToSay,
		Message: fmt.Sprintf("nothing to provide for user %.64q: %s", user, why),
		User:    user,
		SSHDPID: a.SSHDPID,
	}}}
}
