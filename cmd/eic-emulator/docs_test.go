package main

import (
	"os"
	"os/exec"
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

// section returns a section of the page.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readDocs(t), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the page has no section %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// blocks returns the code of a section in a language, of which there must be so many
// pieces; "" means what is indented.
func blocks(t *testing.T, text, language string, count int) []string {
	t.Helper()
	pattern := "(?s)\n```" + language + "\n(.*?)\n```\n"
	if language == "" {
		pattern = `(?m)^((?:    .*\n)+)`
	}
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, regexp.MustCompile(`(?m)^    `).ReplaceAllString(match[1], map[bool]string{true: "", false: "    "}[language == ""]))
	}
	if len(all) != count {
		t.Fatalf("there are %d recipes, want %d", len(all), count)
	}
	return all
}

// cook prepares a directory for recipes, with eic-emulator in PATH, and returns the
// beginning of a script that runs in it.
func cook(t *testing.T, programs ...string) (dir, script string) {
	t.Helper()
	for _, name := range programs {
		need.Program(t, name)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	command(t, dir, "eic-emulator", beProgram+"=1 exec "+self+" \"$@\"\n")
	script = "set -eu; cd " + dir + "; PATH=" + dir + ":$PATH; export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_PAGER=\n"
	return dir, script
}

// command puts a shell script of a name into a directory.
func command(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestRecipes runs the shell of docs/emulator.md as it is on the page, from its
// top, in a network of its own; then what is said of faults.
func TestRecipes(t *testing.T) {
	t.Parallel()
	_, script := cook(t, "aws", "curl", "ssh-keygen")
	for _, block := range blocks(t, readDocs(t), "sh", 3) {
		script += block + "\n"
	}
	script += blocks(t, section(t, "Faults"), "", 1)[0] + "curl -s $AWS_ENDPOINT_URL/_emu/instances\n"
	out := inNetwork(t, script)
	expect(t, out, "#Instance="+emulator.DefaultInstanceID, "#Caller="+emulator.DefaultCallerARN, `"requests": []`, "ready\n", `"KeyName": "mine"`,
		`"metadata": "http://127.0.0.1:1338"`, `"removed": 1`, `"now": `, `"State": "stopped"`)
}

// TestRecipeOfGo compares what eictest runs with the page.
func TestRecipeOfGo(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../eictest/recipe_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if block := blocks(t, section(t, "In a Go test"), "go", 1)[0]; !strings.HasSuffix(string(text), "\n"+block+"\n") {
		t.Error("eictest/recipe_test.go is not the recipe of docs/emulator.md")
	}
}

// TestRecipeOfPytest runs the page's conftest.py and test_push.py.
func TestRecipeOfPytest(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // which has the distribution's packages
	for _, module := range []string{"pytest", "boto3"} {
		if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
			need.Missing(t, "%s: %v", module, err)
		}
	}
	dir, script := cook(t)
	for _, block := range blocks(t, section(t, "In pytest"), "python", 2) {
		name, text, _ := strings.Cut(strings.TrimPrefix(block, "# "), "\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, inNetwork(t, script+python+" -m pytest -q -p no:cacheprovider\n"), "2 passed")
}

// TestRecipeOfNamespace has the metadata service at its own addresses.
func TestRecipeOfNamespace(t *testing.T) {
	t.Parallel()
	_, script := cook(t, "curl")
	script += "mount -t tmpfs tmpfs /run\n" + blocks(t, section(t, "At the real address, in a network namespace"), "", 1)[0] +
		"echo; ip netns exec ec2 curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' 'http://[fd00:ec2::254]/latest/api/token'\n"
	out := inNetwork(t, script)
	if tokens := regexp.MustCompile(`(?m)^[A-Za-z0-9_=-]{56}$`).FindAllString(out, -1); len(tokens) != 2 {
		t.Errorf("there are %d tokens in\n%s", len(tokens), out)
	}
}

// TestRecipeOfSerialConsole logs in to a guest of which only the serial port is
// real: a script takes QEMU's place.
func TestRecipeOfSerialConsole(t *testing.T) {
	t.Parallel()
	dir, script := cook(t, "aws", "ssh", "ssh-keygen", "python3")
	command(t, dir, "qemu-system-x86_64", `exec python3 -c '
import re, socket, sys
path = re.search("unix:([^,]*),server=on", " ".join(sys.argv)).group(1)
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
c, _ = s.accept()
while c.recv(100):
    c.sendall(b"guest login: ")
' "$@"
`)
	// A person types, and reads what comes.
	command(t, dir, "ssh", `mkfifo in out; `+need.Program(t, "ssh")+` "$@" <in >out 2>&1 & exec 3>in 4<out; echo >&3
python3 -c 'import sys
seen = ""
while "guest login: " not in seen:
    seen += (sys.stdin.read(1) or sys.exit(seen))
print(seen)' <&4; status=$?; kill $!; exit $status
`)
	script += "ssh-keygen -q -t ed25519 -N '' -f key\n"
	out := inNetwork(t, script+blocks(t, section(t, "The serial console"), "", 1)[0])
	expect(t, out, `"Success": true`, "guest login: ")
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
