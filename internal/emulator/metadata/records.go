package metadata

import (
	"bytes"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/signing"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// keysOf returns what is served for a user to a session that sees the
// generation g of the signer; false when there is nothing.
func (s *Service) keysOf(m *world.Machine, g *signing.Generation, user string, now time.Time, t fault.Target) (body []byte, found bool, err error) {
	s.o.World.Lock()
	records := m.Records.Of(user, now)
	s.o.World.Unlock()
	if len(records) == 0 {
		return nil, false, nil
	}
	var faults []fault.Spec
	if slices.ContainsFunc(records, func(r *world.Record) bool { return r.Raw == nil }) {
		faults = s.o.Faults.Strike(fault.LayerRecord, t, nil)
	}
	var b bytes.Buffer
	for _, r := range records {
		one, err := s.renderRecord(g, r, now, faults)
		if err != nil {
			return nil, false, err
		}
		b.Write(one)
	}
	return b.Bytes(), true, nil
}

// renderRecord applies the faults of records.
func (s *Service) renderRecord(g *signing.Generation, r *world.Record, now time.Time, faults []fault.Spec) ([]byte, error) {
	if len(faults) == 0 || r.Raw != nil {
		return g.Render(r)
	}
	statement, by := r.Statement, g
	for _, spec := range faults {
		kind := recordFaults[spec.Name]
		if kind.statement != nil {
			kind.statement(&statement, now)
		}
		if kind.foreignSigner {
			var err error
			if by, err = s.o.Signers.Foreign(); err != nil {
				return nil, err
			}
		}
	}
	body, err := by.Sign(statement)
	if err != nil {
		return nil, err
	}
	for _, spec := range faults {
		if change := recordFaults[spec.Name].served; change != nil {
			body = change(body)
		}
	}
	return body, nil
}
