package sshd

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Connection is what Match blocks look at. A field that is empty stands for
// something that no Match block names, so that the zero Connection is that of anybody:
// a client with an address of a documentation network, who asks for a user that does
// not exist, at the address and port that this sshd takes connections at. A block that
// holds for everybody, such as Match User *, holds for it too. As a user that does not exist
// is in no group, it is nobody where a block looks at groups and none names nobody.
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
	// What sshd says of a socket that has no address.
	noAddress = "UNKNOWN"
	noPort    = 65535
)

// A field is one of sshd's connection specification.
type field struct{ name, value string }

// fields returns the whole specification for sshd -C: sshd fails for a Match block
// that looks at what is not given.
func (s *Server) fields(ctx context.Context, conn Connection) ([]field, error) {
	if conn.User == "" {
		conn.User = s.anybody()
	}
	return fieldsAt(s.endpoints(ctx)[0], conn)
}

// anybody returns the user of the zero Connection.
func (s *Server) anybody() string {
	const nobody = "nobody"
	config, err := s.Config()
	if err != nil {
		return Anybody
	}
	group := false
	for _, block := range config.Blocks {
		for _, word := range Words(strings.ReplaceAll(block.Match[len(block.Match)-1], "=", " ")) {
			group = group || strings.EqualFold(word, "group")
			if slices.Contains(strings.Split(word, ","), nobody) {
				return Anybody
			}
		}
	}
	if group {
		return nobody
	}
	return Anybody
}

func fieldsAt(at endpoint, conn Connection) ([]field, error) {
	client := anyClient
	if at.addr == noAddress {
		client = noAddress
	}
	addr := cmp.Or(conn.Addr, client)
	list := []field{
		{"user", cmp.Or(conn.User, Anybody)},
		{"host", cmp.Or(conn.Host, addr)},
		{"addr", addr},
		{"laddr", cmp.Or(conn.LocalAddr, at.addr)},
		{"lport", strconv.Itoa(cmp.Or(conn.LocalPort, at.port))},
		{"rdomain", conn.RDomain},
	}
	for _, f := range list {
		if strings.ContainsAny(f.value, ",\n") {
			return nil, unknown("sshd cannot be asked about the %s %.64q: its -C has no way to write it", f.name, f.value)
		}
	}
	return list, nil
}

// An endpoint is where connections are taken.
type endpoint struct {
	addr string
	port int
}

// endpoints returns the addresses and ports at which the next connections are taken: of
// a running sshd those of its sockets, of a socket unit those of its file, else those of
// sshd's configuration. The lowest port comes first: the kernel's order is random. An
// address that stands for all of the host's is the first of these.
func (s *Server) endpoints(ctx context.Context) []endpoint {
	s.locating.Lock()
	defer s.locating.Unlock()
	if s.at == nil {
		s.at = s.locate(ctx)
		slices.SortFunc(s.at, func(a, b endpoint) int { return cmp.Or(a.port-b.port, strings.Compare(a.addr, b.addr)) })
		s.at = slices.Compact(s.at)
	}
	return s.at
}

func (s *Server) locate(ctx context.Context) (list []endpoint) {
	l, running := s.Listener()
	switch {
	case running && len(l.Endpoints) > 0:
		for _, at := range l.Endpoints {
			list = append(list, s.hostsOwn(at))
		}
	case !running && len(s.socket.Listen) > 0 && (s.socket.isActive() || s.socket.Accept):
		for _, listen := range s.socket.Listen {
			list = append(list, s.socketEndpoint(listen))
		}
	default:
		list = s.configured(ctx)
	}
	if len(list) == 0 {
		return []endpoint{{anyServer, sshPort}}
	}
	return list
}

// configured are the endpoints of sshd's configuration.
func (s *Server) configured(ctx context.Context) (list []endpoint) {
	fields, err := fieldsAt(endpoint{anyServer, sshPort}, Connection{})
	if err != nil {
		return nil
	}
	dump, err := s.dump(ctx, s.ConfigFile, s.Options, fields)
	if err != nil {
		return nil
	}
	for _, address := range parseValues(dump).All("ListenAddress") {
		if at, err := netip.ParseAddrPort(address); err == nil {
			list = append(list, s.hostsOwn(at))
		}
	}
	return list
}

// AtEach returns the connection at each address and port at which it can come in, of which
// the first is the one that a Connection without them stands for.
func (s *Server) AtEach(ctx context.Context, conn Connection) (list []Connection) {
	for _, at := range s.endpoints(ctx) {
		conn.LocalAddr, conn.LocalPort = at.addr, at.port
		list = append(list, conn)
	}
	return list
}

// socketEndpoint reads ListenStream= of a socket unit. For a socket that has no address,
// AF_UNIX or AF_VSOCK, sshd says UNKNOWN and 65535.
func (s *Server) socketEndpoint(listen string) endpoint {
	if port, err := strconv.ParseUint(listen, 10, 16); err == nil {
		return s.hostsOwn(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)))
	}
	if at, err := netip.ParseAddrPort(listen); err == nil {
		return s.hostsOwn(at)
	}
	return endpoint{noAddress, noPort}
}

func (s *Server) hostsOwn(at netip.AddrPort) endpoint {
	e := endpoint{at.Addr().Unmap().String(), int(at.Port())}
	if !at.Addr().IsUnspecified() {
		return e
	}
	e.addr = anyServer
	if !s.Live() {
		return e
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().IsGlobalUnicast() {
			e.addr = prefix.Addr().String()
			break
		}
	}
	return e
}

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
