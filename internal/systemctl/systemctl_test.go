package systemctl

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const stub = "#!/bin/sh\necho \"$*\"\n[ \"$1\" = show ] && exit 0\nprintf 'no\\n such  unit\\n' >&2\nexit 5\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := Run(context.Background(), "show", "x"); out != "show x\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	out, err := Run(context.Background(), "start", "x")
	if _, ok := err.(interface{ Unwrap() error }); !ok || out != "" || err.Error() != "systemctl start x: exit status 5: no such unit" {
		t.Errorf("%q, %v", out, err)
	}
	t.Setenv("PATH", dir+"/none")
	if _, err := Run(context.Background()); err == nil {
		t.Error("no error without systemctl")
	}
}
