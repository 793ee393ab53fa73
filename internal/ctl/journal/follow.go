package journal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

// Follow calls each with every record of q from cursor on, or from q.Since without one,
// and then with each that is written, until ctx is done or each returns an error. The
// record at cursor comes first, if it is still there. It returns nil where ctx is done.
func Follow(ctx context.Context, q Query, cursor string, each func(*Record) error) error {
	if err := probe(ctx, "journalctl", q); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{"--no-pager", "--output=export", "--follow", "--no-tail"}
	if cursor != "" {
		args = append(args, "--cursor="+cursor)
	} else {
		args = append(args, fmt.Sprintf("--since=@%d", max(q.Since.Unix(), 0)))
	}
	cmd, err := hostcmd.Command{Name: "journalctl", Args: append(append(append(args, of(q.Directory)...), "--"), q.Matches...)}.Prepare(ctx)
	if err != nil {
		return err
	}
	stderr := &head{limit: maxStderr}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return &Error{fmt.Sprintf("journalctl could not be started: %v", err), ""}
	}
	decodeErr := Decode(stdout, each)
	done := ctx.Err() != nil
	cancel()
	_, _ = io.Copy(io.Discard, stdout)
	waitErr := cmd.Wait()
	switch {
	case decodeErr != nil && !errors.Is(decodeErr, errCut):
		return decodeErr
	case done:
		return nil
	}
	if _, err := judge(stderr.buffer.String(), waitErr, q.Directory); err != nil {
		return err
	}
	return &Error{"journalctl ended by itself", ""}
}
