package audit

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/coreos/go-systemd/v22/journal"
)

// FieldProbe is the field of a probe's token.
const FieldProbe = "EIC_PROBE"

// Probe sends a message with that token in FieldProbe as program, in the same way as
// an event of priority info, and reports whether journald or syslog accepted
// it. It is not an event. Package journal of eicctl reads it back.
func Probe(program, token string) bool {
	s := newSystem(Clean(program, maxValue))
	s.deadline = time.Now().Add(4 * slowTime)
	fs := []zapcore.Field{zap.String(FieldProbe, Clean(token, maxValue))}
	return s.handOver(journal.PriInfo, "test message of eicctl doctor", fs)
}
