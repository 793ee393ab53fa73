//go:build !linux

package metadata

import (
	"context"
	"net"
)

// ConnContext is for the field of that name of an http.Server: the hop limit of
// answers is set on the connection.
func ConnContext(ctx context.Context, _ net.Conn) context.Context { return ctx }

// setHopLimit does nothing here: session tokens cross every router.
func setHopLimit(context.Context, int) {}
