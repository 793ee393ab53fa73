package main

import (
	"strings"
	"testing"
)

// What go test -json says of a run with every outcome.
const stream = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":2.5}
{"Action":"run","Package":"m/a","Test":"TestParts"}
{"Action":"run","Package":"m/a","Test":"TestParts/one_[it's]"}
{"Action":"output","Package":"m/a","Test":"TestParts/one_[it's]","Output":"    a_test.go:7: the part's fault\n"}
{"Action":"fail","Package":"m/a","Test":"TestParts/one_[it's]","Elapsed":0.1}
{"Action":"pass","Package":"m/a","Test":"TestParts/two","Elapsed":0.1}
{"Action":"fail","Package":"m/a","Test":"TestParts","Elapsed":7.25}
{"Action":"output","Package":"m/a","Test":"TestRoot","Output":"    need.go:42: this needs root\n"}
{"Action":"skip","Package":"m/a","Test":"TestRoot","Elapsed":0}
{"Action":"fail","Package":"m/a","Elapsed":8}
{"Action":"output","Package":"m/host","Output":"skipped: cannot make a private host: no\n"}
{"Action":"pass","Package":"m/host","Elapsed":0.1}
{"Action":"build-output","ImportPath":"m/b","Output":"b.go:1: no such thing\n"}
{"Action":"fail","Package":"m/b","Elapsed":0,"FailedBuild":"m/b"}
{"Action":"run","Package":"m/c","Test":"TestHangs"}
{"Action":"run","Package":"m/c","Test":"TestWaits"}
{"Action":"pause","Package":"m/c","Test":"TestWaits"}
{"Action":"output","Package":"m/c","Test":"TestHangs","Output":"panic: test timed out after 40m\n"}
{"Action":"fail","Package":"m/c","Elapsed":2400}
{"Action":"skip","Package":"m/none","Elapsed":0}
no event
`

func TestSummary(t *testing.T) {
	t.Setenv("EIC_REQUIRE", "1")
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(stream), []string{"-race"}); err != nil {
		t.Fatal(err)
	}
	if s.print() {
		t.Error("nothing failed")
	}
	for _, want := range []string{
		"    a_test.go:7: the part's fault\n",
		"b.go:1: no such thing\n",
		"panic: test timed out after 40m\nm/c TestHangs had not ended\n",
		"no event\n",
		"\nthe slowest tests:\n     7.2s m/a TestParts\n     2.5s m/a TestGood\n",
		"\nleft out: 2 tests or packages: cannot make a private host: no (1); this needs root (1)\n",
		"  m/a TestParts/one_[it's]\n      EIC_REQUIRE=1 go test -count=1 -race -run '^TestParts$/^one_\\[it'\\''s\\]$' m/a\n",
		"  m/b\n      EIC_REQUIRE=1 go test -count=1 -race m/b\n",
		"  m/c\n      EIC_REQUIRE=1 go test -count=1 -race m/c\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say\n%s", want)
		}
	}
	if strings.Contains(out.String(), "TestWaits") {
		t.Error("a test that waits for its turn counts as running")
	}
	if !strings.HasSuffix(out.String(), "\n1 passed, 3 failed\n") {
		t.Error("the last line is another")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestHostFiles(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := newSummary(&out)
	s.hostFiles(nil)
	if !s.print() {
		t.Errorf("no change is a failure:\n%s", &out)
	}
	s.hostFiles([]string{"/etc/x is new"})
	if s.print() || !strings.Contains(out.String(), "  /etc/x is new\n") || !strings.HasSuffix(out.String(), "\n1 passed, 1 failed\n") {
		t.Errorf("a change is shown as\n%s", &out)
	}
}
