package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/keycache"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/version"
)

// overtime is how long after the deadline, which the network keeps, a run is
// given up that has too much to compute.
const overtime = 500 * time.Millisecond

// provide prints the keys of user in one write, after all is decided, and logs
// what was decided. Nothing is printed with an error.
func provide(configPath, user string, filter fingerprint.Filter, stdout io.Writer, log *audit.Logger) error {
	// sshd before 7.6 closes the pipe at the first match.
	signal.Ignore(syscall.SIGPIPE)

	cfg, err := config.Load(configPath)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.IMDS.Timeout.Duration)
	defer cancel()
	defer time.AfterFunc(cfg.IMDS.Timeout.Duration+overtime, func() {
		fail(log, user, reason.New(reason.Deadline, fmt.Sprintf("there was no answer within %v", cfg.IMDS.Timeout)))
		os.Exit(exitFailed)
	}).Stop()

	var tokens imds.Tokens
	cache, err := keycache.Open(cfg.Cache.Dir)
	if err != nil {
		log.Log(audit.Event{Kind: audit.NothingToSay, Message: fmt.Sprintf("there is no cache: %v", err), User: user})
	} else if cache != nil {
		tokens = cache
	}
	agent := &authkeys.Agent{
		Config:   cfg,
		Metadata: &metadata{Client: imds.New(cfg.IMDS.Endpoint, program+"/"+version.String(), tokens)},
		Cache:    cache,
		Root:     os.DirFS("/"),
		Roots:    cfg.Roots,
		SSHDPID:  os.Getppid(),
	}
	answer, runErr := agent.Run(ctx, time.Now(), user, filter)
	if len(answer.Lines) > 0 {
		_, err := io.Copy(stdout, bytes.NewReader(answer.Lines))
		if err != nil && !errors.Is(err, syscall.EPIPE) {
			return reason.New(reason.OutputFailed, fmt.Sprintf("the keys could not be written: %v", err))
		}
	}
	for _, e := range answer.Events {
		log.Log(e)
	}
	return runErr
}

// metadata is the metadata service on one processor: what a run has to ask is over
// before a second one would have paid for itself. A run that asks nothing is over
// before that.
type metadata struct {
	*imds.Client
	once sync.Once
}

func (m *metadata) Get(ctx context.Context, path string, limit int) ([]byte, error) {
	m.once.Do(func() { runtime.GOMAXPROCS(1) })
	return m.Client.Get(ctx, path, limit)
}
