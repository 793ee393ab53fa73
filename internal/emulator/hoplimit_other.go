//go:build !linux

package emulator

import (
	"context"
	"net"
)

func withConn(ctx context.Context, _ net.Conn) context.Context { return ctx }

// setHopLimit does nothing here: session tokens cross every router.
func setHopLimit(context.Context, int) {}
