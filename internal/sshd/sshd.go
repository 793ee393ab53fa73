// Package sshd finds out how sshd is set up on a host: which sshd, run by which
// unit, and which AuthorizedKeysCommand it uses for whom, with the place that sets
// it. Asking it changes nothing, but for what sshd misses for an answer.
//
// It works on the running system, and on one in a directory such as an image that
// is being built; paths are always given as they are seen from the root of that
// system.
package sshd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// DefaultConfig is where sshd looks for its configuration.
const DefaultConfig = "/etc/ssh/sshd_config"

// ErrNotInstalled says that there is no sshd.
var ErrNotInstalled = errors.New("there is no sshd")

// A Server is the sshd of a system.
type Server struct {
	Root    string  `json:"-"` // "/", or the directory of the system
	Program string  `json:"program"`
	Version Version `json:"version"` // zero where the program does not say
	// VersionText is what the program says of itself: "OpenSSH_9.2p1 Debian-2".
	VersionText string `json:"version_text,omitempty"`
	// ConfigFile is the file that the running sshd, else its unit, names with
	// -f, else the default. It need not be there.
	ConfigFile string `json:"config_file"`
	// Listeners are the sshds that run, the one of the unit first.
	Listeners []Listener `json:"listeners,omitempty"`
	Units     []Unit     `json:"units,omitempty"`
	// Systemd says that systemd runs the system.
	Systemd bool `json:"systemd"`
	// Options are those of the command line (-o) of the running sshd, or where
	// none runs of its unit. They win over every file, and sshd -T does not show
	// them by itself.
	Options []Setting `json:"options,omitempty"`
	// UnitOptions are those that the unit gives sshd when it is started next.
	UnitOptions []Setting `json:"unit_options,omitempty"`

	asking     sync.Mutex // over what follows
	privsepDir string     // that sshd -t misses, or ""
	needsKey   bool       // sshd -t misses a host key
	spareKey   string     // one made for it, or ""
}

// Find looks for sshd on the system whose root directory is root. It starts sshd
// to ask for its version, and systemctl where systemd runs. The error is
// ErrNotInstalled where there is no sshd.
func Find(ctx context.Context, root string) (*Server, error) {
	s := &Server{Root: filepath.Clean(root), Units: findUnits(root)}
	if s.Live() {
		if _, err := os.Stat("/run/systemd/system"); err == nil {
			s.Systemd = true
			for i := range s.Units {
				s.Units[i].ask(ctx)
			}
		}
		s.Listeners = Listeners()
		main := s.mainPID()
		slices.SortStableFunc(s.Listeners, func(a, b Listener) int {
			switch {
			case a.PID == main:
				return -1
			case b.PID == main:
				return 1
			}
			return a.PID - b.PID
		})
	}
	if err := s.findProgram(); err != nil {
		return nil, err
	}
	s.findVersion(ctx)
	s.findCommandLine()
	return s, nil
}

// Live reports whether it is the running system.
func (s *Server) Live() bool { return s.Root == "/" }

// Path returns a path of the system as it is seen from here.
func (s *Server) Path(path string) string { return sysroot.Path(s.Root, path) }

// Service returns the unit that runs sshd, or a zero Unit: the one that is active,
// else the first.
func (s *Server) Service() Unit { return s.unit(false) }

// Socket returns the unit that starts sshd for the first connection, or a zero
// Unit.
func (s *Server) Socket() Unit { return s.unit(true) }

func (s *Server) unit(socket bool) Unit {
	var first Unit
	for _, u := range s.Units {
		if u.IsSocket() != socket {
			continue
		}
		if u.Active == "active" || u.Active == "reloading" {
			return u
		}
		if first.Name == "" {
			first = u
		}
	}
	return first
}

func (s *Server) mainPID() int {
	return s.Service().MainPID
}

// Listener returns the running sshd that counts: the unit's, or else the first;
// ok is false where none runs.
func (s *Server) Listener() (l Listener, ok bool) {
	if len(s.Listeners) == 0 {
		return Listener{}, false
	}
	return s.Listeners[0], true
}

func (s *Server) findProgram() error {
	var candidates []string
	if l, ok := s.Listener(); ok {
		candidates = append(candidates, l.Program)
	}
	if start := s.Service().ExecStart; len(start) > 0 {
		candidates = append(candidates, start[0])
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
	// sshd before 9.2 does not know -V, and says its version with its usage.
	r, _ := hostcmd.Command{Name: s.Program, Args: []string{"-V"}, Root: s.Root}.Run(ctx)
	out := r.Stdout + r.Stderr
	s.Version = parseVersion(out)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "OpenSSH_") {
			s.VersionText, _, _ = strings.Cut(strings.TrimSpace(line), ",")
		}
	}
}

func (s *Server) findCommandLine() {
	unit := s.Service()
	s.UnitOptions = unit.Options()
	s.Options = s.UnitOptions
	l, running := s.Listener()
	// Where the unit's command line reads like that of the process, it is it, and
	// its words are known.
	if running && l.Args != strings.Join(unit.ExecStart, " ") {
		s.Options = nil
		for _, o := range l.Options {
			s.Options = append(s.Options, exact(o, s.UnitOptions))
		}
	}
	s.ConfigFile = l.Config
	if !running {
		for i, word := range unit.ExecStart {
			if word == "-f" && i+1 < len(unit.ExecStart) {
				s.ConfigFile = unit.ExecStart[i+1]
			}
		}
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
}

// exact returns the option of the unit that a running sshd shows as o, with its
// place and with the words that its title has lost, or else o.
func exact(o Setting, unit []Setting) Setting {
	for _, u := range unit {
		shown := strings.Join(strings.Fields(o.Value), " ")
		plain := strings.NewReplacer(`"`, "", `\`, "").Replace
		if u.Keyword == o.Keyword && plain(shown) == plain(strings.Join(strings.Fields(u.Value), " ")) {
			return u
		}
	}
	return o
}

// Config reads the configuration files.
func (s *Server) Config() (*Config, error) { return ReadConfig(s.Root, s.ConfigFile) }
