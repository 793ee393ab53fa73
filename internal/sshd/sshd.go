// Package sshd finds out how sshd is set up on a host: which sshds answer connections,
// how they are started, and which AuthorizedKeysCommand they use for whom, with the line
// that sets it. It asks sshd and systemd; where they do not answer the result is
// unknown. Asking changes nothing, but for what sshd misses for an answer.
//
// It works on the running system, and on one in a directory such as an image that
// is being built; paths are always given as they are seen from the root of that
// system.
package sshd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/procfs"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// DefaultConfig is where sshd looks for its configuration.
const DefaultConfig = "/etc/ssh/sshd_config"

// ErrNotInstalled says that there is no sshd.
var ErrNotInstalled = errors.New("there is no sshd")

// A Server is one sshd: one that runs and takes connections, or one that a socket unit
// or its service starts.
type Server struct {
	Root    string  `json:"-"` // "/", or the directory of the system
	Program string  `json:"program"`
	Version Version `json:"version"` // zero where the program does not say
	// VersionText is what the program says of itself: "OpenSSH_9.2p1 Debian-2".
	VersionText string `json:"version_text,omitempty"`
	// ConfigFile is the file that its command line names with -f, else the default.
	// It need not be there.
	ConfigFile string `json:"config_file"`
	// Listeners are the sshds of the system that run, this one first.
	Listeners []Listener `json:"listeners,omitempty"`
	// Units are the units of sshd on the system, services before sockets.
	Units []Unit `json:"units,omitempty"`
	// Systemd says that systemd runs the system.
	Systemd bool `json:"systemd"`
	// Options are those of its command line (-o): of the process, or where it does
	// not run of the unit that starts it. They win over what every file says outside
	// Match blocks, and sshd -T does not show them by itself.
	Options []Setting `json:"options,omitempty"`
	// Log is the option by which it logs elsewhere than to syslog, "-e" or "-E FILE", and
	// Quiet says that -q has it log nothing of logins; they win over every file.
	Log   string `json:"log,omitempty"`
	Quiet bool   `json:"quiet,omitempty"`
	// UnitOptions are those that the unit gives sshd when it is started next.
	UnitOptions []Setting `json:"unit_options,omitempty"`
	// Others are the further sshds that answer connections on this system: further
	// listeners, and active socket units that start an sshd of their own.
	Others []*Server `json:"others,omitempty"`

	flags   []string // of its command line, beside Options
	titled  bool     // Options are those of a title
	service Unit     // that it runs as, or is started by
	socket  Unit     // that belongs to the service

	asking     sync.Mutex // over what follows
	privsepDir string     // that sshd -t misses, or ""
	needsKey   bool       // sshd -t misses a host key
	spareKey   string     // one made for it, or ""

	locating sync.Mutex
	at       []endpoint // where it takes connections, once that is known
}

// Find looks for the sshd that takes the next connection of the system whose root
// directory is root: of several the one of the active unit, else the first that runs,
// else the one that an active socket starts, else that of the installed unit; the
// further ones are its Others. It starts sshd to ask for its version, and systemctl
// where systemd runs. The error is ErrNotInstalled where there is no sshd.
func Find(ctx context.Context, root string) (*Server, error) {
	s := &Server{Root: filepath.Clean(root), Units: findUnits(root)}
	if !s.Live() {
		return s.inImage(ctx)
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		s.Systemd = true
		s.askUnits(ctx)
	}
	s.Listeners = Listeners()
	main := s.unit(false).MainPID
	slices.SortStableFunc(s.Listeners, func(a, b Listener) int {
		switch {
		case a.PID == main:
			return -1
		case b.PID == main:
			return 1
		}
		return a.PID - b.PID
	})
	var all []*Server
	for i, l := range s.Listeners {
		one := s.like()
		one.Listeners = []Listener{l}
		one.service = s.serviceOf(ctx, l)
		one.socket = s.socketOf(one.service)
		if err := one.start(ctx, l.line, one.service.line()); err != nil {
			return nil, err
		}
		one.checkPrograms(ctx, &one.Listeners[0])
		s.Listeners[i] = one.Listeners[0]
		all = append(all, one)
	}
	for _, u := range s.Units {
		if !u.IsSocket() || !u.isActive() || slices.ContainsFunc(all, func(one *Server) bool { return one.socket.Name == u.Name && !u.Accept }) {
			continue
		}
		one := s.like()
		one.service, one.socket = u.startsService(), u
		if err := one.start(ctx, CommandLine{}, one.service.line()); err == nil {
			all = append(all, one)
		}
	}
	// One that takes connections from this host alone is not the one that people log in at.
	slices.SortStableFunc(all, func(a, b *Server) int { return cmp.Compare(b.networked(), a.networked()) })
	if len(all) == 0 || all[0].networked() == 0 {
		s.service, s.socket = s.unit(false), s.unit(true)
		s.Others = all
		return s, s.start(ctx, CommandLine{}, s.service.line())
	}
	first := all[0]
	first.Listeners, first.Units, first.Others = s.Listeners, s.Units, all[1:]
	return first, nil
}

