package audit

import "time"

// FollowerProgram is the program name of the events of eicctl's follower.
const FollowerProgram = "eic-sessions"

// SendWithin sends an event of program to journald. It waits at most limit for room in
// journald's queue, and returns an error if journald does not accept the event: unlike
// Log it does not fall back to syslog. The journal keeps the order of a process's events.
func SendWithin(program string, e Event, limit time.Duration) error {
	fs := Encode(e)
	return deliver(journalSocket, journalRecord(priority(e.Kind.level()), Clean(program, maxValue), Clean(e.Message, maxMessage), fs), limit, nil)
}
