// Serial shows the gate of a serial console, from the gateway of the EC2 Serial
// Console to a login, on a private host that is gone afterwards: `make
// demo-serial`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect/types"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

const (
	configPath = "/etc/eic-agent/config.toml"
	instanceID = emulator.DefaultInstanceID
	login      = instanceID + ".port0"
	tty        = "/dev/ttyS0" // of the private host: a pty of the emulator's
	user       = "alice"
	password   = "correct horse"
)

func main() {
	code, err := host.Run(func(h *host.Host) int {
		if err := demo(h); err != nil {
			fmt.Fprintln(os.Stderr, "demo-serial:", err)
			return 1
		}
		return 0
	}, "cmd/eic-serial-getty")
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo-serial:", err)
	}
	os.Exit(code)
}

func say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

// A stage is what the story is played on.
type stage struct {
	host       *host.Host
	server     *emulator.Server
	api        *ec2instanceconnect.Client
	key        string
	public     string
	knownHosts string
}

func demo(h *host.Host) error {
	say("1. Start the AWS side: the API, the instance metadata service and the gateway of the EC2 Serial Console.\n" +
		"   The gateway leads to ttyS0 of a private host, and there eic-serial-getty stands before agetty.")
	s, err := set(h)
	if err != nil {
		return err
	}
	defer s.server.Close()

	say("2. No key was pushed. The gateway lets nobody in:")
	if err := s.expectRefused(); err != nil {
		return err
	}

	say("3. A key is pushed with the AWS SDK (SendSerialConsoleSSHPublicKey). For 60 seconds it opens the gateway,\n" +
		"   and eic-serial-getty, once somebody presses Enter, finds it too and lets agetty ask for a login:")
	if err := s.push(); err != nil {
		return err
	}
	console, err := s.connect()
	if err != nil {
		return err
	}
	defer console.Leave()
	if err := logIn(console); err != nil {
		return err
	}
	if err := showJournal(h, "gate-opened"); err != nil {
		return err
	}

	say("4. An instance has one session at a time:")
	var limit *types.SerialConsoleSessionLimitExceededException
	if err := s.push(); !errors.As(err, &limit) {
		return fmt.Errorf("a push during a session should have been refused: %v", err)
	}
	fmt.Printf("   SendSerialConsoleSSHPublicKey: %s: %s\n", limit.ErrorCode(), limit.ErrorMessage())

	say("5. Alice logs out. The console is locked again, and the key, which is still live, opens it no second time:")
	if err := logOut(console); err != nil {
		return err
	}
	if err := showJournal(h, "gate-refused"); err != nil {
		return err
	}

	say("6. As far as is known, EC2 itself tells no instance about keys for its serial console. There, a push for the\n" +
		"   gateway's login name (SendSSHPublicKey) opens the console, as it has just said, and so it does here:")
	if err := s.pushToInstance(); err != nil {
		return err
	}
	if err := logIn(console); err != nil {
		return err
	}
	say("Done. All of it is gone now. See eic-serial-getty(8) for the way to a real console.")
	return nil
}

func set(h *host.Host) (*stage, error) {
	if _, err := h.StartJournald(); err != nil {
		return nil, err
	}
	if err := h.AddPasswordUser(user, password); err != nil {
		return nil, err
	}
	if err := h.SetFile("/home/"+user+"/.hushlogin", "", 0o644); err != nil { // no message of the day
		return nil, err
	}
	server, err := emulator.New(emulator.Options{
		SerialAccess: true,
		Instances:    []emulator.Instance{{ID: instanceID, Serial: "pty:" + tty}},
	})
	if err != nil {
		return nil, err
	}
	if err := server.Listen(); err != nil {
		return nil, err
	}
	go server.Serve(context.Background())
	if err := os.MkdirAll("/etc/eic-agent", 0o755); err != nil {
		return nil, err
	}
	if err := server.WriteConfig(configPath); err != nil {
		return nil, err
	}
	if err := setUnreachable("lock"); err != nil {
		return nil, err
	}
	s := &stage{host: h, server: server, knownHosts: h.Path("known_hosts"), api: ec2instanceconnect.New(ec2instanceconnect.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.APIURL()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})}
	if err := server.WriteKnownHosts(s.knownHosts); err != nil {
		return nil, err
	}
	if s.key, s.public, err = h.NewKey("alice-key", "ed25519", 0); err != nil {
		return nil, err
	}
	getty := []string{host.BinDir + "/eic-serial-getty", "ttyS0", "--", "/sbin/agetty", "-o", `-p -- \u`, "--noclear", "--keep-baud", "115200,57600,38400,9600", "-", "vt220"}
	fmt.Printf("   ttyS0 runs:  %s\n", strings.Join(getty, " "))
	_, err = h.StartGetty(tty, getty...)
	return s, err
}

