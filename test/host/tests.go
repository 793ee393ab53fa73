package host

import (
	"errors"
	"fmt"
	"os"

	"github.com/eic-agent/eic-agent/test/need"
)

// Main runs tests, a *testing.M, on a private host that furnish has prepared, with
// the named commands as Run has them. It returns the exit code.
func Main(tests interface{ Run() int }, furnish func(*Host) error, commands ...string) int {
	return Verdict(Run(func(h *Host) int {
		if err := furnish(h); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return tests.Run()
	}, commands...))
}

// Verdict returns the exit code of tests for what Run came to: where a private host
// cannot be had they are skipped, unless every test has to run.
func Verdict(code int, err error) int {
	if errors.Is(err, ErrNeeds) && !need.All() {
		fmt.Println("skipped:", err)
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}
