package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keycache"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/version"
)

// overtime is how long after the deadline a run is given up. The network keeps the
// deadline; what takes longer is a run that has too much to compute.
const overtime = 500 * time.Millisecond

// A question is what sshd asks.
type question struct {
	user        string
	filter      fingerprint.Filter
	fingerprint string // as given, like what follows only for the chain
	keyType     string
	key         string
}

// provide prints our own keys in one write, after all is decided, and logs what was
// decided; after them it prints those of the chain, in one write too. Nothing is
// printed with an error.
func provide(configPath string, q question, stdout io.Writer, log *audit.Logger) error {
	cfg, err := config.Load(configPath)
	if err != nil {
		return err
	}
	further := newFurther(cfg, q, log)
	// sshd before 7.6 closes the pipe at the first match.
	further.ignoreSIGPIPE()
	conclude := func(answer authkeys.Answer, runErr error) error {
		if err := printKeys(stdout, answer.Lines); err != nil {
			return err
		}
		for _, e := range answer.Events {
			log.Log(e)
		}
		others := further.keys(len(answer.Lines) > 0)
		if err := printKeys(stdout, others); err != nil {
			return err
		}
		if runErr != nil && len(others) > 0 {
			// With another exit code than 0 sshd would discard them.
			fail(log, q.user, runErr)
			return nil
		}
		return runErr
	}

	ctx, cancel := context.WithTimeout(context.Background(), cfg.IMDS.Timeout.Duration)
	defer cancel()
	var concluding sync.Mutex // by this goroutine or by the timer; the second one waits for the exit
	time.AfterFunc(cfg.IMDS.Timeout.Duration+overtime, func() {
		concluding.Lock()
		late := reason.New(reason.Deadline, fmt.Sprintf("timed out after %v", cfg.IMDS.Timeout))
		if err := conclude(authkeys.Answer{}, late); err != nil {
			fail(log, q.user, err)
			os.Exit(exitFailed)
		}
		os.Exit(exitOK)
	})

	cache, err := keycache.Open(cfg.Cache.Dir)
	if err != nil {
		log.Log(audit.Event{Kind: audit.NothingToSay, Message: fmt.Sprintf("no cache: %v", err), User: q.user})
	} else if cache != nil {
		log.CountLosses(cfg.Cache.Dir + "/" + keycache.LossesName)
	}
	agent := authkeys.New(cfg, program+"/"+version.String(), cache)
	agent.SSHDPID = os.Getppid()
	answer, runErr := agent.Run(ctx, q.user, q.filter)
	concluding.Lock()
	return conclude(answer, runErr)
}

// printKeys prints lines in one write. That sshd has enough is no error.
func printKeys(stdout io.Writer, lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := io.Copy(stdout, bytes.NewReader(lines)); err != nil && !errors.Is(err, syscall.EPIPE) {
		return reason.New(reason.OutputFailed, fmt.Sprintf("cannot write the keys: %v", err))
	}
	return nil
}
