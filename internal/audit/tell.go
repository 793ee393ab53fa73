package audit

import "time"

// FollowerProgram is the name under which the follower of eicctl tells its events.
const FollowerProgram = "eic-sessions"

// Tell hands an event to journald, in the name of program, and waits for a queue that is
// full for as long as limit. Unlike Log it does not turn to syslog, and the error says
// that journald did not take the event. Events of one process reach the journal in the
// order in which they are told.
func Tell(program string, e Event, limit time.Duration) error {
	fs := encode(e)
	return deliver(journalSocket, journalRecord(priority(e.Kind.level()), Clean(program, maxValue), Clean(e.Message, maxMessage), fs), limit, nil)
}
