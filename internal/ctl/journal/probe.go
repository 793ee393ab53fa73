package journal

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// probeInterval is the time between two looks for a probe.
const probeInterval = 100 * time.Millisecond

// FindProbe looks for the record that audit.Probe handed over with that program and
// token, not longer ago than a minute. It waits for journald until ctx is done, and
// reports whether the record is in the journal of this host, and whose uid it has. The
// error says why the journal could not be read.
func FindProbe(ctx context.Context, program, token string) (found bool, uid uint64, err error) {
	// systemd before 228 has no --sync; only root may use it.
	_, _ = hostcmd.Output(ctx, "journalctl", "--sync")
	q := Query{Since: time.Now().Add(-time.Minute), Matches: []string{"SYSLOG_IDENTIFIER=" + program}}
	for {
		_, err := Read(ctx, q, func(r *Record) error {
			// Over syslog the token is part of the message.
			if r.Text(audit.FieldProbe) != token && !strings.HasSuffix(r.Text("MESSAGE"), " "+audit.FieldProbe+"="+token) {
				return nil
			}
			uid, _ = r.Number("_UID")
			return errEnough
		})
		switch {
		case errors.Is(err, errEnough):
			return true, uid, nil
		case ctx.Err() != nil:
			return false, 0, nil
		case err != nil:
			return false, 0, err
		}
		select {
		case <-ctx.Done():
			return false, 0, nil
		case <-time.After(probeInterval):
		}
	}
}
