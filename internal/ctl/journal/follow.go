package journal

import (
	"context"
	"errors"
)

// Follow calls each with every record of q, and then with each that is written, until ctx
// is done or each returns an error. It returns nil where ctx is done.
func Follow(ctx context.Context, q Query, each func(*Record) error) error {
	if err := probe(ctx, "journalctl", q); err != nil {
		return err
	}
	_, err := run(ctx, "journalctl", append([]string{"--follow", "--no-tail"}, q.arguments()...), q, each)
	switch {
	case errors.Is(err, errInterrupted):
		return nil
	case err == nil, errors.Is(err, errCut):
		return &Error{"journalctl exited", ""}
	}
	return err
}
