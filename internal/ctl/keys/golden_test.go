package keys

import (
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/golden"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// What people read.
func TestText(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"record-ok", "caller-altered", "timestamp-a-second-ago", "key-rsa1024", "chain-empty"} {
		golden.Compare(t, name, report(t, vectors.Read(t, name)).Text())
	}
	at := time.Unix(1_800_000_000, 0)
	golden.Compare(t, "config", Failed("alice", at, reason.New(reason.Config, "the file is broken")).Text())
	golden.Compare(t, "nothing", New(authkeys.Inspection{User: "bob", Instance: "i-0123456789abcdef0", Source: "board", Nothing: "no key is pushed for this user"}, at).Text())

	cut := report(t, vectors.Read(t, "record-ok"))
	cut.ReadLimit = 1536 << 10
	golden.Compare(t, "cut-off", cut.Text())

	refused := report(t, vectors.Read(t, "record-ok"))
	refused.SSHDUser = "other"
	refused.Login = []accept.Limit{{Status: accept.Refuses, Text: "AllowUsers does not list the user", Fix: "add the user to AllowUsers"}}
	golden.Compare(t, "sshd-refuses", refused.Text())
}
