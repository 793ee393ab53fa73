package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/chain"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/reason"
)

const (
	// headStart is how long the chain waits for our own answer: after that it
	// runs beside it, so that a metadata service that hangs costs it nothing.
	headStart = 500 * time.Millisecond
	// chainTime is how long after the start of the run the chain has to be
	// done: sshd has an answer inside 5 seconds.
	chainTime = 4500 * time.Millisecond
	// startTime is how much longer a run waits for a chain with a command that is
	// still being started, which no deadline ends.
	startTime = 200 * time.Millisecond
)

// further is the chain of a run.
type further struct {
	commands []string
	call     chain.Call
	log      *audit.Logger

	asked  chan bool // our own answer is known: whether the chain is wanted
	result chan []chain.Result
	late   <-chan time.Time // from when on nobody waits for result
}

// newFurther sets the clock of the chain, if there is one: it runs when our own answer is
// known, or after headStart.
func newFurther(cfg *config.Config, q question, log *audit.Logger) *further {
	f := &further{commands: cfg.Chain.Command, log: log}
	if len(f.commands) == 0 {
		return f
	}
	f.call = chain.Call{User: q.user, Fingerprint: q.fingerprint, KeyType: q.keyType, Key: q.key, Stderr: os.Stderr, Root: "/"}
	// Starting a command from a file system that does not answer blocks a thread that can
	// neither be stopped nor give its processor away: the deadlines need a second processor.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(-1)
	f.asked = make(chan bool, 1)
	f.late = time.After(chainTime + startTime)
	f.result = make(chan []chain.Result, 1)
	go f.run()
	return f
}

// ignoreSIGPIPE has writes to a closed pipe fail instead of ending the program. A
// signal that is ignored would stay so in the commands of the chain.
func (f *further) ignoreSIGPIPE() {
	if len(f.commands) > 0 {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		return
	}
	signal.Ignore(syscall.SIGPIPE)
}

func (f *further) run() {
	ctx, cancel := context.WithTimeout(context.Background(), chainTime)
	defer cancel()
	wait := time.NewTimer(headStart)
	defer wait.Stop()
	select {
	case wanted := <-f.asked:
		if !wanted {
			f.result <- nil
			return
		}
	case <-wait.C:
		go func() {
			if !<-f.asked {
				cancel()
			}
		}()
	}
	f.result <- chain.Run(ctx, f.commands, f.call)
}

// keys returns what the chain prints after our own answer. It logs which commands
// failed. Where our own answer has the one key that sshd asked for the chain is not
// wanted, and what runs of it is ended.
func (f *further) keys(found bool) []byte {
	if len(f.commands) == 0 {
		return nil
	}
	wanted := f.call.Fingerprint == "" || !found
	f.asked <- wanted
	var results []chain.Result
	select {
	case results = <-f.result:
	case <-f.late:
		for _, line := range f.commands {
			results = append(results, chain.Result{Line: line, Err: errors.New("timed out before it, or the command before it, started")})
		}
	}
	if !wanted {
		return nil
	}
	var lines []byte
	for _, r := range results {
		lines = append(lines, r.Output...)
		if r.Err != nil {
			f.log.Log(audit.Event{
				Kind:    audit.ChainFailed,
				Reason:  reason.ChainFailed,
				Message: fmt.Sprintf("no keys from %.300q (%s): %v; %s", r.Line, reason.ChainFailed, r.Err, reason.ChainFailed.Hint()),
				User:    f.call.User,
				SSHDPID: os.Getppid(),
			})
		}
	}
	return lines
}
