package imds

import "errors"

// An outage is an error that says that the service did not work at all.
type outage struct{ cause error }

func (o outage) Error() string { return o.cause.Error() }
func (o outage) Unwrap() error { return o.cause }

// IsOutage reports whether err, of Get, says that the service did not work: no
// connection to it, no answer in time, a connection that was closed without an
// answer, or a status from 500 on. Every other error is an answer, and so is
// ErrNotFound.
func IsOutage(err error) bool {
	_, ok := errors.AsType[outage](err)
	return ok
}
