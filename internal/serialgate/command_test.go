package serialgate

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWithTimeout(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"/sbin/agetty - vt220":                       "/sbin/agetty --timeout 42 - vt220",
		"/sbin/agetty --timeout 5 - vt220":           "/sbin/agetty --timeout 42 - vt220",
		"/sbin/agetty --timeout=5 -":                 "/sbin/agetty --timeout 42 -",
		"/sbin/agetty --tim 5 -":                     "/sbin/agetty --timeout 42 -",
		"/sbin/agetty -t 5 -J -":                     "/sbin/agetty --timeout 42 -J -",
		"/sbin/agetty -t5 -":                         "/sbin/agetty --timeout 42 -",
		"/sbin/agetty -L 9600 ttyS0 -t 5":            "/sbin/agetty --timeout 42 -L 9600 ttyS0",
		"/sbin/agetty -I -t -":                       "/sbin/agetty --timeout 42 -I -t -",
		"/sbin/agetty -H -a -":                       "/sbin/agetty --timeout 42 -H -a -",
		"/sbin/agetty -o -p -f /etc/issue -":         "/sbin/agetty --timeout 42 -o -p -f /etc/issue -",
		"/sbin/agetty --keep-baud 9600 -- -t":        "/sbin/agetty --timeout 42 --keep-baud 9600 -- -t",
		"/usr/sbin/agetty --new-thing --noreset - x": "/usr/sbin/agetty --timeout 42 --new-thing --noreset - x",
	} {
		got, err := withTimeout(strings.Fields(command), 42*time.Second+900*time.Millisecond)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v; want %s", command, got, err, want)
		}
	}
	if _, err := withTimeout(DefaultCommand(""), 999*time.Millisecond); err == nil {
		t.Error("less than a second is taken, which is no limit for agetty")
	}
	given := []string{"/sbin/agetty", "-t", "5", "-", "x"}
	if _, err := withTimeout(given, time.Minute); err != nil || !slices.Equal(given, []string{"/sbin/agetty", "-t", "5", "-", "x"}) {
		t.Errorf("the command was changed: %q, %v", given, err)
	}
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	if err := CheckCommand(DefaultCommand("vt220")); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	for _, options := range []string{
		"-a root", "-aroot", "-Ja root", "-8Jaroot", "--autologin root", "--autologin=root", "--auto root", "--a root",
		"-n", "-Jn", "-nJ", "--skip-login", "--skip", "--s",
		"-l /bin/sh", "-l/bin/sh", "--login-program /bin/sh", "--login-prog=/bin/sh",
		"-E", "--remote", "--rem", "-r /x", "--chroot /x", "--chr=/x",
		"-o -f", "-o -pf", "--login-options -froot", "--login-o=-f", "-o -h", "-o-f", "-o --help",
		"--login", "--login-", "--", // the last with what follows
		"-J -I x -a root", "- vt220 -a root", "-t", "--timeout", "-Jt 5", "-o",
	} {
		if options == "--" {
			continue
		}
		command := append([]string{"/sbin/agetty"}, strings.Fields(options)...)
		if err := CheckCommand(command); err == nil {
			t.Errorf("%q is taken", command)
		}
	}
	for _, words := range [][]string{
		{"/sbin/agetty", "-o", `-p -- \u`, "-", "vt220"},
		{"/sbin/agetty", "-o", `-- \u`, "--noreset", "--noclear", "--keep-baud", "9600", "-"},
		{"/sbin/agetty", "-o", "-- root", "-"},
		{"/sbin/agetty", "--erase-chars", "-a", "--kill-chars=-a", "-"},
		{"/sbin/agetty", "--re", "-"}, // neither remote nor reload: agetty says so
		{"/sbin/agetty"},
	} {
		err := CheckCommand(words)
		if ambiguous := slices.Contains(words, "--re"); (err != nil) != ambiguous {
			t.Errorf("%q: %v", words, err)
		}
	}
	for _, words := range [][]string{nil, {}, {""}, {"agetty"}, {"./agetty"}, {"/sbin/mingetty"}, {"/bin/login"}, {"/bin/sh", "/sbin/agetty"}} {
		if err := CheckCommand(words); err == nil {
			t.Errorf("%q is taken", words)
		}
	}
}
