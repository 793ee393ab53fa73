// A run is too short for the runtime to follow the limits of its control group.
//
//go:debug updatemaxprocs=0

// Eic-authkeys is sshd's AuthorizedKeysCommand for EC2 Instance Connect: it
// prints the keys that were pushed for a user within the last 60 seconds and
// that can be proved.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/reason"
	_ "github.com/eic-agent/eic-agent/internal/startup"
	"github.com/eic-agent/eic-agent/internal/version"
)

const program = "eic-authkeys"

const usage = `Usage: eic-authkeys [--config FILE] USER [FINGERPRINT [TYPE KEY]]

Prints, as authorized_keys lines, the SSH keys pushed for USER through EC2
Instance Connect that are genuine, valid and meant for this instance. sshd runs it:

    AuthorizedKeysCommand /usr/bin/eic-authkeys %u %f
    AuthorizedKeysCommandUser eic-agent

  --config FILE   read FILE instead of ` + config.DefaultPath + `
  --version       print the version and exit
  FINGERPRINT     print only the key with this fingerprint (SHA256:... or MD5:...)
  TYPE KEY        sshd's %t and %k, for the commands of [chain]

Exit status: 0 if the answer is known, which may be no key; 1 if it cannot be
determined; 2 for a usage error. See eic-authkeys(8).
`

// answerTime is how long after its start a run has to be done, events included: sshd
// has an answer inside 5 seconds.
const answerTime = 4900 * time.Millisecond

// Exit codes. sshd discards the output of a run that does not exit with 0.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	unix.Umask(0o022) // for the cache and the programs of [chain], whatever sshd's
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout io.Writer, stderr *os.File) int {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	configPath := flags.String("config", config.DefaultPath, "")
	showVersion := flags.Bool("version", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stdout, usage)
		return exitOK
	case err == nil && *showVersion:
		fmt.Fprintln(stdout, program, version.String())
		return exitOK
	case err == nil && flags.NArg() != 1 && flags.NArg() != 2 && flags.NArg() != 4:
		err = errors.New("expected USER [FINGERPRINT [TYPE KEY]]")
	}
	var filter fingerprint.Filter
	if err == nil {
		filter, err = fingerprint.ParseFilter(flags.Arg(1))
	}
	log := audit.New(program, stderr)
	log.FinishBy(time.Now().Add(answerTime))
	if err != nil {
		fail(log, "", reason.New(reason.Usage, err.Error()))
		return exitUsage
	}
	q := question{flags.Arg(0), filter, flags.Arg(1), flags.Arg(2), flags.Arg(3)}
	if err := provide(*configPath, q, stdout, log); err != nil {
		fail(log, flags.Arg(0), err)
		return exitFailed
	}
	return exitOK
}

// fail reports that the keys of user, "" if there is none, cannot be determined.
func fail(log *audit.Logger, user string, err error) {
	whose := ""
	if user != "" {
		whose = fmt.Sprintf(" of user %.64q", user)
	}
	word := reason.Of(err)
	log.Log(audit.Event{
		Kind:    audit.RunFailed,
		Reason:  word,
		Message: fmt.Sprintf("cannot determine the keys%s (%s): %v; %s", whose, word, err, word.Hint()),
		User:    user,
		SSHDPID: os.Getppid(),
	})
}
