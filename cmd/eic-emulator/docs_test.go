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
	"github.com/eic-agent/eic-agent/test/pages"
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
	return pages.Section(t, "../../docs/emulator.md", heading)
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
	command(t, dir, "eic-emulator", beProgram+"=1 exec '"+self+"' \"$@\"\n")
	script = "set -eu; cd '" + dir + "'; PATH=$PWD:$PATH; export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_PAGER=\n"
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
	typist(t, dir, "")
	script += "ssh-keygen -q -t ed25519 -N '' -f key\n"
	out := inNetwork(t, script+blocks(t, section(t, "The serial console"), "", 1)[0])
	expect(t, out, `"Success": true`, "guest login: ")
}

// typist puts an ssh into dir, with further options, at which a person types, and reads what comes: the
// prompt of a getty.
func typist(t *testing.T, dir, options string) {
	t.Helper()
	command(t, dir, "ssh", `rm -f in out; mkfifo in out; `+need.Program(t, "ssh")+" "+options+` "$@" <in >out 2>&1 & exec 3>in 4<out; echo >&3
python3 -c 'import sys
seen = ""
while "login: " not in seen:
    seen += (sys.stdin.read(1) or sys.exit(seen))
print(seen)' <&4; status=$?; kill $!; exit $status
`)
}

// TestSerialConsolePages types what docs/serial-console.md and eic-serial-getty(8) have for the
// service of AWS, of which the emulator takes the place.
func TestSerialConsolePages(t *testing.T) {
	t.Parallel()
	dir, script := cook(t, "aws", "ssh", "ssh-keygen", "python3", "curl", "agetty")
	typist(t, dir, "-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile="+dir+"/known_hosts")
	command(t, dir, "aws", "exec "+need.Program(t, "aws")+` --endpoint-url "$AWS_ENDPOINT_URL" "$@"`+"\n")
	begin := regexp.MustCompile(`^(id=|aws |ssh )`)
	page := pages.Commands(pages.Indented(pages.Section(t, "../../docs/serial-console.md", "How a push opens the console")), begin)
	manual := pages.Commands(pages.Literal(t, "../../man/eic-serial-getty.8"), begin)
	if len(page) != 4 || len(manual) != 1 {
		t.Fatalf("the pages have %q and %q", page, manual)
	}
	const reset = `
curl -s "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/managed-ssh-keys/active-keys/$id.port0"
curl -s -X POST "$AWS_ENDPOINT_URL/_emu/reset"
`
	out := inNetwork(t, script+`cp /etc/hosts hosts; mount --bind hosts /etc/hosts
echo 127.0.0.1 serial-console.ec2-instance-connect.us-east-1.aws >>/etc/hosts
ssh-keygen -q -t ed25519 -N '' -f key
eic-emulator serve --serial-access --gateway 127.0.0.1:22 --instance i-0123456789abcdef0,tokens=optional,serial=pty:$PWD/port0 --ready-file ready.sh >emulator.log &
until [ -s ready.sh ]; do sleep 0.1; done; . ./ready.sh
setsid -c agetty -L - vt100 <>port0 >&0 2>&1 &
`+strings.Join(page, "\n")+reset+strings.Join(manual, "\n")+reset)
	// The first of them is for the gateway.
	pushes := regexp.MustCompile(`"RequestId": "(.*)",\s+"Success": true`).FindAllStringSubmatch(out, -1)
	if len(pushes) != 3 {
		t.Fatalf("%d pushes have succeeded:\n%s", len(pushes), out)
	}
	for _, push := range pushes[1:] {
		expect(t, out, "#Request="+push[1]+"\n")
	}
	expect(t, out, "login: ")
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
