package sshd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// An UnknownError says why it is not known what sshd would do. It says nothing against
// the configuration: sshd may be unable to answer here, or not take the question.
type UnknownError struct{ Reason string }

func (e *UnknownError) Error() string { return "unknown, because " + e.Reason }

// A BrokenError says that sshd refuses its configuration: sshd -t, run as root under
// the conditions that sshd meets when it starts, did not accept it.
type BrokenError struct{ Said string }

func (e *BrokenError) Error() string { return "sshd refuses its configuration: " + e.Said }

// IsBroken reports whether err says that sshd refuses its configuration.
func IsBroken(err error) bool {
	_, ok := errors.AsType[*BrokenError](err)
	return ok
}

// Values is the configuration that sshd uses for one connection, every keyword of it,
// as sshd -T prints it. Keywords are in lower case, whatever sshd prints.
type Values map[string][]string

// All returns the values of the first of the keywords that sshd has, in any case: more
// than one for those that can be given more often, such as DenyUsers. Of a keyword that
// was renamed give both names, the new one first: PubkeyAcceptedAlgorithms,
// PubkeyAcceptedKeyTypes. The result is nil where this sshd does not have the keyword.
func (v Values) All(keywords ...string) []string {
	for _, keyword := range keywords {
		if list := v[strings.ToLower(keyword)]; len(list) > 0 {
			return list
		}
	}
	return nil
}