// networked returns 1 for an sshd that takes connections from the network, and 0 for one
// that takes them at sockets of AF_UNIX or AF_VSOCK alone.
func (s *Server) networked() int {
	if _, running := s.Listener(); !running && !s.socket.isNetworked() {
		return 0
	}
	return 1
}

// inImage finds what will start sshd on a system that does not run: the service, unless
// only a socket that starts another is enabled.
func (s *Server) inImage(ctx context.Context) (*Server, error) {
	s.service = s.unit(false)
	s.socket = s.socketOf(s.service)
	var others []*Server
	for _, u := range s.Units {
		if !u.IsSocket() || !u.Accept || !u.isEnabled(s.Root) {
			continue
		}
		if !s.service.isEnabled(s.Root) && !s.socket.Accept {
			s.service, s.socket = u.startsService(), u
			continue
		}
		one := s.like()
		one.service, one.socket = u.startsService(), u
		if one.start(ctx, CommandLine{}, one.service.line()) == nil {
			others = append(others, one)
		}
	}
	s.Others = others
	return s, s.start(ctx, CommandLine{}, s.service.line())
}

func (s *Server) like() *Server { return &Server{Root: s.Root, Systemd: s.Systemd} }

// start fills in what a running sshd, or else its unit, makes of sshd.
func (s *Server) start(ctx context.Context, running, unit CommandLine) error {
	now := running
	// Where the unit's command line reads like that of the process, it is it, and
	// its words are known.
	if len(running.Words) == 0 || strings.Join(running.Words, " ") == strings.Join(strings.Fields(strings.Join(unit.Words, " ")), " ") {
		now = unit
	}
	s.UnitOptions, s.Options, s.flags = unit.Options, now.Options, now.Flags
	for i, o := range s.Options {
		s.Options[i] = exact(o, unit.Options)
	}
	if err := s.findProgram(now, unit); err != nil {
		return err
	}
	s.findVersion(ctx)
	s.titled = now.titled
	s.Log, s.Quiet = now.Log, slices.Contains(now.Flags, "-q")
	s.ConfigFile = now.Config
	if s.ConfigFile != "" && len(s.service.ExecStart) > 0 && now.Config == unit.Config {
		s.ConfigFile = filepath.Join("/", s.ConfigFile) // where systemd starts a service
	}
	if s.ConfigFile == "" {
		s.ConfigFile = DefaultConfig
		const vendor = "/usr/etc/ssh/sshd_config"
		if _, err := os.Stat(s.Path(DefaultConfig)); errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(s.Path(vendor)); err == nil {
				s.ConfigFile = vendor
			}
		}
	}
	return nil
}

// Next returns the sshd as its unit starts it the next time, which need not be as it
// was started. Where there is no unit, it is s.
func (s *Server) Next(ctx context.Context) (*Server, error) {
	if len(s.service.ExecStart) == 0 {
		return s, nil
	}
	next := s.like()
	next.service, next.socket = s.service, s.socket
	next.Units = s.Units
	return next, next.start(ctx, CommandLine{}, s.service.line())
}

// Live reports whether it is the running system.
func (s *Server) Live() bool { return s.Root == "/" }

// Path returns a path of the system as it is seen from here.
func (s *Server) Path(path string) string { return sysroot.Path(s.Root, path) }

// Service returns the unit that it runs as or is started by, or a zero Unit.
func (s *Server) Service() Unit { return s.service }

// Socket returns the unit whose socket it is started for, or a zero Unit. The unit
// need not be active.
func (s *Server) Socket() Unit { return s.socket }

// unit returns the service or socket that is active, else the first.
func (s *Server) unit(socket bool) Unit {
	var first Unit
	for _, u := range s.Units {
		if u.IsSocket() != socket || socket && !u.isNetworked() {
			continue
		}
		if u.isActive() {
			return u
		}
		if first.Name == "" {
			first = u
		}
	}
	return first
}

// serviceOf returns the unit that a listener is the main process of.
func (s *Server) serviceOf(ctx context.Context, l Listener) Unit {
	for _, u := range s.Units {
		if !u.IsSocket() && u.MainPID == l.PID {
			return u
		}
	}
	if name := filepath.Base(procfs.Cgroup(l.PID)); s.Systemd && strings.HasSuffix(name, ".service") {
		u := Unit{Name: name}
		if u.ask(ctx, s.Root); u.MainPID == l.PID {
			return u
		}
	}
	// One that was started by hand has the files of the only service there is; what
	// it will be after a restart is known then.
	if !s.Systemd {
		return s.unit(false)
	}
	return Unit{}
}

