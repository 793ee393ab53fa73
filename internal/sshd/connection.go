package sshd

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Connection is what Match blocks look at. A field that is empty stands for
// something that no Match block names, so that the zero Connection is that of anybody:
// a client with an address of a documentation network, who asks for a user that does
// not exist, at the address and port that this sshd takes connections at. A block that
// holds for everybody, such as Match User *, holds for it too.
type Connection struct {
	User string `json:"user,omitempty"`
	// Host and Addr are the client's name and address. sshd takes the address for
	// the name unless UseDNS is yes, and so does an empty Host.
	Host      string `json:"host,omitempty"`
	Addr      string `json:"addr,omitempty"`
	LocalAddr string `json:"laddr,omitempty"`
	LocalPort int    `json:"lport,omitempty"`
	RDomain   string `json:"rdomain,omitempty"`
}

// Anybody is the name of a user that does not exist, as whom the zero Connection asks.
const Anybody = "eicctl-anybody"

const (
	anyClient = "192.0.2.1"
	anyServer = "192.0.2.2"
	sshPort   = 22
)

// A field is one of sshd's connection specification.
type field struct{ name, value string }

// fields returns the whole specification for sshd -C: sshd fails for a Match block
// that looks at what is not given.
func (s *Server) fields(conn Connection) ([]field, error) {
	addr := cmp.Or(conn.Addr, anyClient)
	laddr, lport := s.endpoint()
	list := []field{
		{"user", cmp.Or(conn.User, Anybody)},
		{"host", cmp.Or(conn.Host, addr)},
		{"addr", addr},
		{"laddr", cmp.Or(conn.LocalAddr, laddr)},
		{"lport", strconv.Itoa(cmp.Or(conn.LocalPort, lport))},
		{"rdomain", conn.RDomain},
	}
	for _, f := range list {
		if strings.ContainsAny(f.value, ",\n") {
			return nil, unknown("sshd cannot be asked about the %s %.64q: its -C has no way to write it", f.name, f.value)
		}
	}
	return list, nil
}

// endpoint returns the address and port at which the next connection is taken.
func (s *Server) endpoint() (string, int) { return anyServer, sshPort }

func spec(fields []field) string {
	var words []string
	for _, f := range fields {
		words = append(words, f.name+"="+f.value)
	}
	return strings.Join(words, ",")
}

// withoutRefused returns the fields without the one that sshd says it does not know.
// Only rdomain is left out, which came with OpenSSH 7.8, and with it Match RDomain.
func withoutRefused(fields []field, said string) (rest []field, ok bool) {
	last := fields[len(fields)-1]
	if last.name != "rdomain" || last.value != "" || !strings.Contains(said, "rdomain=") {
		return fields, false
	}
	return fields[:len(fields)-1], true
}

func unknown(format string, args ...any) error {
	return &UnknownError{Reason: fmt.Sprintf(format, args...)}
}
