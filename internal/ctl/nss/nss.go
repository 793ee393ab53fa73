// Package nss looks accounts up as the host knows them, wherever nsswitch.conf(5) sends
// it.
package nss

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// ErrNone says that an account does not exist.
var ErrNone = errors.New("no such account")

// Passwd returns the line of passwd(5) that getpwnam(3) finds for a name, as sshd asks for
// it. The name in it may be another: a directory service may know an account by several
// spellings (Alice, alice@example.com, EXAMPLE\alice), and sshd goes on with the one in the
// line. The error is ErrNone, or says why it is unknown.
func Passwd(ctx context.Context, name string) (string, error) {
	lines, err := ask(ctx, "passwd", "/etc/passwd", name)
	if err != nil {
		return "", err
	}
	if line := of(lines, name); line != "" {
		return line, nil
	}
	// One line is an answer; getent takes digits for an id, and without it all are here.
	isID := strings.Trim(name, "0123456789") == ""
	if line := strings.TrimSuffix(lines, "\n"); !isID && line != "" && !strings.Contains(line, "\n") {
		return line, nil
	}
	return "", ErrNone
}

// Name returns the account name that sshd uses for a login as name. The error is that of
// Passwd.
func Name(ctx context.Context, name string) (string, error) {
	line, err := Passwd(ctx, name)
	found, _, _ := strings.Cut(line, ":")
	return found, err
}

// Entry returns the line of a name in a database, which is kept in file where there is no
// getent(1). The error is that of Passwd.
func Entry(ctx context.Context, database, file, name string) (string, error) {
	lines, err := ask(ctx, database, file, name)
	if err != nil {
		return "", err
	}
	if line := of(lines, name); line != "" {
		return line, nil
	}
	return "", ErrNone
}

func ask(ctx context.Context, database, file, name string) (lines string, err error) {
	if name == "" || strings.ContainsAny(name, ":\n/") {
		return "", ErrNone
	}
	lines, err = hostcmd.Output(ctx, "getent", "--", database, name)
	switch {
	case errors.Is(err, hostcmd.ErrNotFound):
		text, err := os.ReadFile(file)
		return "\n" + string(text), err // never one line
	case hostcmd.ExitCode(err) == 2:
		return "", ErrNone
	}
	return lines, err
}

// of returns the line of a name among lines.
func of(lines, name string) string {
	for line := range strings.Lines(lines) {
		if strings.HasPrefix(line, name+":") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}
