package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	consoleInstance = "i-0c0ffee0c0ffee000"
	consoleLogin    = consoleInstance + ".port0"
	consolePassword = "correct horse"
)

// A serial is an instance of its own with a serial port, the gateway before it and
// the gate behind it.
type serial struct {
	t          *testing.T
	server     *emulator.Server
	api        *ec2instanceconnect.Client
	user       string
	key        string
	public     string
	knownHosts string
}

func newSerial(t *testing.T) *serial {
	t.Helper()
	n := w.users.Add(1)
	s := &serial{t: t, user: fmt.Sprintf("console%d", n), knownHosts: w.Path(fmt.Sprintf("known_hosts%d", n))}
	if err := w.AddPasswordUser(s.user, consolePassword); err != nil {
		t.Fatal(err)
	}
	tty := fmt.Sprintf("/dev/ttyS%d", n)
	server, err := emulator.New(emulator.Options{
		SerialAccess: true, SerialPause: -1,
		Instances: []emulator.Instance{{ID: consoleInstance, Serial: "pty:" + tty}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.server = server
	ctx, cancel := context.WithCancel(context.Background())
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s.api = ec2instanceconnect.New(ec2instanceconnect.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.APIURL()), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	config := fmt.Sprintf("/etc/eic-agent/console%d.toml", n)
	if err := server.WriteConfig(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(readFile(t, config)+"\n[serial]\nwhen_unreachable = \"lock\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.WriteKnownHosts(s.knownHosts); err != nil {
		t.Fatal(err)
	}
	s.key, s.public = w.newKey(t, "ed25519", 0)
	getty, err := w.StartGetty(tty, host.BinDir+"/eic-serial-getty", "--config", config, strings.TrimPrefix(tty, "/dev/"), "--", "/sbin/agetty", "-o", `-p -- \u`, "--noclear", "--keep-baud", "115200", "-", "vt220")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := getty.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// push opens the gateway.
func (s *serial) push() {
	s.t.Helper()
	if _, err := s.api.SendSerialConsoleSSHPublicKey(s.t.Context(), &ec2instanceconnect.SendSerialConsoleSSHPublicKeyInput{
		InstanceId: aws.String(consoleInstance), SSHPublicKey: aws.String(s.public),
	}); err != nil {
		s.t.Fatal(err)
	}
}

// pushToInstance opens the gate alone.
func (s *serial) pushToInstance() {
	s.t.Helper()
	if _, err := s.api.SendSSHPublicKey(s.t.Context(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(consoleInstance), InstanceOSUser: aws.String(consoleLogin), SSHPublicKey: aws.String(s.public),
	}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *serial) connect() *host.Console {
	s.t.Helper()
	console, err := host.OpenConsole(s.server.GatewayAddr(), consoleLogin, s.knownHosts, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return console
}

// leave waits until the gateway has noticed.
func (s *serial) leave(console *host.Console) {
	s.t.Helper()
	console.Leave()
	if err := w.Eventually("the session has ended", func() bool {
		started, ended := 0, 0
		for _, e := range s.server.GatewayEvents() {
			switch e.Event {
			case "session-started":
				started++
			case "session-ended":
				ended++
			}
		}
		return started == ended
	}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *serial) expect(console *host.Console, text string) string {
	s.t.Helper()
	got, err := console.Expect(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *serial) knock(console *host.Console, text string) string {
	s.t.Helper()
	got, err := console.Knock(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *serial) send(console *host.Console, text string) {
	s.t.Helper()
	if err := console.Type(text); err != nil {
		s.t.Fatal(err)
	}
}

// logIn goes from Enter to a shell.
func (s *serial) logIn(console *host.Console) {
	s.t.Helper()
	all := s.knock(console, "login: ")
	s.send(console, s.user+"\r")
	all += s.expect(console, "Password: ")
	s.send(console, consolePassword+"\r")
	all += s.expect(console, "$ ")
	s.send(console, "echo \"this is $(id -un)\"\r")
	all += s.expect(console, "\nthis is "+s.user)
	if strings.Contains(all, consolePassword) {
		s.t.Errorf("the password was echoed in %q", all)
	}
}

// records returns the journal's records of the gate since a time.
func (s *serial) records(event string, since time.Time) []host.Record {
	s.t.Helper()
	records, err := w.Records("--since", fmt.Sprintf("@%d", since.Unix()), "EIC_INSTANCE_ID="+consoleInstance, "EIC_EVENT="+event)
	if err != nil {
		s.t.Fatal(err)
	}
	return records
}

// TestSerialConsole is a visit: refused without a push, a login with one, and
// locked again after it.
func TestSerialConsole(t *testing.T) {
	began := time.Now()
	s := newSerial(t)
	refused := s.connect()
	if err := refused.Wait(); err == nil || !strings.Contains(err.Error(), "Permission denied (publickey)") {
		t.Fatalf("without a push: %v", err)
	}
	s.push()
	console := s.connect()
	s.logIn(console)
	s.send(console, "exit\r")
	if said := s.knock(console, "The next attempt"); !strings.Contains(said, "is locked (already-used)") {
		t.Errorf("after the session it says %q", said)
	}
	s.pushToInstance()
	s.logIn(console)
	s.leave(console)
	opened := s.records("gate-opened", began)
	if len(opened) != 2 || opened[0].Field("EIC_REQUEST_ID") == opened[1].Field("EIC_REQUEST_ID") {
		t.Fatalf("the journal has %v", opened)
	}
	for _, r := range opened {
		if r.Field("EIC_CALLER") != emulator.DefaultCallerARN || r.Field("EIC_PORT") != "0" || r.Field("EIC_USER") != consoleLogin || !strings.HasPrefix(r.Field("EIC_FINGERPRINT"), "SHA256:") {
			t.Errorf("the journal has %v", r)
		}
	}
	var pushed string
	for _, e := range s.server.GatewayEvents() {
		if e.Event == "session-started" {
			pushed = e.Request
		}
	}
	if pushed == "" || opened[0].Field("EIC_REQUEST_ID") != pushed {
		t.Errorf("the gateway was opened by %q, the gate by %q", pushed, opened[0].Field("EIC_REQUEST_ID"))
	}
}

// TestSerialLeftOpen is what a serial line is: the next user finds the shell
// that the last one left.
func TestSerialLeftOpen(t *testing.T) {
	s := newSerial(t)
	s.push()
	console := s.connect()
	s.logIn(console)
	s.send(console, "left=behind\r")
	s.expect(console, "left=behind\r\n") // ssh sends nothing of what it reads together with the escape
	s.leave(console)
	console = s.connect()
	s.send(console, "echo \"found $left\"\r")
	s.expect(console, "found behind")
	s.send(console, "exit\r")
	s.knock(console, "is locked (already-used)")
	s.leave(console)
}

// TestSerialForged is let through by the gateway, which believes the API, and not
// by the gate, which believes nothing unproved.
func TestSerialForged(t *testing.T) {
	s := newSerial(t)
	if err := s.server.InjectFault("record-tampered"); err != nil {
		t.Fatal(err)
	}
	s.push()
	console := s.connect()
	if said := s.knock(console, "The next attempt"); !strings.Contains(said, "is locked (bad-signature)") {
		t.Errorf("it says %q", said)
	}
	s.server.ClearFaults("")
	s.pushToInstance()
	s.logIn(console)
	s.leave(console)
}

// TestSerialNoise types junk at the locked line: nothing is looked for until
// somebody presses Enter, and nothing is echoed.
func TestSerialNoise(t *testing.T) {
	s := newSerial(t)
	s.push()
	console := s.connect()
	s.knock(console, "login: ") // the gate runs; its prompt
	s.send(console, "\x04")
	s.knock(console, "is locked (already-used)")
	s.expect(console, "Press Enter to look again.")
	s.server.ResetRequests()
	s.send(console, strings.Repeat("\x03\x1c\x1b[6n junk", 500))
	time.Sleep(300 * time.Millisecond) // there is nothing to wait for
	if n := s.server.RequestCount(); n != 0 {
		t.Errorf("the gate made %d requests before anybody pressed Enter", n)
	}
	s.pushToInstance()
	if said := s.knock(console, "login: "); strings.Contains(said, "junk") || strings.Contains(said, "\x1b[6n") {
		t.Errorf("something was echoed in %q", said)
	}
	s.leave(console)
}
