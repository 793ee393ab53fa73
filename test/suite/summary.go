package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// An event is one of go test -json (go doc test2json).
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	ImportPath  string // of build output
	FailedBuild string
}

// A name is that of a test, or of a package where Test is empty.
type name struct{ Package, Test string }

func (n name) String() string { return strings.TrimSpace(n.Package + " " + n.Test) }

// A result is a test that has ended.
type result struct {
	name
	took time.Duration
}

// A failure is what failed, and how to run that alone.
type failure struct {
	what, alone string
}

// A summary is what came of the tests.
type summary struct {
	out io.Writer

	mu       sync.Mutex // guards what follows
	started  map[name]time.Time
	output   map[name][]string
	build    map[string][]string // by import path
	results  []result
	passed   int
	failures []failure
	skipped  map[string]int // by reason
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, started: make(map[name]time.Time), output: make(map[name][]string), build: make(map[string][]string), skipped: make(map[string]int)}
}

func (s *summary) failed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failures)
}

// read takes the events of go test -json with those flags.
func (s *summary) read(r io.Reader, flags []string) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(s.out, line) // not one of them
			} else {
				s.take(e, flags)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) take(e event, flags []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := name{e.Package, e.Test}
	took := time.Duration(e.Elapsed * float64(time.Second))
	switch e.Action {
	case "start", "run", "cont":
		s.started[n] = time.Now()
	case "pause": // until the others are done that do not run beside it
		delete(s.started, n)
	case "output":
		s.output[n] = append(s.output[n], e.Output)
	case "build-output":
		s.build[e.ImportPath] = append(s.build[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e, took, flags)
		} else {
			s.endTest(e, took, flags)
		}
		delete(s.started, n)
		delete(s.output, n)
	}
}

// endTest counts a test. A part of a test counts where it failed, in place of the whole.
func (s *summary) endTest(e event, took time.Duration, flags []string) {
	n := name{e.Package, e.Test}
	part := strings.Contains(e.Test, "/")
	if !part {
		s.results = append(s.results, result{n, took})
	}
	switch {
	case e.Action == "skip":
		s.skipped[skipReason(s.output[n])]++
	case e.Action == "fail":
		fmt.Fprint(s.out, strings.Join(s.output[n], ""))
		if !slices.ContainsFunc(s.failures, func(f failure) bool { return strings.HasPrefix(f.what, n.String()+"/") }) {
			s.failures = append(s.failures, failure{n.String(), alone(n, flags)})
		}
	case !part:
		s.passed++
	}
}

func (s *summary) endPackage(e event, took time.Duration, flags []string) {
	n := name{Package: e.Package}
	word := map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "-   "}[e.Action]
	said := s.output[n]
	if e.Action == "skip" {
		return // no test files
	}
	if e.Action == "pass" {
		for _, line := range said {
			if why, found := strings.CutPrefix(line, "skipped: "); found {
				s.skipped[strings.TrimSpace(why)]++
			}
		}
	}
	fmt.Fprintf(s.out, "%s %s %.1fs\n", word, e.Package, took.Seconds())
	if e.Action != "fail" || slices.ContainsFunc(s.failures, func(f failure) bool { return strings.HasPrefix(f.what, e.Package+" ") }) {
		return
	}
	// It was not built, or ended outside of every test: those that ran are to be named.
	fmt.Fprint(s.out, strings.Join(s.build[e.FailedBuild], ""), strings.Join(said, ""))
	s.failures = append(s.failures, failure{e.Package, alone(n, flags)})
	for _, running := range slices.SortedFunc(maps.Keys(s.started), byName) {
		if running.Package == e.Package && running.Test != "" {
			fmt.Fprint(s.out, strings.Join(s.output[running], ""))
			fmt.Fprintf(s.out, "%s had not ended\n", running)
			delete(s.started, running)
		}
	}
}

func byName(a, b name) int { return cmp.Compare(a.String(), b.String()) }

// position is what go test puts before what a test says.
var position = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// skipReason returns why a test was skipped.
func skipReason(output []string) string {
	for _, line := range slices.Backward(output) {
		if at := position.FindString(line); at != "" {
			return strings.TrimSpace(line[len(at):])
		}
	}
	return "no reason is given"
}