// socketOf returns the socket unit that is there for a service: the active one.
func (s *Server) socketOf(service Unit) Unit {
	var found Unit
	for _, u := range s.Units {
		if u.IsSocket() && !u.Accept && u.Starts == service.Name && service.Name != "" && (found.Name == "" || u.isActive()) {
			found = u
		}
	}
	return found
}

// Loses reports the directory that systemd removes when one of the sshds that a socket
// starts for each connection ends, as Debian 11's ssh@.service has it: the next does not
// start without its directory for privilege separation. "" stands for none.
func (s *Server) Loses() (dir string) {
	if !s.socket.Accept || s.service.preserve || s.service.RuntimeDirectory == "" {
		return ""
	}
	return "/run/" + s.service.RuntimeDirectory
}

// Listener returns the process of a running sshd; ok is false where it does not run.
func (s *Server) Listener() (l Listener, ok bool) {
	if len(s.Listeners) == 0 {
		return Listener{}, false
	}
	return s.Listeners[0], true
}

// LogsAs returns the name under which a running sshd logs logins: that by which it was
// started, and since OpenSSH 9.8, where other programs do that, sshd.
func (s *Server) LogsAs() string {
	l, running := s.Listener()
	if !running || len(l.line.Words) == 0 || s.Version.AtLeast(9, 8) {
		return "sshd"
	}
	return filepath.Base(l.line.Words[0])
}

// Name says which sshd it is: "process 812 (ssh.service)", "sshd@.service, which
// sshd.socket starts for each connection".
func (s *Server) Name() string {
	l, running := s.Listener()
	switch {
	case running && s.service.Name != "" && s.service.MainPID == l.PID:
		return fmt.Sprintf("process %d (%s)", l.PID, s.service.Name)
	case running:
		return fmt.Sprintf("process %d", l.PID)
	case s.socket.isActive() && s.socket.Accept:
		return fmt.Sprintf("%s, which %s starts for each connection", s.service.Name, s.socket.Name)
	case s.socket.isActive():
		return fmt.Sprintf("%s, which %s starts for the first connection", s.service.Name, s.socket.Name)
	case s.service.Name != "":
		return s.service.Name
	}
	return s.Program
}

func (s *Server) findProgram(lines ...CommandLine) error {
	var candidates []string
	if l, ok := s.Listener(); ok {
		candidates = append(candidates, l.Program)
	}
	for _, line := range lines {
		if len(line.Words) > 0 {
			candidates = append(candidates, line.Words[0])
		}
	}
	candidates = append(candidates, "/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd", "/usr/local/sbin/sshd")
	for _, path := range candidates {
		if !filepath.IsAbs(path) {
			continue
		}
		if st, err := os.Stat(s.Path(path)); err == nil && st.Mode().IsRegular() {
			s.Program = path
			return nil
		}
	}
	return ErrNotInstalled
}

func (s *Server) findVersion(ctx context.Context) {
	s.Version, s.VersionText = versionOf(ctx, s.Root, s.Program)
}

// versionOf returns what a program of OpenSSH says of its version, or zero values.
func versionOf(ctx context.Context, root, program string) (v Version, text string) {
	// sshd before 9.2 does not know -V, and says its version with its usage.
	r, _ := hostcmd.Command{Name: program, Args: []string{"-V"}, Root: root}.Run(ctx)
	out := r.Stdout + r.Stderr
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "OpenSSH_") {
			text, _, _ = strings.Cut(strings.TrimSpace(line), ",")
		}
	}
	return parseVersion(out), text
}

// exact returns the option of the unit that a running sshd shows as o, with its
// place and with the words that its title has lost, or else o.
func exact(o Setting, unit []Setting) Setting {
	for _, u := range unit {
		if u.Keyword == o.Keyword && sameWords(u.Value, o.Value) {
			return u
		}
	}
	return o
}

// Config reads the configuration files.
func (s *Server) Config() (*Config, error) {
	if err := checkPath(s.ConfigFile); err != nil {
		return nil, err
	}
	return ReadConfig(s.Root, s.ConfigFile)
}

// checkPath refuses a file by a relative path: sshd has left the directory that it was
// started in.
func checkPath(file string) error {
	if filepath.IsAbs(file) {
		return nil
	}
	return fmt.Errorf("sshd was started with -f %s, and the directory in which that file is unknown", file)
}
