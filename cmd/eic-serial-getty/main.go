// What this process waits for is one key at a time.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Eic-serial-getty is the getty of a serial console on EC2 that stays locked until
// a key is pushed for its port through EC2 Instance Connect.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/serialgate"
	"github.com/eic-agent/eic-agent/internal/version"
)

const program = "eic-serial-getty"

const usage = `Usage: eic-serial-getty [--config FILE] [--port N] TTY [-- COMMAND...]

Locks the serial console TTY until a key is pushed for its port through EC2
Instance Connect, and then executes COMMAND, which is agetty with its arguments.
systemd runs it as root instead of that command; enable it with
"eicctl serial enable".

  --config FILE   read FILE instead of ` + config.DefaultPath + `
  --port N        the EC2 serial port number: 0, the only one
  --version       print the version and exit
  TTY             the terminal: ttyS0, /dev/ttyS0, or - for standard input

See eic-serial-getty(8).
`

// Exit codes.
const (
	exitOK     = 0 // the line was hung up, or works again
	exitFailed = 1
	exitUsage  = 2
)

func init() {
	// The first thread is the one to become the getty: kernels before 6.15 may
	// take the end of another's program for the end of the process.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
}

func main() {
	if err := serialgate.StartClean(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		os.Exit(exitFailed)
	}
	if serialgate.IsWatcher(os.Args[1:]) {
		os.Exit(serialgate.Watch(os.Args[1:], audit.New(program, nil)))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout io.Writer, stderr *os.File) int {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	configPath := flags.String("config", config.DefaultPath, "")
	port := -1 // what the configuration says
	flags.Func("port", "", func(text string) error {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return errors.New("not a port number")
		}
		port = int(n)
		return nil
	})
	showVersion := flags.Bool("version", false, "")
	err := flags.Parse(args)
	rest := flags.Args()
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stdout, usage)
		return exitOK
	case err == nil && *showVersion:
		fmt.Fprintln(stdout, program, version.String())
		return exitOK
	case err == nil && (len(rest) == 0 || len(rest) == 2 || len(rest) > 2 && rest[1] != "--"):
		err = errors.New("expected TTY [-- COMMAND...]")
	}
	log := audit.New(program, serialgate.ErrorOutput(stderr))
	if err != nil {
		return fail(log, exitUsage, reason.New(reason.Usage, err.Error()))
	}
	command := serialgate.DefaultCommand(os.Getenv("TERM"))
	if len(rest) > 2 {
		command = rest[2:]
	}
	gate := &serialgate.Gate{
		ConfigPath: *configPath,
		Port:       port,
		TTY:        rest[0],
		Command:    command,
		UserAgent:  program + "/" + version.String(),
		Log:        log,
	}
	if err := gate.Run(context.Background()); err != nil {
		return fail(log, exitFailed, err)
	}
	return exitOK
}

// restartPause keeps a unit without a start limit from restarting in a loop.
const restartPause = time.Minute

// fail reports why the program ends. Under a service manager it waits before it
// does: it would be started again at once, to no better end.
func fail(log *audit.Logger, code int, err error) int {
	word := reason.Of(err)
	log.Log(audit.Event{Kind: audit.GateFailed, Reason: word, Message: fmt.Sprintf("the console stays locked: eic-serial-getty cannot run (%s): %v; see %s(8)", word, err, program)})
	if os.Getppid() == 1 {
		time.Sleep(restartPause)
	}
	return code
}
