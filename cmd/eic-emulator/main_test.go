package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// The test binary is the program when this is set.
const beProgram = "EIC_TEST_BE_EMULATOR"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ args, want string }{
		{"", "expected a command"},
		{"bogus", `unknown command "bogus"`},
		{"help bogus", `unknown command "bogus"`},
		{"serve x", `unknown command "x"`},
		{"serve --bogus", "unknown flag: --bogus"},
		{"serve --api=", "--api needs an address"},
		{"serve --api 127.0.0.1", "is not HOST:PORT"},
		{"serve --api 127.0.0.1:65536", "has no port between 0 and 65535"},
		{"serve --imds 1338", `--imds "1338" is not HOST:PORT`},
		{"serve --imds 0.0.0.0:0", "hint: --allow-remote allows it"},
		{"serve --api 192.0.2.1:0", "hint: --allow-remote allows it"},
		{"serve --instance x", `"x" is not an instance ID`},
		{"serve --instance i-00000001,zone=q", "is not the name of an availability zone"},
		{"serve --instance i-00000001,zone", `"zone" is not NAME=VALUE`},
		{"serve --instance i-00000001,", `"" is not NAME=VALUE`},
		{"serve --instance i-00000001,color=red", `unknown setting "color"`},
		{"serve --instance i-00000001,state=on", `"on" is not a state`},
		{"serve --instance i-00000001,tokens=maybe", "tokens must be required or optional"},
		{"serve --instance i-00000001,metadata=maybe", "metadata must be on or off"},
		{"serve --instance i-00000001,bios=x", "bios must be new or old"},
		{"serve --instance i-00000001,imds6=[2001:db8::1]:80", "hint: --allow-remote allows it"},
		{"serve --instance i-00000001,public-ip=x", "is not an IP address"},
		{"serve --credential id:s3cret", `"id:..." is not KEYID:SECRET`},
		{"serve --credential s3cret=arn:aws:iam::1:user/x", `is not KEYID:SECRET`},
		{"serve --credential id:=arn:aws:iam::1:user/x", "has no secret"},
		{"serve --deny=", "is not an action"},
		{"serve --deny SendSSHPublicKey", "is not an action, such as ec2-instance-connect:* or *"},
		{"serve --deny *,color=red", "is not caller=, resource= or osuser="},
		{"serve --fault nonsense", "eic-emulator faults lists them"},
		{"serve --fault latency=x", "takes DURATION"},
		{"serve --fault reset=1", "takes no value"},
		{"serve --scenario /nonexistent/scenario", "no such file"},
		{"serve --rate=-1", "cannot be negative"},
		{"serve --serial-pause=-1s", "cannot be negative"},
		{"serve --instance i-00000001,serial=com1", `serial must be pty, pty:LINK, unix:PATH or the absolute path of a terminal, not "com1"`},
		{"serve --instance i-00000001,serial=pty --gateway 0.0.0.0:22", "hint: --allow-remote allows it"},
		{"serve --instance i-00000001,serial=pty --gateway x", `"x" is not HOST:PORT`},
		{"serve --write-known-hosts x", "requires an instance with serial="},
		{"faults x", `unknown command "x"`},
		{"serve --instance i-00000001 --instance i-00000001", "is given twice"},
	} {
		t.Run(row.args, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(row.args), &stdout, &stderr)
			got := stderr.String()
			if code != 2 || stdout.Len() != 0 || !strings.HasPrefix(got, "eic-emulator: error: ") || !strings.Contains(got, row.want) {
				t.Errorf("exit %d, stdout %q, stderr %q, want exit 2 and %q", code, &stdout, got, row.want)
			}
		})
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	args := []string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--write-config", filepath.Join(t.TempDir(), "missing", "x.toml")}
	if code := run(t.Context(), args, &stdout, &stderr); code != 1 || stdout.Len() != 0 {
		t.Errorf("exit %d, stdout %q, want exit 1", code, &stdout)
	}
	if got := stderr.String(); !strings.Contains(got, "cannot write the agent configuration") || strings.Count(got, "\n") != 1 {
		t.Errorf("stderr is %q", got)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--version"}, &stdout, &stderr); code != 0 || !strings.HasPrefix(stdout.String(), "eic-emulator ") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
}

