package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

func readDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRecipes runs the shell of docs/emulator.md as it is on the page, from its
// top, in a network of its own.
func TestRecipes(t *testing.T) {
	for _, name := range []string{"aws", "curl", "ssh-keygen"} {
		need.Program(t, name)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	wrapper := "#!/bin/sh\n" + beProgram + "=1 exec " + self + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "eic-emulator"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_PAGER", "")
	script := "set -eu; cd " + dir + "\n"
	blocks := regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(readDocs(t), -1)
	if len(blocks) != 3 {
		t.Fatalf("the page has %d recipes", len(blocks))
	}
	for _, block := range blocks {
		script += block[1] + "\n"
	}
	out := inNetwork(t, script)
	for _, want := range []string{"#Instance=" + emulator.DefaultInstanceID, "#Caller=" + emulator.DefaultCallerARN, `"requests": []`, "ready\n", `"KeyName": "mine"`, `"metadata": "http://127.0.0.1:1338"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestDocsOperations names every operation on the page.
func TestDocsOperations(t *testing.T) {
	t.Parallel()
	text := readDocs(t)
	s, err := emulator.New(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, operation := range s.Operations() {
		_, name, _ := strings.Cut(operation, ":")
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			t.Errorf("%s is not in docs/emulator.md", operation)
		}
	}
}
