package audit

import (
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A value of several lines is no way to a field of its own.
func TestJournalRecord(t *testing.T) {
	t.Parallel()
	got := string(journalRecord(journal.PriWarning, "prog", "a\nPRIORITY=0", []zapcore.Field{zap.String("EIC_USER", "alice"), zap.String("EIC_CALLER", "")}))
	want := "PRIORITY=4\nSYSLOG_IDENTIFIER=prog\nSYSLOG_FACILITY=10\n" +
		"MESSAGE\n\x0c\x00\x00\x00\x00\x00\x00\x00a\nPRIORITY=0\nEIC_USER=alice\nEIC_CALLER=\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
