// Package procfs reads process information from proc(5).
package procfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticks is the unit of times in /proc, which on Linux is the same everywhere.
const ticks = 100

// Start returns when a process was started, to a hundredth of a second.
func Start(pid int) (time.Time, error) {
	fields, err := stat(pid)
	if err != nil {
		return time.Time{}, err
	}
	after, err := strconv.ParseInt(fields[22-3], 10, 64)
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

// Alive reports whether a process is there and has not ended. Its command line does
// not tell: while the process runs another program it is empty too.
func Alive(pid int) bool {
	fields, err := stat(pid)
	return err == nil && fields[0] != "Z" && fields[0] != "X"
}

// stat returns the fields of /proc/PID/stat from the third on: those before it are the
// pid and the name, which may have any character.
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(path(pid, "stat"))
	if err != nil {
		return nil, err
	}
	return parseStat(string(text))
}

func parseStat(text string) ([]string, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 22-2 {
		return nil, fmt.Errorf("/proc has %d fields of the process", len(fields))
	}
	return fields, nil
}

func path(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

// Cgroup returns the control group of a process as systemd sees it, such as
// "/system.slice/ssh.service", or "".
func Cgroup(pid int) string {
	text, err := os.ReadFile(path(pid, "cgroup"))
	if err != nil {
		return ""
	}
	return parseCgroup(string(text))
}

// parseCgroup returns the path in the unified hierarchy or, with control groups version
// 1, in systemd's own: in the other hierarchy the process is then in the root.
func parseCgroup(text string) string {
	group := ""
	for line := range strings.Lines(text) {
		_, name, ok := strings.Cut(strings.TrimSpace(line), ":")
		controllers, name, ok2 := strings.Cut(name, ":")
		if ok && ok2 && (controllers == "" || controllers == "name=systemd") && len(name) > len(group) {
			group = name
		}
	}
	return group
}

// Listens returns the TCP addresses at which a process takes connections, those of its
// network.
func Listens(pid int) ([]netip.AddrPort, error) {
	entries, err := os.ReadDir(path(pid, "fd"))
	if err != nil {
		return nil, err
	}
	sockets := make(map[string]bool)
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(path(pid, "fd"), e.Name())); err == nil {
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				sockets[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var list []netip.AddrPort
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		text, _ := os.ReadFile(path(pid, table)) // of a kernel without IPv6 there is none
		for line := range strings.Lines(string(text)) {
			// The state is the fourth field (0A: listening), the inode the tenth.
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !sockets[f[9]] {
				continue
			}
			if at, err := parseAddrPort(f[1]); err == nil {
				list = append(list, at)
			}
		}
	}
	return list, nil
}

// parseAddrPort reads an address of /proc/net/tcp: words of 32 bits in the order of this
// machine, and the port.
func parseAddrPort(text string) (netip.AddrPort, error) {
	address, port, ok := strings.Cut(text, ":")
	if !ok || len(address) != 8 && len(address) != 32 {
		return netip.AddrPort{}, errors.New("no address")
	}
	var raw []byte
	for ; address != ""; address = address[8:] {
		word, err := strconv.ParseUint(address[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, err
		}
		raw = binary.NativeEndian.AppendUint32(raw, uint32(word))
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip, uint16(n)), nil
}
