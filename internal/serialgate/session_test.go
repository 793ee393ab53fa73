package serialgate

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Without a pidfd, as on kernels before 5.3, the end of a process is seen as well,
// and a signal reaches only that one.
func TestWithoutPidfd(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	s, err := newSession(plan{PID: cmd.Process.Pid, TTY: "/dev/null"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.phase(time.Now()); got != asksName {
		t.Errorf("the phase of what is still the gate is %d", got)
	}
	s.gate = "gate"
	if s.ended(10 * time.Millisecond) {
		t.Fatal("it has ended")
	}
	if got := s.phase(time.Now()); got != loggedIn {
		t.Errorf("the phase of another program is %d", got)
	}
	another := *s
	another.started++
	another.signal(unix.SIGKILL)
	if !another.ended(0) || another.phase(time.Now()) != over {
		t.Error("another process of the same number is taken for it")
	}
	if s.ended(10 * time.Millisecond) {
		t.Fatal("it was ended by a signal for another")
	}
	s.signal(unix.SIGKILL)
	if !s.ended(20 * time.Second) {
		t.Error("its end was not seen")
	}
	if got := s.phase(time.Now()); got != over {
		t.Errorf("the phase of what has ended is %d", got)
	}
}

// Two limits: the nearer one counts, and nobody is hung up without a warning of
// the whole time.
func TestEndings(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(minutes float64) time.Time { return start.Add(time.Duration(minutes * float64(time.Minute))) }
	s := &session{opened: start, plan: plan{TTY: "/dev/nothing", Limits: limits{Idle: 10 * time.Minute, Session: 30 * time.Minute, Warning: time.Minute}}}
	s.input = input{last: start, at: start}
	for _, step := range []struct {
		now, next float64
		typed     bool
		why       string
	}{
		{0, 9, false, ""},
		{9, 10, false, ""}, // warned
		{9.5, 10, false, ""},
		{9.75, 18.75, true, ""}, // somebody is there
		{20, 21, false, ""},     // looked late: the warning is as long as ever
		{20.5, 29, true, ""},    // the end of the session is warned of first
		{29, 30, true, ""},
		{29.75, 30, true, ""},
		{30, 30, true, "the session reached its limit of 30m"},
	} {
		if step.typed {
			s.input.last, s.idleWarned = at(step.now), time.Time{}
		}
		next, why := s.stepSession(at(step.now))
		want := at(step.next)
		if why != step.why || !next.Equal(want) {
			t.Errorf("at %v: next %v, %q; want %v, %q", step.now, next.Sub(start), why, want.Sub(start), step.why)
		}
	}
}

// Nothing is written to, and nobody thrown off, a terminal that took the place of the
// one that is watched.
func TestOtherTerminal(t *testing.T) {
	t.Parallel()
	s := &session{plan: plan{TTY: "/dev/null", Device: unix.Mkdev(1, 3)}}
	f, err := s.openLine()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	s.Device++
	if _, err := s.openLine(); err == nil {
		t.Error("another terminal is taken for it")
	}
}
