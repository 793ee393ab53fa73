package serialgate

import (
	"cmp"
	"fmt"
	"time"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// What the gate says on the line. Its reader is not authenticated yet, so it is
// the gate's own words only: nothing of what a record, an error or the
// configuration says, but for the id of the instance, which is the name that the
// console was reached by.
const (
	looking = "\nLooking for a key ...\n"
	again   = "Press Enter to look again.\n"
)

// refusal says why the console stays locked, and how it is opened.
func refusal(tty string, v view, wait time.Duration) string {
	word := reason.Of(v.err)
	why := cmp.Or(toPerson(word), word.Hint())
	text := fmt.Sprintf("\nThe console %s is locked (%s): %s.\n", tty, word, why)
	if opensWithKey(word) {
		id := v.instance
		if !instance.IsID(id) {
			id = "INSTANCE-ID"
		}
		text += fmt.Sprintf(`To open it, push a key, and press Enter here within 60 seconds:

  aws ec2-instance-connect send-ssh-public-key --instance-id %s \
      --instance-os-user %s --ssh-public-key file://KEY.pub

`, id, User(id, onlyPort))
	}
	return text + fmt.Sprintf("The next attempt can be made in %s.\n", config.Span(wait))
}

// opensWithKey reports whether, with that reason, another push may open the console.
func opensWithKey(word reason.Word) bool {
	switch word {
	case reason.Config, reason.NotEC2, reason.NoSuchPort, reason.NotRemembered, reason.GettyFailed, reason.UserDenied:
		return false
	}
	return true
}

// toPerson says why, where the hint for administrators does not fit a person at
// the console.
func toPerson(word reason.Word) string {
	switch word {
	case reason.NotPushed:
		return "no key is pushed for it"
	case reason.AlreadyUsed:
		return "the pushed key has already opened it: each push opens it once"
	case reason.Expired:
		return "the pushed key has expired, or the clock of this machine is wrong"
	case reason.UserDenied:
		return "[users] in the configuration of eic-agent denies it"
	case reason.CallerNotMapped:
		return "no [[users.map]] row in the configuration of eic-agent allows the caller who pushed the key"
	case reason.IMDSUnreachable:
		return "the metadata service is unreachable, so pushed keys are unknown"
	case reason.IMDSError:
		return "the metadata service failed, so pushed keys are unknown"
	case reason.Config:
		return "the configuration of eic-agent is invalid; see the journal"
	case reason.GettyFailed:
		return "the getty cannot be started; see the journal"
	case reason.NotRemembered:
		return "cannot record that the key has been used; see the journal"
	case reason.NoSuchPort:
		return "EC2 has only serial port 0, and this one is configured as another"
	case reason.NotEC2:
		return "this machine is not an EC2 instance"
	}
	return ""
}

// breakingGlass says that the console is about to be opened without a key.
func breakingGlass(v view, wait time.Duration) string {
	return fmt.Sprintf("\nThe metadata service is unavailable (%s). As configured, the console opens without a key:\nit asks for a login in %s unless the service recovers. This is logged.\n", reason.Of(v.err), config.Span(wait))
}
