package e2e

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

// A run that hangs where no deadline of the network reaches it is given up all the
// same: here by a board that does not answer.
func TestRunIsGivenUp(t *testing.T) {
	const board = "/sys/devices/virtual/dmi/id/board_asset_tag"
	if err := w.SetFile(board, "\n", 0o444); err != nil {
		t.Fatal(err)
	}
	fifo := w.Path("board")
	if err := unix.Mkfifo(fifo, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fifo, board, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(board, unix.MNT_DETACH)
	const config = "/etc/eic-agent/late.toml"
	for _, chain := range []string{"", "[chain]\ncommand = [\"/bin/echo ssh-ed25519\"]\n"} {
		if err := w.SetFile(config, "[imds]\ntimeout = \"100ms\"\n"+chain, 0o644); err != nil {
			t.Fatal(err)
		}
		user, _ := w.newUser(t)
		r := runAgent(t, "--config", config, user)
		code, stdout := 1, ""
		if chain != "" {
			code, stdout = 0, "ssh-ed25519\n"
		}
		if r.code != code || r.stdout != stdout || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "(deadline)") {
			t.Errorf("%q: exit %d, printed %q, said %q", chain, r.code, r.stdout, r.stderr)
		}
		if r.took > host.Patience {
			t.Errorf("%q: took %v", chain, r.took)
		}
		if failed := w.records(t, user, "run-failed"); len(failed) != 1 || failed[0].Field("EIC_REASON") != "deadline" {
			t.Errorf("%q: the journal has %v", chain, failed)
		}
	}
}
