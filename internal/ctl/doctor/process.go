package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticks is the unit of times in /proc, which on Linux is the same everywhere.
const ticks = 100

// processStart returns when a process was started (proc(5)).
func processStart(pid int) (time.Time, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	after, err := startTicks(string(text))
	if err != nil {
		return time.Time{}, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}, err
	}
	boot := time.Now().Add(-time.Duration(now.Nano()))
	return boot.Add(time.Duration(after) * time.Second / ticks), nil
}

// startTicks reads field 22 of /proc/PID/stat. The name in field 2 may have any
// character.
func startTicks(stat string) (int64, error) {
	rest := stat[strings.LastIndexByte(stat, ')')+1:]
	const field = 22 - 3 // of what follows the name, from 0
	fields := strings.Fields(rest)
	if len(fields) <= field {
		return 0, fmt.Errorf("/proc has %d fields of the process", len(fields))
	}
	return strconv.ParseInt(fields[field], 10, 64)
}
