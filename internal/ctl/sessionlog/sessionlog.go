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
	// sendTimeout is how long journald may keep an event waiting.
	sendTimeout = 10 * time.Second
)

// A recorder writes each event once.
//
// An event that is sent stays pending until the follower reads it in the journal. The
// state is saved with the pending events. A follower that was killed starts at the saved
// cursor and reaches the same decisions, since session IDs derive from records. It skips
// the events that its predecessor wrote: all of those precede its own first event, since
// journald keeps the order of a socket.
type recorder struct {
	dir      string
	token    string // of this start
	uid      uint64
	follower *sessions.Follower
	send     func(audit.Event) error

	mu     sync.Mutex // guards what follows
	state  *State
	live   bool            // the token was read: journald has not taken what is pending
	found  map[string]bool // events of the predecessor
	saved  time.Time
	timer  *time.Timer
	failed error // of saving
}

// Run follows the journal of this host until ctx is done, and writes an event into it when
// a session opens and when it closes. It saves its position in dir, and continues there
// the next time. It returns an error if the journal cannot be followed, journald does not
// accept an event, or the position cannot be saved.
func Run(ctx context.Context, dir string, trust journal.Trust) error {
	r := &recorder{dir: dir, token: rand.Text(), uid: uint64(os.Getuid()), found: make(map[string]bool), saved: time.Now()}
	r.send = func(e audit.Event) error { return audit.SendWithin(audit.FollowerProgram, e, sendTimeout) }
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
	if err := r.send(start); err != nil {
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

// seen notes that an event is in the journal.
func (r *recorder) seen(record *journal.Record) error {
	e, ok := audit.Decode(record.Text)
	if !ok {
		return nil
	}
	if e.Kind == audit.SessionsFollowed {
		if e.Session != r.token {
			return nil
		}
		// All events of the predecessor were read by now.
		r.live = true
		r.found = nil
		if err := r.sendAll(r.state.Pending); err != nil {
			return err
		}
		r.state.Following = time.Now().UTC()
		return r.save()
	}
	i := slices.IndexFunc(r.state.Pending, func(u audit.Event) bool { return key(u) == key(e) })
	if i < 0 {
		if !r.live {
			r.found[key(e)] = true
		}
		return nil
	}
	r.state.Pending = slices.Delete(r.state.Pending, i, i+1)
	if !r.live || i == 0 {
		return nil
	}
	// Those before it are lost: they are sent again, behind the others.
	lost := slices.Clone(r.state.Pending[:i])
	r.state.Pending = append(slices.Delete(r.state.Pending, 0, i), lost...)
	return r.sendAll(lost)
}

func key(e audit.Event) string { return string(e.Kind) + " " + e.Session }

func (r *recorder) sendAll(events []audit.Event) error {
	for _, e := range events {
		if err := r.send(e); err != nil {
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
	if r.found[key(e)] {
		return
	}
	r.state.Pending = append(r.state.Pending, e)
	if r.live {
		r.failed = errors.Join(r.failed, r.sendAll([]audit.Event{e}))
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
