package need

import (
	"os/exec"
	"syscall"
	"testing"
)

// Namespaces is for tests that make a host of their own.
func Namespaces(t testing.TB) {
	t.Helper()
	Root(t)
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		Missing(t, "namespaces are refused here: %v", err)
	}
}
