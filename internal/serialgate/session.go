package serialgate

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/config"
)

// A session is the getty and what it becomes: one process, the name prompt of
// agetty first, then login with its password prompt, then login with somebody
// logged in.
type session struct {
	plan
	gate    string // the name of the process's program before it is the getty
	started uint64 // when the process was, in ticks since boot
	opened  time.Time
	child   child // of login, and when it was first seen
	childAt time.Time
	doubted time.Time // when there was a child after the time of login, first
	input   input
	// When the session was warned of its end, zero where it was not.
	sessionWarned, idleWarned time.Time
}

func newSession(p plan) (*session, error) {
	of, err := readProcess(p.PID)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &session{plan: p, gate: of.name, started: of.started, opened: now}
	s.input.observe(inputTime(p.TTY), now)
	s.input.last = now
	return s, nil
}

// A phase is how far the getty has come.
type phase int

const (
	over       phase = iota // the process has ended
	asksName                // nobody has given a name yet
	asksSecret              // login asks for what proves it
	mayBeIn                 // login has a child, which may be a helper or a shell
	loggedIn
)

// phase finds out how far the getty has come. Somebody is logged in where the
// process is neither agetty nor login any more, or where it is login and has had
// the same child for a while: login stays, as the parent of the shell, to close
// the session, and what it runs before, such as helpers of PAM, does not last.
// utmp has this too, but not every distribution still has utmp.
func (s *session) phase(now time.Time) phase {
	of, err := readProcess(s.PID)
	if err != nil || of.started != s.started || of.dead() {
		return over
	}
	switch of.name {
	case gettyName, s.gate:
		return asksName
	case "login":
	default:
		return loggedIn
	}
	c, ok := childOf(s.PID, s.child)
	if !ok {
		s.child = child{}
		return asksSecret
	}
	if c != s.child {
		s.child, s.childAt = c, now
	}
	if now.Sub(s.childAt) < s.Limits.Settle {
		return mayBeIn
	}
	return loggedIn
}

// await waits until the line has to be hung up, and says why, or until the getty
// has ended or nothing is left to watch: then it returns "".
func (s *session) await() (why string) {
	for {
		now := time.Now()
		next, why := s.step(now)
		if why != "" || next.IsZero() {
			return why
		}
		if s.ended(time.Until(next)) {
			return ""
		}
	}
}

// step looks at the getty at the time now. It says why the line has to be hung up,
// or when to look again: never where the time is zero.
func (s *session) step(now time.Time) (next time.Time, why string) {
	window := s.opened.Add(s.Left)
	switch s.phase(now) {
	case over:
		if !s.gone() {
			return now.Add(falseAlarm), ""
		}
		return time.Time{}, ""
	case asksName:
		end := window.Add(s.Limits.Grace)
		if !now.Before(end) {
			return end, "no user name within the time limit"
		}
		return end, ""
	case asksSecret:
		end := window.Add(s.Limits.Login)
		if !now.Before(end) {
			return end, "no login within the time limit"
		}
		return end, ""
	case mayBeIn:
		// A shell that was there at the end of login's time is a session when it
		// is looked at again; what is another child by then is none.
		if !now.Before(window.Add(s.Limits.Login)) {
			switch {
			case s.doubted.IsZero():
				s.doubted = now
			case !now.Before(s.doubted.Add(s.Limits.Settle)):
				return now, "no login within the time limit"
			}
		}
		return s.childAt.Add(s.Limits.Settle), ""
	}
	return s.stepSession(now)
}

