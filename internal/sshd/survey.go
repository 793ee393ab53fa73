package sshd

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// maxSamples bounds how many connections a survey asks about.
const maxSamples = 24

// A Sample is what sshd uses for one of the connections that a survey asks about.
type Sample struct {
	// For says which connection that is: "anybody", "anybody at ADDRESS port PORT", or the
	// criteria of a Match block.
	For string
	// Anybody says that it is anybody's, at one of the addresses and ports.
	Anybody   bool
	Effective Effective
	// Override is the line of a Match block that sets the command or its user for it,
	// or the zero Setting.
	Override Setting
	// Err is why that is not known: an *UnknownError.
	Err error
}

// Survey asks sshd what it uses for anybody at each address and port at which it takes
// connections, and for each Match block for a connection that the block holds for: a user,
// group, address or port that it names. For what a block names as an exception (!alice) it
// asks, too. The first sample is that of anybody at the lowest port; it is always there
// where there is no error.
func (s *Server) Survey(ctx context.Context) ([]Sample, error) {
	anybody, err := s.Effective(ctx, Connection{})
	if err != nil {
		return nil, err
	}
	list := []Sample{{For: "anybody", Anybody: true, Effective: anybody, Override: anybody.override()}}
	config, err := s.Config()
	if err != nil || !config.hasMatch() {
		return list, nil
	}
	for _, conn := range s.AtEach(ctx, Connection{})[1:] {
		one := s.asked(ctx, "anybody at "+conn.At(), conn)
		one.Anybody = true
		list = append(list, one)
	}
	for _, block := range config.Blocks {
		if len(list) >= maxSamples {
			break
		}
		list = append(list, s.sample(ctx, config, block))
		excepted := s.exceptions(block.Match[len(block.Match)-1])
		for _, conn := range excepted[:min(len(excepted), maxSamples-len(list))] {
			list = append(list, s.asked(ctx, conn.String(), conn))
		}
	}
	return list, nil
}

// asked asks about a connection.
func (s *Server) asked(ctx context.Context, whose string, conn Connection) Sample {
	one := Sample{For: whose}
	one.Effective, one.Err = s.Effective(ctx, conn)
	one.Override = one.Effective.override()
	return one
}

// override returns the line of a Match block that sets the command or its user, or the
// zero Setting.
func (e Effective) override() Setting {
	for _, from := range []Setting{e.CommandFrom, e.UserFrom} {
		if len(from.Match) > 0 {
			return from
		}
	}
	return Setting{}
}

// sample asks about a connection that a Match block holds for.
func (s *Server) sample(ctx context.Context, config *Config, block Setting) Sample {
	one := Sample{For: "Match " + strings.Join(block.Match, ", in Match ")}
	conn, ok := s.connectionFor(block.Match)
	if !ok {
		one.Err = unknown("no connection is known that %s holds for", one.For)
		return one
	}
	n, err := s.firstOf(ctx, config, []Setting{block}, KeywordCommand, conn)
	switch {
	case err != nil:
		one.Err = err
	case n < 0:
		one.Err = unknown("sshd says that %s does not hold for %s", one.For, conn)
	default:
		one.Effective, one.Err = s.Effective(ctx, conn)
	}
	one.Override = one.Effective.override()
	return one
}

// String returns the connection as sshd -C has it, without what is not set.
func (conn Connection) String() string {
	var words []string
	for _, f := range []field{{"user", conn.User}, {"host", conn.Host}, {"addr", conn.Addr}, {"laddr", conn.LocalAddr}, {"lport", strconv.Itoa(conn.LocalPort)}, {"rdomain", conn.RDomain}} {
		if f.value != "" && f.value != "0" {
			words = append(words, f.name+"="+f.value)
		}
	}
	return strings.Join(words, ",")
}

// At says where the connection comes in: "10.0.0.1 port 22".
func (conn Connection) At() string { return fmt.Sprintf("%s port %d", conn.LocalAddr, conn.LocalPort) }

