package audit

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/coreos/go-systemd/v22/journal"
)

// FieldProbe is the field of a probe's token.
const FieldProbe = "EIC_PROBE"

// Probe hands over a record with that token in FieldProbe, in the name of program, as
// an event of priority info is handed over, and reports whether journald or syslog took
// it. It is no event. What became of it, package journal of eicctl finds out.
func Probe(program, token string) bool {
	s := newSystem(Clean(program, maxValue))
	s.deadline = time.Now().Add(4 * slowTime)
	fs := []zapcore.Field{zap.String(FieldProbe, Clean(token, maxValue))}
	return s.handOver(journal.PriInfo, "this record was written to see whether it is kept", fs)
}
