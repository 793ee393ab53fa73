package releases

import "testing"

// What the failed tests have printed is shown, and nothing of the others.
func TestFailures(t *testing.T) {
	const out = `=== RUN   TestA
    a_test.go:1: good
--- PASS: TestA (0.00s)
=== RUN   TestB
=== RUN   TestB/one
    b_test.go:2: bad
=== RUN   TestB/two
    b_test.go:3: good
--- FAIL: TestB (0.00s)
    --- FAIL: TestB/one (0.00s)
    --- PASS: TestB/two (0.00s)
=== RUN   TestC
    c_test.go:4: good
`
	const want = `=== RUN   TestB
=== RUN   TestB/one
    b_test.go:2: bad
--- FAIL: TestB (0.00s)
    --- FAIL: TestB/one (0.00s)
`
	if got := failures(out); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
