package serialgate

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// A process is the contents of /proc/PID/stat (proc_pid_stat(5)).
type process struct {
	name    string // of the program, its first 15 bytes
	state   byte
	parent  int
	started uint64 // clock ticks after boot
}

// dead reports whether the process has ended and was not waited for yet.
func (p process) dead() bool { return p.state == 'Z' || p.state == 'X' }

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(string(text))
}

// parseStat reads the line of a process. The name is in parentheses, and may have
// any in it.
func parseStat(line string) (process, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return process{}, errors.New("/proc has a process without a name")
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 20 {
		return process{}, errors.New("/proc has a process without a start time")
	}
	parent, parentErr := strconv.Atoi(fields[1])
	started, startedErr := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(parentErr, startedErr); err != nil {
		return process{}, err
	}
	return process{line[open+1 : end], fields[0][0], parent, started}, nil
}

// A child is one child of a process, distinguished from a later one of the same number.
type child struct {
	pid     int
	started uint64
}

// childOf returns a living child of a process: known, where it lives still.
func childOf(parent int, known child) (child, bool) {
	is := func(pid int) (child, bool) {
		of, err := readProcess(pid)
		if err != nil || of.parent != parent || of.dead() {
			return child{}, false
		}
		return child{pid, of.started}, true
	}
	if c, ok := is(known.pid); ok && c == known {
		return c, true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return child{}, false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if c, ok := is(pid); ok {
			return c, true
		}
	}
	return child{}, false
}