// Get is All for a keyword that has one value; "" where this sshd does not have it.
func (v Values) Get(keywords ...string) string {
	if list := v.All(keywords...); len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

func parseValues(dump string) Values {
	values := make(Values)
	for line := range strings.Lines(dump) {
		keyword, value := SplitLine(line)
		if keyword != "" {
			values[keyword] = append(values[keyword], strings.TrimSpace(value))
		}
	}
	return values
}

// Test has sshd check its configuration (sshd -t) with the options of its command
// line, as it would when it starts: what sshd's unit makes before, the directory for
// privilege separation, is made for the test where it is missing, and without host keys
// it gets one. The error is a *BrokenError where sshd refuses it, and an *UnknownError
// where sshd could not be run, or not as root. It does not see a token that sshd does
// not know, a missing command, its owner or mode, or a missing account.
func (s *Server) Test(ctx context.Context) error {
	_, err := s.run(ctx, s.ConfigFile, s.Options, "-t")
	switch {
	case err == nil:
		return nil
	case os.Geteuid() != 0:
		return unknown("only root can have sshd test its configuration (%v)", err)
	case isExit(err) && s.titled && strings.Contains(err.Error(), "command-line"):
		return unknown("the options of its command line cannot be told from its title: %v", err)
	case isExit(err):
		return &BrokenError{Said: err.Error()}
	}
	return unknown("sshd could not be run: %v", err)
}

// TestCommand returns the command by which an administrator makes that test.
func (s *Server) TestCommand() string {
	command := s.Program + " -t"
	if s.ConfigFile != DefaultConfig {
		command += " -f " + s.ConfigFile
	}
	return command
}

// ReloadCommand returns the command by which an administrator has a running sshd read its
// configuration again. Where a socket unit passes the listening socket to sshd, it would
// not survive a reload.
func (s *Server) ReloadCommand() string {
	l, running := s.Listener()
	switch {
	case s.Systemd && s.service.Name != "" && s.service.MainPID == l.PID && s.socket.isActive():
		return "systemctl restart " + s.service.Name
	case s.Systemd && s.service.Name != "" && (!running || s.service.MainPID == l.PID):
		return "systemctl reload " + s.service.Name
	case running:
		return fmt.Sprintf("kill -HUP %d", l.PID)
	}
	return "start sshd"
}

// RestartCommand returns the command by which an administrator starts a running sshd
// anew.
func (s *Server) RestartCommand() string {
	if s.Systemd && s.service.Name != "" {
		return "systemctl restart " + s.service.Name
	}
	return s.ReloadCommand() // which has it run its program anew
}

// Ask asks sshd which configuration it uses for a connection, the options of its
// command line included. The error is a *BrokenError or an *UnknownError. how says
// which question sshd answered: "sshd -T", or "sshd -G".
func (s *Server) Ask(ctx context.Context, conn Connection) (values Values, how string, err error) {
	return s.ask(ctx, s.ConfigFile, s.Options, conn)
}

// ask tries what sshd takes. The version does not say: distributions backport.
func (s *Server) ask(ctx context.Context, file string, options []Setting, conn Connection) (Values, string, error) {
	fields, err := s.fields(ctx, conn)
	if err != nil {
		return nil, "", err
	}
	dump, err := s.dump(ctx, file, options, fields)
	if err == nil {
		values := parseValues(dump)
		if values.Get(KeywordCommand) == "" {
			// Every sshd since 6.2 prints it, "none" where it is not set.
			return nil, "", unknown("%s -T does not print AuthorizedKeysCommand", s.Program)
		}
		return values, "sshd -T", nil
	}
	if broken := s.Test(ctx); IsBroken(broken) {
		return nil, "", broken
	}
	// -G needs neither host keys nor directories, but no sshd takes -C with it: its
	// answer is for all connections only where no Match block tells them apart.
	if config, readErr := ReadConfig(s.Root, file); readErr == nil && !config.hasMatch() && isExit(err) {
		if dump, err := s.run(ctx, file, options, "-G"); err == nil {
			return parseValues(dump), "sshd -G", nil
		}
	}
	if os.Geteuid() != 0 {
		return nil, "", unknown("only root can ask sshd here (%v)", err)
	}
	return nil, "", unknown("sshd -T did not answer: %v", err)
}

// dump returns what sshd -T prints for a connection. A field that this sshd does not
// know is left out.
func (s *Server) dump(ctx context.Context, file string, options []Setting, fields []field) (string, error) {
	dump, err := s.run(ctx, file, options, "-T", "-C", spec(fields))
	if err != nil && isExit(err) {
		if rest, ok := withoutRefused(fields, err.Error()); ok {
			return s.run(ctx, file, options, "-T", "-C", spec(rest))
		}
	}
	return dump, err
}

// isExit reports whether err is that of a program that ran and exited.
func isExit(err error) bool {
	exit, ok := errors.AsType[*hostcmd.ExitError](err)
	return ok && exit.Code >= 0
}

// run runs sshd on a configuration with more arguments, and what it misses made for
// it: sshd -t and -T want a directory that its unit makes, and a host key.
func (s *Server) run(ctx context.Context, file string, options []Setting, args ...string) (string, error) {
	if err := checkPath(file); err != nil {
		return "", err
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	for range 5 {
		undo, err := s.furnish()
		if err != nil {
			return "", err
		}
		all := append([]string{"-f", file}, args...)
		all = append(all, s.flags...)
		for _, o := range options {
			all = append(all, "-o", o.Keyword+"="+o.Value)
		}
		if s.spareKey != "" {
			all = append(all, "-h", s.spareKey)
		}
		out, err := output(ctx, s.Root, s.Program, all...)
		if exit, ok := errors.AsType[*hostcmd.ExitError](err); ok && exit.Stderr == "" {
			// -q and LogLevel QUIET keep sshd from saying why, -d does not.
			_, aloud := output(ctx, s.Root, s.Program, append(all, "-d")...)
			if aloud == nil {
				// Another eicctl has made what was missing in the meantime.
				undo()
				continue
			}
			if loud, ok := errors.AsType[*hostcmd.ExitError](aloud); ok {
				exit.Stderr = strings.Trim(debugLine().ReplaceAllString(loud.Stderr, ""), "\r\n")
			}
		}
		undo()
		if err == nil || !isExit(err) || !s.misses(err.Error()) {
			return out, err
		}
	}
	return "", errors.New("sshd finds no place to run in")
}

var debugLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^debug[1-3]: .*$`) })

// misses notes what sshd says that it misses, and reports whether that can be made.
func (s *Server) misses(said string) bool {
	if _, dir, ok := strings.Cut(said, "Missing privilege separation directory: "); ok {
		// Where it was made already, another eicctl that made it has taken it away.
		dir, _, _ = strings.Cut(dir, ";")
		s.privsepDir = strings.TrimSpace(dir)
		return filepath.IsAbs(s.privsepDir)
	}
	if strings.Contains(said, "no hostkeys available") && !s.needsKey {
		s.needsKey = true
		return true
	}
	return false
}

// furnish makes what sshd misses. undo takes it away again; on a system on which
// systemd runs the directory stays, for an sshd that starts in the meantime needs it.
func (s *Server) furnish() (undo func(), err error) {
	var made []string
	undo = func() {
		s.spareKey = ""
		for _, path := range made {
			os.RemoveAll(path)
		}
	}
	if s.privsepDir != "" {
		path := s.Path(s.privsepDir)
		// The directories above it are part of every system.
		err := os.Mkdir(path, 0o755)
		if err == nil {
			if !s.Systemd {
				made = append(made, path)
			}
			err = os.Chmod(path, 0o755) // whatever the umask
		}
		if err != nil && !os.IsExist(err) {
			undo()
			return nil, err
		}
	}
	if s.needsKey {
		dir, err := s.tempDir()
		if err != nil {
			undo()
			return nil, fmt.Errorf("making a host key to test with: %w", err)
		}
		made = append(made, dir)
		if err := writeKey(filepath.Join(dir, "host_key")); err != nil {
			undo()
			return nil, err
		}
		s.spareKey = inside(s.Root, filepath.Join(dir, "host_key"))
	}
	return undo, nil
}

// tempDir makes a directory of the system that nobody but the caller can enter.
func (s *Server) tempDir() (string, error) {
	if os.Geteuid() != 0 {
		return os.MkdirTemp("", "eicctl-")
	}
	return os.MkdirTemp(s.Path("/run"), "eicctl-")
}

func writeKey(path string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// output returns what a program prints on standard output. It runs in the file
// system below root.
func output(ctx context.Context, root, name string, args ...string) (string, error) {
	r, err := hostcmd.Command{Name: name, Args: args, Root: root}.Run(ctx)
	return r.Stdout, err
}
