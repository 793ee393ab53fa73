package metadata

import (
	"context"
	"net"

	"golang.org/x/sys/unix"
)

// A connKey is the key of the connection in the context of a request.
type connKey struct{}

// ConnContext is for the field of that name of an http.Server: the hop limit of
// answers is set on the connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// setHopLimit has what is sent on the connection of a request from now on cross
// so many routers: with 1, only this host sees it.
func setHopLimit(ctx context.Context, hops int) {
	c, ok := ctx.Value(connKey{}).(*net.TCPConn)
	if !ok {
		return // not over TCP, as in a test
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hops) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops)
		}
	})
}
