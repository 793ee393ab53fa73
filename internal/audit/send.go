package audit

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// hangTime is how long journald may not read its full queue before it
	// counts as hung, unless it is seen to run or to wait for a processor.
	hangTime = 5 * time.Millisecond
	// slowTime is the most that one event waits for a daemon that is slow.
	slowTime = time.Second
)

// deliver hands a packet to the daemon that listens at path. It waits for room in
// the daemon's queue for at most limit, and gives up with EAGAIN. After each wait of
// hangTime it asks alive, where that is given, whether the daemon still runs,
// and gives up if it does not.
func deliver(path string, packet []byte, limit time.Duration, alive func() bool) error {
	fd, err := dial(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(limit)
	flags := unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT
	for {
		_, err := unix.SendmsgN(fd, packet, nil, nil, flags)
		switch {
		case err == unix.EINTR && time.Now().Before(deadline):
			continue
		case err != unix.EAGAIN:
			return err
		}
		if flags&unix.MSG_DONTWAIT == 0 && alive != nil && !alive() {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return err
		}
		if alive != nil {
			left = min(left, hangTime)
		}
		// A send that blocks has its place in the line of those that wait for
		// room; poll(2) does not.
		wait := unix.NsecToTimeval(int64(max(left, time.Millisecond)))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait); err != nil {
			return err
		}
		flags &^= unix.MSG_DONTWAIT
	}
}

// dial connects to path without waiting. Some syslog daemons listen for streams.
func dial(path string) (fd int, err error) {
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
		fd, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == nil {
			return fd, unix.SetNonblock(fd, false)
		}
		unix.Close(fd)
		if err != unix.EPROTOTYPE {
			break
		}
	}
	return -1, err
}

// A progress reports whether journald makes progress, from /proc.
type progress struct {
	pid int    // 0: not looked for, -1: not found
	ran string // the time it has run, when it was last asked
}

// journaldName is what the kernel keeps of the name of journald.
const journaldName = "systemd-journal"

// seen reports whether journald has run since it was last asked, or waits for a
// processor. It is false where that cannot be determined.
func (p *progress) seen() bool {
	if p.pid == 0 {
		p.pid = findJournald()
	}
	if p.pid < 0 {
		return false
	}
	dir := "/proc/" + strconv.Itoa(p.pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return false
	}
	// PID (NAME) STATE ...; the name may have any character.
	_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	waits := bytes.HasPrefix(rest, []byte("R"))
	schedstat, _ := os.ReadFile(dir + "/schedstat")
	ran, _, _ := bytes.Cut(schedstat, []byte(" "))
	before := p.ran
	p.ran = string(ran)
	return waits || before != "" && before != p.ran
}

// findJournald returns the lowest process of root that has journald's name, or -1.
func findJournald() int {
	proc, err := os.Open("/proc")
	if err != nil {
		return -1
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	found := -1
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || found > 0 && pid > found {
			continue
		}
		comm, err := os.ReadFile("/proc/" + name + "/comm")
		if err != nil || string(bytes.TrimSuffix(comm, []byte("\n"))) != journaldName {
			continue
		}
		var st unix.Stat_t
		if unix.Stat("/proc/"+name, &st) == nil && st.Uid == 0 {
			found = pid
		}
	}
	return found
}
