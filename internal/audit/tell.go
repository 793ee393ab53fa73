package audit

import "time"

// FollowerProgram is the program name of the events of eicctl's follower.
const FollowerProgram = "eic-sessions"

// Tell sends an event of program to journald, and waits for a queue that is
// full for as long as limit. Unlike Log it does not turn to syslog, and the error says
// that journald did not accept the event. Events of one process reach the journal in the
// order in which they are sent.
func Tell(program string, e Event, limit time.Duration) error {
	fs := Encode(e)
	return deliver(journalSocket, journalRecord(priority(e.Kind.level()), Clean(program, maxValue), Clean(e.Message, maxMessage), fs), limit, nil)
}