// alone returns the command that runs a test, or a package, alone.
func alone(n name, flags []string) string {
	words := slices.Concat([]string{"go", "test", "-count=1"}, flags)
	if n.Test != "" {
		var parts []string
		for part := range strings.SplitSeq(n.Test, "/") {
			parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
		}
		words = append(words, "-run", "'"+strings.ReplaceAll(strings.Join(parts, "/"), "'", `'\''`)+"'")
	}
	if value := os.Getenv("EIC_REQUIRE"); value != "" {
		words = append([]string{"EIC_REQUIRE=" + value}, words...)
	}
	return strings.Join(append(words, n.Package), " ")
}

// sayWhatRuns says which tests take so long.
func (s *summary) sayWhatRuns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, n := range slices.SortedFunc(maps.Keys(s.started), byName) {
		running := time.Since(s.started[n])
		// A package whose tests run is named by them.
		if running > 30*time.Second && (n.Test != "" || !s.runs(n.Package)) {
			texts = append(texts, fmt.Sprintf("%s (%.0fs)", n, running.Seconds()))
		}
	}
	const most = 4
	if more := len(texts) - most; more > 0 {
		texts = append(texts[:most], fmt.Sprintf("%d more", more))
	}
	if len(texts) > 0 {
		fmt.Fprintln(s.out, "... still running:", strings.Join(texts, ", "))
	}
}

func (s *summary) runs(pkg string) bool {
	for n := range s.started {
		if n.Package == pkg && n.Test != "" {
			return true
		}
	}
	return false
}

// fuzzAll runs test/fuzz, which says which target it runs and stops at one that fails.
func fuzzAll(s *summary, time string) error {
	cmd := exec.Command("test/fuzz", time)
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
	target := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(s.out, lines.Text())
		if next, found := strings.CutPrefix(lines.Text(), "fuzz "); found {
			if target != "" {
				s.passed++
			}
			target = next
		}
	}
	if err := cmd.Wait(); err != nil {
		s.failures = append(s.failures, failure{"fuzz " + target, "test/fuzz " + time + " " + strings.SplitN(target, " ", 2)[0]})
	} else if target != "" {
		s.passed++
	}
	return nil
}

// hostFiles takes the changes of the host's files as the result of a test.
func (s *summary) hostFiles(changes []string) {
	if len(changes) == 0 {
		s.passed++
		return
	}
	fmt.Fprintln(s.out, "\nfiles of this host that changed while the tests ran:")
	const most = 50
	for _, change := range changes[:min(len(changes), most)] {
		fmt.Fprintln(s.out, " ", change)
	}
	if more := len(changes) - most; more > 0 {
		fmt.Fprintf(s.out, "  and %d more\n", more)
	}
	s.failures = append(s.failures, failure{"the files of this host are not what they were", "see above; make test on a machine on which nothing else runs"})
}

// print prints the summary and reports whether nothing failed.
func (s *summary) print() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	const slowest = 10
	slices.SortFunc(s.results, func(a, b result) int { return cmp.Compare(b.took, a.took) })
	fmt.Fprintln(s.out, "\nthe slowest tests:")
	for _, r := range s.results[:min(len(s.results), slowest)] {
		fmt.Fprintf(s.out, "  %6.1fs %s\n", r.took.Seconds(), r.name)
	}
	if len(s.skipped) > 0 {
		n := 0
		var why []string
		for _, reason := range slices.SortedFunc(maps.Keys(s.skipped), func(a, b string) int {
			return cmp.Or(cmp.Compare(s.skipped[b], s.skipped[a]), cmp.Compare(a, b))
		}) {
			n += s.skipped[reason]
			why = append(why, fmt.Sprintf("%s (%d)", reason, s.skipped[reason]))
		}
		fmt.Fprintf(s.out, "\nleft out: %d tests or packages: %s\n", n, strings.Join(why, "; "))
	}
	if len(s.failures) > 0 {
		fmt.Fprintln(s.out, "\nfailed:")
		for _, f := range s.failures {
			fmt.Fprintf(s.out, "  %s\n      %s\n", f.what, f.alone)
		}
	}
	fmt.Fprintf(s.out, "\n%d passed, %d failed\n", s.passed, len(s.failures))
	return len(s.failures) == 0
}
