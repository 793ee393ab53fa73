package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/pages"
)

// TestManual looks in the manual page for every option, setting of an instance, path of
// the control endpoint and operation.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../man/eic-emulator.1")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	has := func(what, pattern string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(page) {
			t.Errorf("eic-emulator(1) does not have %s", what)
		}
	}
	options := regexp.MustCompile(`(?m)^ +--([a-z0-9-]+)`).FindAllStringSubmatch(serveCommand().Flags().FlagUsages(), -1)
	if len(options) < 20 {
		t.Errorf("serve has the options %q", options)
	}
	for _, option := range options {
		has("--"+option[1], `(?m)^\.Op Fl -`+option[1]+`( |$)`)
		has("a paragraph for --"+option[1], `(?m)^\.It Fl -`+option[1]+`( |$)`)
	}
	_, err = parseInstance("i-00000001,no-such=x")
	_, list, found := strings.Cut(err.Error(), "; the settings are ")
	if !found {
		t.Fatal(err)
	}
	for _, name := range strings.Split(strings.Replace(list, " and ", ", ", 1), ", ") {
		setting, _, _ := strings.Cut(name, ":")
		has("instance setting "+name, `(?m)^\.It.* Cm `+regexp.QuoteMeta(setting)+` `)
	}
	s, err := emulator.New(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, operation := range s.Operations() {
		_, name, _ := strings.Cut(operation, ":")
		has(operation, `\b`+name+`\b`)
	}
	p := startProgram(t)
	defer p.kill()
	response, err := http.Get(p.api + "/_emu/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	help, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile(`(?m)^([A-Z]+) +(/_emu/[^\s\[]+)`).FindAllStringSubmatch(string(help), -1)
	if len(paths) < 20 {
		t.Errorf("GET /_emu/ has %d paths:\n%s", len(paths), help)
	}
	for _, path := range paths {
		has(path[1]+" "+path[2], `(?m)^\.It `+path[1]+` Pa `+regexp.QuoteMeta(path[2])+`$`)
	}
}

// TestManualExamples types the examples of eic-emulator(1).
func TestManualExamples(t *testing.T) {
	t.Parallel()
	dir, script := cook(t, "aws", "ssh", "ssh-keygen", "python3", "curl", "agetty")
	typist(t, dir, "-i $HOME/.ssh/id_ed25519")
	_, examples, _ := strings.Cut(strings.Join(pages.Literal(t, "../../man/eic-emulator.1"), "\n"), "\n$ ")
	commands := pages.Commands(strings.Split("$ "+examples, "\n"), regexp.MustCompile("."))
	if len(commands) != 12 {
		t.Fatalf("the page has %q", commands)
	}
	// Each example starts an emulator.
	text := strings.ReplaceAll(strings.Join(commands, "\n"), "rm -f /tmp/aws.sh;", "[ -z \"${!-}\" ] || kill $! && rm -f /tmp/aws.sh;")
	out := inNetwork(t, script+"mkdir -p $PWD/.ssh; export HOME=$PWD; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519\n"+
		strings.ReplaceAll(text, "/tmp/", dir+"/"))
	expect(t, out, "#Instance="+emulator.DefaultInstanceID, "staple-revoked", "login: ")
	if n := strings.Count(out, `"Success": true`); n != 2 {
		t.Errorf("%d pushes have succeeded", n)
	}
}
