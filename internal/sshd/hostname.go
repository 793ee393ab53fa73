package sshd

import (
	"context"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// AskNamed is Ask with the name that sshd finds for the address of the client, where it looks
// for one. It returns the connection that sshd was asked about.
func (s *Server) AskNamed(ctx context.Context, conn Connection) (Values, Connection, string, error) {
	values, how, err := s.Ask(ctx, conn)
	if named, ok := s.named(ctx, values, conn); ok && err == nil {
		conn = named
		values, how, err = s.Ask(ctx, conn)
	}
	return values, conn, how, err
}

// named returns the connection with the client's name, and whether that is another than its
// address: with UseDNS sshd looks the name up, and takes it where it leads back to the
// address.
func (s *Server) named(ctx context.Context, values Values, conn Connection) (Connection, bool) {
	if conn.Addr == "" || conn.Host != "" || values.Get("UseDNS") != "yes" || !s.Live() {
		return conn, false
	}
	out, err := hostcmd.Output(ctx, "getent", "hosts", conn.Addr)
	fields := strings.Fields(out)
	if err != nil || len(fields) < 2 {
		return conn, false
	}
	name := strings.ToLower(fields[1])
	if out, err = hostcmd.Output(ctx, "getent", "ahosts", name); err != nil {
		return conn, false
	}
	back := slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool { return strings.HasPrefix(line, conn.Addr+" ") })
	if back {
		conn.Host = name
	}
	return conn, back
}
