package sshd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// output returns what a program prints on standard output. It runs in the file
// system below root.
func output(ctx context.Context, root, name string, args ...string) (string, error) {
	r, err := hostcmd.Command{Name: name, Args: args, Root: root}.Run(ctx)
	return r.Stdout, err
}

func outputOfBoth(ctx context.Context, root, name string, args ...string) (string, error) {
	r, err := hostcmd.Command{Name: name, Args: args, Root: root}.Run(ctx)
	return r.Stdout + r.Stderr, err
}

// started reports whether err is that of a program that ran and exited.
func started(err error) bool {
	var exit *hostcmd.ExitError
	return errors.As(err, &exit)
}

// Test has sshd check its configuration (sshd -t) with the options of its command
// line. It does not see a token that sshd does not know, a missing command, its
// owner or mode, or a missing account.
func (s *Server) Test(ctx context.Context) error {
	_, err := s.run(ctx, "-t")
	return err
}

// run runs sshd on its configuration with more arguments.
func (s *Server) run(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"-f", s.ConfigFile}, args...)
	for _, o := range s.Options {
		args = append(args, "-o", o.Keyword+" "+o.Value)
	}
	if s.spareKey != "" {
		args = append(args, "-h", s.spareKey)
	}
	return output(ctx, s.Root, s.Program, args...)
}

// Ask has sshd say how its configuration turns out for a connection, or outside
// all Match blocks for the zero Connection: by sshd -G where it is new enough, else
// by sshd -T. The answer holds the values by keyword in lower case; of a keyword
// that can be given more often, the last.
//
// The error wraps ErrCannotRun where that is no fault of the configuration: sshd
// -T wants root, host keys, and on some systems a directory that sshd's unit makes.
// Furnish sees to those.
func (s *Server) Ask(ctx context.Context, conn Connection) (map[string]string, error) {
	all, err := s.AskAll(ctx, conn)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(all))
	for keyword, list := range all {
		values[keyword] = list[len(list)-1]
	}
	return values, nil
}

// AskAll is Ask with every value of a keyword that can be given more often, such
// as DenyUsers, in their order.
func (s *Server) AskAll(ctx context.Context, conn Connection) (map[string][]string, error) {
	query := "-T"
	if s.Version.AtLeast(9, 3) {
		query = "-G"
	}
	args := []string{query}
	if conn != (Connection{}) {
		spec, err := conn.spec(s)
		if err != nil {
			return nil, err
		}
		args = append(args, "-C", spec)
	}
	out, err := s.run(ctx, args...)
	if err != nil {
		if !started(err) || isEnvironment(err.Error()) {
			return nil, fmt.Errorf("%w: %v", ErrCannotRun, err)
		}
		return nil, err
	}
	values := make(map[string][]string)
	for line := range strings.Lines(out) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		values[keyword] = append(values[keyword], value)
	}
	return values, nil
}

// ErrCannotRun says that sshd cannot be asked here.
var ErrCannotRun = errors.New("sshd cannot be asked")

// isEnvironment reports whether sshd complains of something other than its
// configuration.
func isEnvironment(said string) bool {
	for _, part := range []string{"no hostkeys available", "rivilege separation", "/dev/null", "Permission denied", "Unable to load host key"} {
		if strings.Contains(said, part) {
			return true
		}
	}
	return false
}

// spec is the connection for sshd -C. sshd fails for a Match block that looks at
// what is not given, so everything is: addresses that no host has.
func (conn Connection) spec(s *Server) (string, error) {
	host, addr := conn.Host, conn.Addr
	if host == "" {
		host = "client.invalid"
	}
	if addr == "" {
		addr = "192.0.2.1"
	}
	spec := fmt.Sprintf("user=%s,host=%s,addr=%s,laddr=192.0.2.2,lport=22", conn.User, host, addr)
	if strings.Count(spec, ",") != 4 || strings.Count(spec, "=") != 5 {
		return "", fmt.Errorf("sshd cannot be asked for the user %.64q", conn.User)
	}
	if s.Version.AtLeast(7, 8) {
		spec += ",rdomain="
	}
	return spec, nil
}