// stepSession is step while somebody is logged in.
func (s *session) stepSession(now time.Time) (next time.Time, why string) {
	for _, e := range s.endings(now) {
		end := e.end
		// The user gets all of the time that was announced.
		if !e.warnedAt.IsZero() && end.Before(e.warnedAt.Add(s.Limits.Warning)) {
			end = e.warnedAt.Add(s.Limits.Warning)
		}
		at := end.Add(-s.Limits.Warning)
		switch {
		case e.warnedAt.IsZero() && now.Before(at):
		case e.warnedAt.IsZero():
			*e.warnedAt = now
			s.tell(fmt.Sprintf("%s; the line is hung up in %s", e.warning, config.Span(s.Limits.Warning)))
			at = now.Add(s.Limits.Warning)
		case now.Before(end):
			at = end
		default:
			return now, e.why
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next, ""
}

// An ending is one reason to end a session.
type ending struct {
	end      time.Time
	warnedAt *time.Time // when the session was warned of it; zero: not yet
	why      string
	warning  string
}

func (s *session) endings(now time.Time) []ending {
	var all []ending
	if limit := s.Limits.Session; limit > 0 {
		all = append(all, ending{s.opened.Add(limit), &s.sessionWarned,
			fmt.Sprintf("the session reached its limit of %s", config.Span(limit)),
			fmt.Sprintf("this session is limited to %s", config.Span(limit))})
	}
	if limit := s.Limits.Idle; limit > 0 {
		if s.input.observe(inputTime(s.TTY), now) {
			s.idleWarned = time.Time{}
		}
		all = append(all, ending{s.input.last.Add(limit + s.Limits.Coarse), &s.idleWarned,
			fmt.Sprintf("no input for %s", config.Span(limit)),
			"no input: press a key to stay"})
	}
	return all
}

// ended waits for at most d, and reports whether the getty has ended.
func (s *session) ended(d time.Duration) bool {
	deadline := time.Now().Add(d)
	for alarms := 0; s.HasFD; {
		left := unix.NsecToTimespec(int64(max(0, time.Until(deadline))))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: pidfdNumber, Events: unix.POLLIN}}, &left, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			s.HasFD = false
		case n == 0:
			return false
		case s.gone():
			return true
		default:
			if alarms++; alarms == maxAlarms {
				s.HasFD = false
			}
			time.Sleep(falseAlarm)
		}
	}
	return s.endedSlowly(time.Until(deadline))
}

// gone reports whether the getty has ended. Right after one of its threads has run
// another program both its pidfd and /proc can say so when it has not, for as long
// as that takes: so both have to, and more than once.
func (s *session) gone() bool {
	for range confirmations {
		of, err := readProcess(s.PID)
		if err == nil && of.started == s.started && !of.dead() {
			return false
		}
		if s.HasFD {
			n, err := unix.Ppoll([]unix.PollFd{{Fd: pidfdNumber, Events: unix.POLLIN}}, &unix.Timespec{}, nil)
			if err == nil && n == 0 {
				return false
			}
		}
		time.Sleep(falseAlarm)
	}
	return true
}

const (
	// falseAlarm is the wait after one, and maxAlarms how many there may be
	// before the pidfd is good for nothing.
	falseAlarm = 50 * time.Millisecond
	maxAlarms  = 20
	// confirmations is how often an end has to be seen.
	confirmations = 3
)

// lookEvery is how often it is looked whether the getty still runs, on kernels
// before 5.3.
const lookEvery = 5 * time.Second

func (s *session) endedSlowly(d time.Duration) bool {
	for deadline := time.Now().Add(d); ; {
		if s.gone() {
			return true
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		time.Sleep(min(left, lookEvery))
	}
}

// signal sends the getty a signal.
func (s *session) signal(sig syscall.Signal) {
	if s.HasFD {
		unix.PidfdSendSignal(pidfdNumber, sig, nil, 0)
		return
	}
	if of, err := readProcess(s.PID); err == nil && of.started == s.started {
		unix.Kill(s.PID, sig)
	}
}

// tell writes a line to the terminal, whatever its settings are. It does not wait
// for a terminal that takes nothing.
func (s *session) tell(text string) {
	f, err := s.openLine()
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "\r\n%s: %s\r\n", program, text)
}

func (s *session) openLine() (*os.File, error) {
	fd, err := unix.Open(s.TTY, unix.O_RDWR|unix.O_CLOEXEC|openQuietly, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: s.TTY, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Rdev != s.Device {
		unix.Close(fd)
		return nil, fmt.Errorf("%s is now a different terminal", s.TTY)
	}
	return os.NewFile(uintptr(fd), s.TTY), nil
}

const (
	// drainTime is how long output has to leave a slow line.
	drainTime = 200 * time.Millisecond
	// patience is how long a process may take to end once its line is gone.
	patience = 5 * time.Second
)

// hangUp hangs the line up: every process loses it, and those of the session get
// SIGHUP. A getty that does not end by that is ended.
func (s *session) hangUp(why string) error {
	f, err := s.openLine()
	if err == nil {
		fmt.Fprintf(f, "\r\n%s: hung up: %s\r\n", program, why)
		time.Sleep(drainTime)
		if err = unix.IoctlSetInt(int(f.Fd()), unix.TIOCVHANGUP, 0); err != nil {
			err = fmt.Errorf("hanging up %s: %w", s.TTY, err)
		}
		f.Close()
	}
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGKILL} {
		if s.ended(patience) {
			return err
		}
		s.signal(sig)
	}
	return err
}
