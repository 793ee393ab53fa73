package sessionlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
)

const (
	// saveTime is the longest time for which a change is not saved.
	saveTime = time.Second
	// tellTime is how long journald may keep an event waiting.
	tellTime = 10 * time.Second
)

// A recorder tells each event once.
//
// An event is told, and is untold until the follower reads it in the journal itself. The
// state is saved with the events that are untold. So a follower that is killed reads
// from the last cursor, decides the same again, since IDs are those of records, and finds
// in the journal what the one before it has told. What that was is known when its own
// first event comes: journald takes the events of one socket in their order.
type recorder struct {
	dir      string
	token    string // of this start
	uid      uint64
	follower *sessions.Follower
	tell     func(audit.Event) error

	mu     sync.Mutex // guards what follows
	state  *State
	live   bool // the token was read: what is untold was not taken by journald
	told   map[string]bool
	saved  time.Time
	timer  *time.Timer
	failed error // of saving
}

// Run follows the journal of this host until ctx is done, and tells in it of each session
// when it opens and when it closes. It keeps its place in dir. Whoever restarts it
// continues there. It returns an error where the journal cannot be followed, journald
// takes no event, or the place cannot be kept.
func Run(ctx context.Context, dir string, trust journal.Trust) error {
	r := &recorder{dir: dir, token: rand.Text(), uid: uint64(os.Getuid()), told: make(map[string]bool), saved: time.Now()}
	r.tell = func(e audit.Event) error { return audit.Tell(audit.FollowerProgram, e, tellTime) }
	tidy(dir)
	state, err := Load(dir)
	if errors.Is(err, ErrNoState) {
		state, err = &State{Since: time.Now().UTC()}, nil
	}
	if err != nil {
		return err
	}
	r.state = state
	r.follower = sessions.NewFollower(trust, sessions.Filter{Since: state.Since}, r.opened, r.closed)
	r.follower.Restore(state.Sessions)
	if err := r.save(); err != nil {
		return err
	}
	start := audit.Event{Kind: audit.SessionsFollowed, Message: "recording sessions", Session: r.token}
	if err := r.tell(start); err != nil {
		return fmt.Errorf("journald does not accept events: %v", err)
	}
	q := journal.Query{
		After: state.Cursor, Since: state.Since.Add(-sessions.Lead), Matches: append(sessions.Matches(), "+", "SYSLOG_IDENTIFIER="+audit.FollowerProgram),
	}
	err = journal.Follow(ctx, q, r.take)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	return errors.Join(err, r.save())
}

// take takes the next record.
func (r *recorder) take(record *journal.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	own := r.isOwn(record)
	if err := r.follower.Add(record); err != nil {
		return err
	}
	if own {
		if err := r.seen(record); err != nil {
			return err
		}
	}
	r.state.Cursor = record.Cursor()
	if time.Since(r.saved) >= saveTime {
		return r.save()
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(saveTime, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failed = errors.Join(r.failed, r.save())
		})
	}
	return nil
}

// isOwn reports whether a follower of this account wrote the record.
func (r *recorder) isOwn(record *journal.Record) bool {
	origin, ok := record.OriginOf(audit.FollowerProgram)
	return ok && origin.UID == r.uid
}

// seen takes it that an event is in the journal.
func (r *recorder) seen(record *journal.Record) error {
	e, ok := audit.Decode(record.Text)
	if !ok {
		return nil
	}
	if e.Kind == audit.SessionsFollowed {
		if e.Session != r.token {
			return nil
		}
		// What the one before has told was read by now.
		r.live = true
		r.told = nil
		if err := r.tellAll(r.state.Untold); err != nil {
			return err
		}
		r.state.Following = time.Now().UTC()
		return r.save()
	}
	i := slices.IndexFunc(r.state.Untold, func(u audit.Event) bool { return key(u) == key(e) })
	if i < 0 {
		if !r.live {
			r.told[key(e)] = true
		}
		return nil
	}
	r.state.Untold = slices.Delete(r.state.Untold, i, i+1)
	if !r.live || i == 0 {
		return nil
	}
	// Those before it are lost: they are told again, behind the others.
	lost := slices.Clone(r.state.Untold[:i])
	r.state.Untold = append(slices.Delete(r.state.Untold, 0, i), lost...)
	return r.tellAll(lost)
}

func key(e audit.Event) string { return string(e.Kind) + " " + e.Session }

func (r *recorder) tellAll(events []audit.Event) error {
	for _, e := range events {
		if err := r.tell(e); err != nil {
			return fmt.Errorf("journald does not accept events: %v", err)
		}
	}
	return nil
}

// The follower calls these within take.

func (r *recorder) opened(s *sessions.Session) {
	r.event(s.Event(audit.SessionOpened))
}

func (r *recorder) closed(s *sessions.Session) {
	r.event(s.Event(audit.SessionClosed))
}

func (r *recorder) event(e audit.Event) {
	if r.told[key(e)] {
		return
	}
	r.state.Untold = append(r.state.Untold, e)
	if r.live {
		r.failed = errors.Join(r.failed, r.tellAll([]audit.Event{e}))
	}
}

func (r *recorder) save() error {
	r.timer, r.saved = nil, time.Now()
	r.state.Sessions = r.follower.Snapshot()
	if err := r.state.save(r.dir); err != nil {
		return fmt.Errorf("cannot save the position in the journal: %v", err)
	}
	return nil
}
