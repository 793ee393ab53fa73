package serialgate

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// gettyName is the one getty whose options are known here.
const gettyName = "agetty"

// DefaultCommand is the getty where none is named: agetty as systemd starts it.
func DefaultCommand(term string) []string {
	if term == "" {
		term = "vt220"
	}
	return []string{"/sbin/agetty", "-o", `-p -- \u`, "--keep-baud", "115200,57600,38400,9600", "-", term}
}

// An option of agetty as agetty(8) of util-linux 2.23 to 2.41 has them.
type option struct {
	short byte
	long  string
	value bool // takes one
	// refused says why the gate's getty must not have the option.
	refused string
}

// options returns those of agetty that take a value, which tells options from
// values, and those that may not be given.
func options() []option {
	return []option{
		{'a', "autologin", true, "logs in without a password"},
		{'n', "skip-login", false, "starts a program without asking for a name"},
		{'l', "login-program", true, "starts a program other than login"},
		{'E', "remote", false, "makes login trust the remote host"},
		{'r', "chroot", true, "runs login in another root directory"},
		{'o', "login-options", true, ""},
		{'t', "timeout", true, ""},
		{'f', "issue-file", true, ""},
		{'H', "host", true, ""},
		{'I', "init-string", true, ""},
		{0, "erase-chars", true, ""},
		{0, "kill-chars", true, ""},
		{0, "chdir", true, ""},
		{0, "delay", true, ""},
		{0, "nice", true, ""},
		{'d', "", true, ""}, // delay of old versions
		{'C', "", true, ""},
		{'P', "", true, ""},
		// Without these an abbreviation would be taken for one above.
		{'p', "login-pause", false, ""},
		{'R', "hangup", false, ""},
		{0, "help", false, ""},
		{0, "nohints", false, ""},
		{'c', "noreset", false, ""},
		{0, "reload", false, ""},
		{'L', "local-line", false, ""},
		{0, "long-hostname", false, ""},
		{0, "list-speeds", false, ""},
	}
}

// CheckCommand says what is wrong with a getty command: it must be agetty, by
// its absolute path, and has to ask for name and password.
func CheckCommand(command []string) error {
	_, err := parse(command)
	return err
}

// parse checks a command and returns it without its --timeout, which is the
// gate's to set.
func parse(command []string) ([]string, error) {
	if len(command) == 0 || !filepath.IsAbs(command[0]) || filepath.Base(command[0]) != gettyName {
		return nil, fmt.Errorf("the getty must be agetty with its absolute path, not %.100q", strings.Join(command, " "))
	}
	kept := command[:1:1]
	for args := command[1:]; len(args) > 0; {
		arg := args[0]
		if arg == "--" {
			kept = append(kept, args...)
			break
		}
		n, drop, err := parseOption(args)
		if err != nil {
			return nil, err
		}
		if !drop {
			kept = append(kept, args[:n]...)
		}
		args = args[n:]
	}
	return kept, nil
}

// parseOption reads the argument that args begin with, and the value that belongs
// to it, n arguments in all.
func parseOption(args []string) (n int, drop bool, err error) {
	arg := args[0]
	if long, ok := strings.CutPrefix(arg, "--"); ok {
		name, value, hasValue := strings.Cut(long, "=")
		o, err := find(name)
		if err != nil {
			return 0, false, err
		}
		n = 1
		if o.value && !hasValue {
			if len(args) < 2 {
				return 0, false, fmt.Errorf("%s needs a value", arg)
			}
			n, value = 2, args[1]
		}
		return n, o.short == 't', o.check(value)
	}
	if len(arg) < 2 || arg[0] != '-' {
		return 1, false, nil // a terminal, a speed, a type, or - for standard input
	}
	for i := 1; i < len(arg); i++ {
		for _, o := range options() {
			if o.short != arg[i] {
				continue
			}
			n, value := 1, arg[i+1:]
			if o.value && value == "" {
				if len(args) < 2 {
					return 0, false, fmt.Errorf("-%c needs a value", arg[i])
				}
				n, value = 2, args[1]
			}
			if err := o.check(value); err != nil {
				return 0, false, err
			}
			if o.value && o.short == 't' && i > 1 {
				return 0, false, fmt.Errorf("write -t by itself, not in %q", arg)
			}
			if o.value {
				return n, o.short == 't', nil
			}
		}
	}
	return 1, false, nil
}

// find returns the option of that name or of that unambiguous beginning, as
// getopt_long(3) takes it; one that is not known takes no value.
func find(name string) (option, error) {
	var found []option
	for _, o := range options() {
		if o.long == name && name != "" {
			return o, nil
		}
		if o.long != "" && strings.HasPrefix(o.long, name) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return option{long: name}, nil
	case 1:
		return found[0], nil
	}
	return option{}, fmt.Errorf("--%.40s is not the full name of an option", name)
}

// check says why the option may not be given with that value.
func (o option) check(value string) error {
	if o.refused != "" {
		return fmt.Errorf("the getty must not have %s, which %s", o, o.refused)
	}
	if o.short == 'o' {
		return checkLoginOptions(value)
	}
	return nil
}

func (o option) String() string {
	if o.long == "" {
		return "-" + string(o.short)
	}
	return "--" + o.long
}

// checkLoginOptions refuses all options of login but -p, which keeps the
// environment: -f would let everybody in.
func checkLoginOptions(text string) error {
	for word := range strings.FieldsSeq(text) {
		switch {
		case word == "--":
			return nil
		case word == "-p", word == `\u`:
		default:
			return fmt.Errorf("login must have no option but -p, not %.40q", word)
		}
	}
	return nil
}

// withTimeout returns the command so that it ends when left is over without a
// user's name.
func withTimeout(command []string, left time.Duration) ([]string, error) {
	kept, err := parse(command)
	if err != nil {
		return nil, err
	}
	seconds := int(left / time.Second)
	if seconds < 1 {
		return nil, errors.New("no time left for a login")
	}
	return append([]string{kept[0], "--timeout", strconv.Itoa(seconds)}, kept[1:]...), nil
}
