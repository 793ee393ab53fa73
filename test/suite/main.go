// Suite runs every test and fuzz target of the module. At the end it says what took
// longest, what was left out and why, what failed and how to run that alone, and as its
// last line how many passed and failed. As root it also compares the files of the host
// with what they were before: no test may change them.
//
// Tests may be skipped for what the machine lacks. As root, where namespaces are
// permitted, nothing is: EIC_REQUIRE=1 says so to the tests, and EIC_REQUIRE=0 or =1 in
// the environment decides it for this program.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timeout is the last resort for a package that hangs.
const timeout = "90m"

// A group is tests that are run in the same way.
type group struct {
	flags    []string
	packages []string
}

// others matches tests that watch other processes, in which the race detector sees nothing.
var others = regexp.MustCompile(`/(selinux|test/(doctor|e2e|packages|releases|sshd))$`)

// plain matches directories that tests can have for temporary files. Their paths become
// addresses of sockets, of 108 bytes at most, and words of shell lines and of sshd_config.
var plain = regexp.MustCompile(`^[-\w./]{1,40}$`)

func main() {
	fuzz := flag.String("fuzz", "10000x", "how long to run each fuzz target, as go test -fuzztime takes it; 0: not at all")
	only := flag.String("packages", "./...", "the packages to test, split at blanks")
	flag.Parse()
	ok, err := run(*only, *fuzz)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		fmt.Println("0 passed, 1 failed")
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(only, fuzz string) (ok bool, err error) {
	packages, err := list(strings.Fields(only))
	if err != nil {
		return false, err
	}
	require()
	if dir := os.TempDir(); !plain.MatchString(dir) {
		fmt.Printf("suite: temporary files are in /tmp: %q is too long, or not plain, for the address of a socket and the configuration of sshd\n", dir)
		os.Setenv("TMPDIR", "/tmp")
	}
	var before manifest
	if os.Geteuid() == 0 {
		if before, err = takeManifest("/"); err != nil {
			return false, err
		}
	}
	s := newSummary(os.Stdout)
	for _, g := range groups(packages) {
		if err := test(s, g); err != nil {
			return false, err
		}
	}
	if fuzz != "0" {
		if err := fuzzAll(s, fuzz); err != nil {
			return false, err
		}
	}
	if before != nil {
		after, err := takeManifest("/")
		if err != nil {
			return false, err
		}
		s.hostFiles(before.changes(after))
	}
	return s.print(), nil
}

func goCommand() string {
	if name := os.Getenv("GO"); name != "" {
		return name
	}
	return "go"
}

func list(patterns []string) ([]string, error) {
	cmd := exec.Command(goCommand(), append([]string{"list"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return strings.Fields(string(out)), nil
}

func groups(packages []string) []group {
	race, plain := group{flags: []string{"-race"}}, group{}
	for _, p := range packages {
		if others.MatchString(p) {
			plain.packages = append(plain.packages, p)
		} else {
			race.packages = append(race.packages, p)
		}
	}
	// The longest, packages, releases and sshd, are at the end of the alphabet: they start first.
	slices.Reverse(plain.packages)
	return slices.DeleteFunc([]group{race, plain}, func(g group) bool { return len(g.packages) == 0 })
}

// require tells the tests whether anything may be skipped.
func require() {
	if os.Getenv("EIC_REQUIRE") != "" {
		return
	}
	switch err := namespaces(); {
	case os.Geteuid() != 0:
		fmt.Println("suite: this is not root, so tests that need a host of their own are left out")
	case err != nil:
		fmt.Printf("suite: namespaces are refused here (%v), so tests that need a host of their own are left out; a container needs CAP_SYS_ADMIN for them\n", err)
	default:
		os.Setenv("EIC_REQUIRE", "1")
	}
}

// namespaces returns why no private host can be made.
func namespaces() error {
	cmd := exec.Command("mount", "-t", "tmpfs", "tmpfs", "/run")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace(err.Error() + " " + string(out)))
	}
	return nil
}

// test runs the tests of a group. An error says that they could not be run.
func test(s *summary, g group) error {
	// No result is taken from the cache: tests build programs whose sources it does not know of.
	// make lint has run vet.
	args := slices.Concat([]string{"test", "-json", "-count=1", "-vet=off", "-timeout=" + timeout}, g.flags, g.packages)
	cmd := exec.Command(goCommand(), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stop := passOn(cmd)
	defer stop()
	if err := cmd.Start(); err != nil {
		return err
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-tick.C:
				s.sayWhatRuns()
			case <-done:
				return
			}
		}
	}()
	readErr := s.read(out, g.flags)
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && s.failed() > 0 {
		err = nil // the summary says it
	}
	return errors.Join(readErr, err)
}

// passOn hands interrupts on to the command, which is given the time to clean up.
func passOn(cmd *exec.Cmd) (stop func()) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	go func() {
		for sig := range interrupts {
			if cmd.Process != nil {
				_ = cmd.Process.Signal(sig)
			}
		}
	}()
	return func() { signal.Stop(interrupts); close(interrupts) }
}
