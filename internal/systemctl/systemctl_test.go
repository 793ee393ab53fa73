package systemctl

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
)

func TestRun(t *testing.T) {
	t.Parallel()
	stub := filepath.Join(t.TempDir(), "systemctl")
	const script = "#!/bin/sh\necho \"$*\"\n[ \"$1\" = show ] && exit 0\nprintf 'no\\nsuch  unit\\n' >&2\nexit 5\n"
	if err := os.WriteFile(stub, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t.Context(), stub, "show", "x"); out != "show x\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	out, err := run(t.Context(), stub, "start", "x")
	if out != "" || hostcmd.ExitCode(err) != 5 || err.Error() != "systemctl start x: no; such  unit" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := run(t.Context(), "eic-no-such-program"); !errors.Is(err, hostcmd.ErrNotFound) {
		t.Errorf("without systemctl: %v", err)
	}
}
