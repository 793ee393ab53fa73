//go:build !linux

package gateway

import (
	"context"
	"errors"
	"time"
)

var errNoTerminals = errors.New("terminals are supported on Linux only; use unix:PATH")

func newPty(string) (device, error) { return nil, errNoTerminals }

func newTTY(path string) device { return tty{path} }

type tty struct{ path string }

func (tty) open() (port, error) { return nil, errNoTerminals }

func (t tty) name() string { return t.path }

func (tty) sendBreak(context.Context, port, time.Duration) error { return errNoBreak }

func (tty) close() {}