func TestParseInstance(t *testing.T) {
	t.Parallel()
	got, err := parseInstance("i-00000001,zone=us-west-2-lax-1a,type=c5.large,state=stopped,imds=127.0.0.1:1")
	want := emulator.Instance{ID: "i-00000001", Zone: "us-west-2-lax-1a", Type: "c5.large", State: emulator.Stopped, IMDSAddress: "127.0.0.1:1"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestMetadataAddresses(t *testing.T) {
	t.Parallel()
	f := serveFlags{api: "127.0.0.1:1", imds: "127.0.0.2:1338", instances: []string{"i-1,imds=127.0.0.3:1", "i-2", "i-3"}}
	options, err := f.options()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"127.0.0.3:1", "127.0.0.2:1338", "127.0.0.2:0"} {
		if got := options.Instances[i].IMDSAddress; got != want {
			t.Errorf("instance %d is at %s, want %s", i, got, want)
		}
	}
}

// TestProgram runs the program itself until a signal ends it.
func TestProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			config := filepath.Join(t.TempDir(), "agent.toml")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			program := exec.CommandContext(ctx, self, "serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0",
				"--instance", "i-00000001,zone=eu-west-1a", "--instance", "i-00000002,state=stopped", "--write-config", config)
			program.Env = append(os.Environ(), beProgram+"=1")
			var stderr bytes.Buffer
			program.Stderr = &stderr
			stdout, err := program.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			output := readAnnouncement(t, stdout)
			for _, want := range []string{
				`# API at http://127\.0\.0\.1:[1-9]\d*: EC2 Instance Connect, EC2, Lightsail, STS; control at http://127\.0\.0\.1:[1-9]\d*/_emu/`,
				`# instance i-00000001 \(eu-west-1a, t3\.micro, running\): metadata at http://127\.0\.0\.1:[1-9]\d*`,
				`# instance i-00000002 \(us-east-1a, t3\.micro, stopped\): metadata at http://127\.0\.0\.1:[1-9]\d*`,
				`# agent configuration in /.*/agent\.toml`,
				`export AWS_ENDPOINT_URL=http://127\.0\.0\.1:[1-9]\d*`,
				`export AWS_ACCESS_KEY_ID=test`,
				`export AWS_SECRET_ACCESS_KEY=test`,
				`export AWS_DEFAULT_REGION=eu-west-1`,
			} {
				if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(output) {
					t.Errorf("no line %s in\n%s", want, output)
				}
			}
			endpoint := regexp.MustCompile(`AWS_ENDPOINT_URL=(.*)`).FindStringSubmatch(output)
			if endpoint != nil {
				response, err := http.Get(endpoint[1])
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
			}
			if _, err := os.Stat(config); err != nil {
				t.Error(err)
			}
			if err := program.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, stdout); err != nil {
				t.Error(err)
			}
			if err := program.Wait(); err != nil || stderr.Len() != 0 {
				t.Errorf("ended with %v, stderr %q, want neither", err, &stderr)
			}
		})
	}
}

// readAnnouncement reads to the last line that the program prints at start.
func readAnnouncement(t *testing.T, r io.Reader) string {
	t.Helper()
	var text strings.Builder
	for lines := bufio.NewScanner(r); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "export AWS_DEFAULT_REGION=") {
			break
		}
	}
	return text.String()
}

func TestQuoted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "''", "http://127.0.0.1:1/a+b=_.-": "http://127.0.0.1:1/a+b=_.-", "a b": "'a b'", "$(id)": "'$(id)'", "a'b": `'a'\''b'`, "a\n": "'a\n'",
	} {
		if got := quoted(text); got != want {
			t.Errorf("%q is quoted as %s", text, got)
		}
	}
}

// TestAnnouncedSecret is one that a shell would run.
func TestAnnouncedSecret(t *testing.T) {
	t.Parallel()
	f := serveFlags{}
	server, err := emulator.New(emulator.Options{Faults: []string{"fact-zone=x\nfalse"}})
	if err != nil {
		t.Fatal(err)
	}
	options := emulator.Options{AccessKeys: []emulator.Credential{{KeyID: "A", Secret: "$(false)", ARN: "arn:aws:iam::1:user/a"}}}
	text := string(announcement(server, f, options))
	if !strings.Contains(text, "AWS_SECRET_ACCESS_KEY='$(false)'\n") || strings.Contains(text, "\nfalse") {
		t.Errorf("printed was %s", text)
	}
}

func TestConnectionClose(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{"": true, "--keep-alive": false} {
		c := serveCommand()
		if err := c.ParseFlags(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		keep, _ := c.Flags().GetBool("keep-alive")
		o, err := serveFlags{api: "127.0.0.1:0", imds: "127.0.0.1:0", keepAlive: keep}.options()
		if err != nil || o.ConnectionClose != want {
			t.Errorf("%q: got %v, %v", args, o.ConnectionClose, err)
		}
	}
}

func TestStateFails(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	path := t.TempDir() + "/nope/x"
	if code := run(t.Context(), []string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--state", path}, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), path) {
		t.Errorf("got %d, %s", code, &stderr)
	}
}

// What cobra itself prints fails as the rest does.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--version", "--help", "serve --help", "completion bash", "faults"} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), broken{}, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "cannot write the output: no space") {
			t.Errorf("%s: got %d, %s", args, code, &stderr)
		}
	}
}

// broken is a full disk.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space") }

// A file that the emulator replaces or removes has to be one.
func TestNoFile(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"--state", "--ready-file", "--write-config", "--write-known-hosts"} {
		var stdout, stderr bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		args := []string{"serve", "--api", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--instance", "i-00000001,serial=pty", option, pipe}
		if code := run(ctx, args, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), pipe) || !strings.Contains(stderr.String(), "not a regular file") {
			t.Errorf("%s: got %d, %s", option, code, &stderr)
		}
		cancel()
		if st, err := os.Lstat(pipe); err != nil || st.Mode().Type() != os.ModeNamedPipe {
			t.Errorf("%s: the pipe is now %v, %v", option, st, err)
		}
	}
}