// setUnreachable says what happens while the metadata service does not work.
func setUnreachable(how string) error {
	f, err := os.OpenFile(configPath, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "\n[serial]\nwhen_unreachable = %q\n", how)
	return errors.Join(err, f.Close())
}

func (s *stage) push() error {
	_, err := s.api.SendSerialConsoleSSHPublicKey(context.Background(), &ec2instanceconnect.SendSerialConsoleSSHPublicKeyInput{
		InstanceId: aws.String(instanceID), SSHPublicKey: aws.String(s.public),
	})
	return err
}

func (s *stage) pushToInstance() error {
	_, err := s.api.SendSSHPublicKey(context.Background(), &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: aws.String(instanceID), InstanceOSUser: aws.String(login), SSHPublicKey: aws.String(s.public),
	})
	return err
}

func (s *stage) connect() (*host.Console, error) {
	fmt.Printf("   $ ssh -i alice-key %s@127.0.0.1\n", login)
	return host.OpenConsole(s.server.GatewayAddr(), login, s.knownHosts, s.key)
}

// expectRefused fails unless the gateway refuses, and prints why it did.
func (s *stage) expectRefused() error {
	console, err := s.connect()
	if err != nil {
		return err
	}
	if err := console.Wait(); err == nil || !strings.Contains(err.Error(), "Permission denied (publickey)") {
		return fmt.Errorf("the gateway should have refused: %v", err)
	}
	fmt.Println("   Permission denied (publickey).")
	for _, e := range s.server.GatewayEvents() {
		fmt.Println("   The gateway's log:", e.Event+":", e.Detail)
	}
	return nil
}

// show prints what came over the console.
func show(text string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\r", "")) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			fmt.Println("   |", line)
		}
	}
}

// logIn presses Enter, logs in, and shows what came of it.
func logIn(console *host.Console) error {
	all, err := console.Knock("login: ")
	for _, turn := range []struct{ typed, expected string }{
		{user + "\r", "Password: "}, {password + "\r", "$ "}, {"echo \"logged in as $(id -un)\"\r", "\nlogged in as " + user},
	} {
		if err != nil {
			return err
		}
		if err = console.Type(turn.typed); err != nil {
			return err
		}
		var text string
		text, err = console.Expect(turn.expected)
		all += text
	}
	show(all)
	if strings.Contains(all, password) {
		return errors.New("the password was echoed")
	}
	return err
}

// logOut leaves the shell and presses Enter.
func logOut(console *host.Console) error {
	if err := console.Type("exit\r"); err != nil {
		return err
	}
	text, err := console.Knock("The next attempt")
	if err != nil {
		return err
	}
	rest, err := console.Expect("Press Enter to look again.")
	if err != nil {
		return err
	}
	show(text + rest)
	if !strings.Contains(text, "is locked (already-used)") {
		return errors.New("the console should have said that the push was used")
	}
	return nil
}

// showJournal prints the latest record of an event.
func showJournal(h *host.Host, event string) error {
	records, err := h.Records("EIC_EVENT=" + event)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return fmt.Errorf("the journal has no record of %s", event)
	}
	r := records[len(records)-1]
	fmt.Printf("   The journal:\n   %s[%s]: %s\n", r.Field("SYSLOG_IDENTIFIER"), r.Field("_PID"), r.Field("MESSAGE"))
	for _, name := range []string{"EIC_EVENT", "EIC_REASON", "EIC_PORT", "EIC_FINGERPRINT", "EIC_CALLER", "EIC_REQUEST_ID", "EIC_EXPIRES"} {
		if value := r.Field(name); value != "" {
			fmt.Printf("       %s=%s\n", name, value)
		}
	}
	return nil
}
