// Package need is for tests that take more than Go. A test that lacks something is
// skipped, or fails where EIC_REQUIRE=1 says that every test has to run.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// All reports whether every test has to run.
func All() bool { return os.Getenv("EIC_REQUIRE") == "1" }

// Each reports whether EIC_EACH=1 asks for every case where a sample is the rule.
func Each() bool { return os.Getenv("EIC_EACH") == "1" }

// Missing ends the test for want of what it says.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if All() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Program returns where a program is.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%v", err)
	}
	return path
}

// Root is for tests that only root can run.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "this needs root")
	}
}
