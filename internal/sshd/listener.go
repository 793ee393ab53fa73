package sshd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Listener is a running sshd that takes connections.
type Listener struct {
	PID     int    `json:"pid"`
	Program string `json:"program"` // what it runs
	// Args is its command line. sshd 8.2 and later shows it in one piece, in
	// which words cannot always be told apart.
	Args string `json:"args"`
	// Options is what its command line sets with -o, Config what it names with
	// -f, or "".
	Options []Setting `json:"options,omitempty"`
	Config  string    `json:"config,omitempty"`
}

// Listeners returns the sshds that root runs in this mount namespace and below this root
// directory, and that take connections. So those of containers are not among them, nor
// that of the host where this runs in the chroot of an image. Nor is what another user
// calls sshd: whoever asks it something would run that user's program as root. Only root
// is told.
func Listeners() []Listener {
	own, _ := os.Readlink("/proc/self/ns/mnt")
	ownRoot, _ := os.Stat("/")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var list []Listener
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue
		}
		l, ok := parseListener(text)
		if !ok {
			continue
		}
		if ns, err := os.Readlink(dir + "/ns/mnt"); err != nil || ns != own {
			continue
		}
		if root, err := os.Stat(dir + "/root"); err != nil || !os.SameFile(root, ownRoot) {
			continue
		}
		if !isRoots(dir) {
			continue
		}
		l.PID = pid
		if exe, err := os.Readlink(dir + "/exe"); err == nil {
			l.Program = strings.TrimSuffix(exe, " (deleted)")
		}
		for i := range l.Options {
			l.Options[i].Option = fmt.Sprintf("process %d", pid)
		}
		list = append(list, l)
	}
	return list
}

// isRoots reports whether the process of a directory of /proc runs as root. The
// directory itself belongs to root also for others that cannot be traced.
func isRoots(dir string) bool {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			return strings.Join(strings.Fields(ids), " ") == "0 0 0 0"
		}
	}
	return false
}

// parseListener reads a command line as /proc shows it: the title that sshd gives
// itself since 8.2, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", or
// its arguments.
func parseListener(cmdline []byte) (Listener, bool) {
	text := string(bytes.TrimRight(cmdline, "\x00"))
	if title, ok := strings.CutPrefix(text, "sshd: "); ok {
		at := strings.LastIndex(title, " [listener]")
		if at < 0 {
			return Listener{}, false
		}
		l := Listener{Args: title[:at]}
		l.Options, l.Config = optionsOfTitle(l.Args), valueOfTitle(l.Args, "-f")
		return l, true
	}
	args := strings.Split(text, "\x00")
	if filepath.Base(args[0]) != "sshd" || !filepath.IsAbs(args[0]) || isOneConnection(args[1:]) {
		return Listener{}, false
	}
	l := Listener{Args: strings.Join(args, " "), Options: optionsOf(args)}
	for i, a := range args {
		if a == "-f" && i+1 < len(args) {
			l.Config = args[i+1]
		}
	}
	return l, true
}

// isOneConnection reports whether these are the arguments of an sshd that serves
// one connection (-i, -R) or only answers a question.
func isOneConnection(args []string) bool {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case strings.HasPrefix(a, "-") && len(a) == 2 && strings.Contains("bCcEfghkopu", a[1:]):
			i++ // its value
		case strings.HasPrefix(a, "-") && len(a) == 2 && strings.Contains("iRtTGV", a[1:]):
			return true
		}
	}
	return false
}

// optionsOf returns what a command line sets with -o.
func optionsOf(args []string) []Setting {
	var list []Setting
	for i := 1; i < len(args); i++ {
		text, ok := strings.CutPrefix(args[i], "-o")
		if !ok {
			continue
		}
		if text == "" {
			if i++; i == len(args) {
				break
			}
			text = args[i]
		}
		if keyword, value := SplitLine(text); keyword != "" {
			list = append(list, Setting{Keyword: keyword, Value: value})
		}
	}
	return list
}

// optionsOfTitle is optionsOf for arguments whose borders are lost. A command goes on
// until the next -o, every other value is taken for one word.
func optionsOfTitle(title string) []Setting {
	var list []Setting
	for _, text := range strings.Split(title, " -o ")[1:] {
		if keyword, _ := SplitLine(text); keyword != KeywordCommand {
			fields := strings.Fields(text)
			n := 2
			if len(fields) > 0 && strings.Contains(fields[0], "=") {
				n = 1
			}
			text = strings.Join(fields[:min(len(fields), n)], " ")
		}
		if keyword, value := SplitLine(text); keyword != "" {
			list = append(list, Setting{Keyword: keyword, Value: value})
		}
	}
	return list
}

func valueOfTitle(title, flag string) string {
	_, rest, ok := strings.Cut(title, " "+flag+" ")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, " ")
	return value
}