// exceptions makes a connection of each name and address that the criteria of a Match line
// except.
func (s *Server) exceptions(criteria string) (list []Connection) {
	fields := Words(strings.ReplaceAll(criteria, "=", " "))
	for i := 0; i+1 < len(fields); i++ {
		name := strings.ToLower(fields[i])
		for p := range strings.SplitSeq(fields[i+1], ",") {
			excepted, ok := strings.CutPrefix(p, "!")
			switch value := concrete(excepted); {
			case !ok || value == "":
			case name == "user":
				list = append(list, Connection{User: value})
			case name == "group":
				if member := s.memberOf([]string{value}); member != "" {
					list = append(list, Connection{User: member})
				}
			case name == "host":
				list = append(list, Connection{Host: value})
			case name == "address":
				list = append(list, Connection{Addr: address(value)})
			}
		}
	}
	return list
}

// connectionFor makes a connection of the criteria of Match lines. It is a guess, which
// sshd is asked about.
func (s *Server) connectionFor(criteria []string) (conn Connection, ok bool) {
	for _, line := range criteria {
		list := Words(strings.ReplaceAll(line, "=", " "))
		for i := 0; i < len(list); i++ {
			name := strings.ToLower(list[i])
			if name == "all" || name == "invalid-user" {
				continue
			}
			if i++; i == len(list) {
				return conn, false
			}
			value := concrete(list[i])
			switch name {
			case "user":
				conn.User = value
			case "group":
				conn.User = s.memberOf(strings.Split(list[i], ","))
				value = conn.User
			case "host":
				conn.Host = value
			case "address":
				conn.Addr = address(value)
			case "localaddress":
				conn.LocalAddr = address(value)
			case "localport":
				conn.LocalPort, _ = strconv.Atoi(value)
			case "rdomain":
				conn.RDomain = value
			}
			if value == "" {
				return conn, false
			}
		}
	}
	return conn, true
}

// concrete returns a text that the first of some patterns matches which is not negated.
func concrete(list string) string {
	for p := range strings.SplitSeq(list, ",") {
		if p != "" && p[0] != '!' {
			if text := strings.NewReplacer("*", "", "?", "x").Replace(p); text != "" {
				return text
			}
			return Anybody
		}
	}
	return ""
}

// address returns an address for a network or the beginning of an address.
func address(value string) string {
	if prefix, err := netip.ParsePrefix(value); err == nil {
		return prefix.Addr().String()
	}
	if _, err := netip.ParseAddr(value); err == nil {
		return value
	}
	value = strings.ReplaceAll(value, "x", "1")
	for _, rest := range []string{"1", "1.1", "1.1.1", ":1"} {
		if _, err := netip.ParseAddr(value + rest); err == nil {
			return value + rest
		}
	}
	return anyClient
}

// memberOf returns an account of a group that patterns match, by the files of the
// system.
func (s *Server) memberOf(patterns []string) string {
	gids := make(map[string]bool)
	for f := range s.entries("/etc/group") {
		if len(f) < 4 || !MatchList(patterns, f[0]) {
			continue
		}
		if members := strings.Split(f[3], ","); members[0] != "" {
			return members[0]
		}
		gids[f[2]] = true
	}
	for f := range s.entries("/etc/passwd") {
		if len(f) > 3 && gids[f[3]] {
			return f[0]
		}
	}
	return ""
}

// entries are the lines of a file like /etc/passwd.
func (s *Server) entries(path string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		text, err := readFile(sysroot.Path(s.Root, path), maxConfig)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			if !yield(strings.Split(strings.TrimSpace(line), ":")) {
				return
			}
		}
	}
}

// Describe says in one line what the sample has found.
func (one Sample) Describe() string {
	e := one.Effective
	switch {
	case one.Err != nil:
		return fmt.Sprintf("%s: %v", one.For, one.Err)
	case e.Command == "":
		return one.For + ": no command"
	}
	return fmt.Sprintf("%s: %s as %s (%s)", one.For, e.Command, e.User, e.CommandFrom.Place())
}
