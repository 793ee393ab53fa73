package serialgate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/test/host"
	"github.com/eic-agent/eic-agent/test/need"
)

// private is the host of the tests that need one, nil where there is none.
var private *world

// A world is a private host with somebody who can log in.
type world struct {
	*host.Host
	keys atomic.Int64
}

const (
	account   = "sam"
	password  = "correct horse"
	installed = host.BinDir + "/eic-serial-getty"
)

// argGate makes the test program a gate that is in a hurry.
const argGate = "--gate"

func TestMain(m *testing.M) {
	// As for the program; and the gettys of the tests start as those of systemd do.
	if err := StartClean(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 1 && IsWatcher(os.Args[1:]) {
		os.Exit(Watch(os.Args[1:], audit.New("eic-serial-getty", nil)))
	}
	if len(os.Args) > 1 && os.Args[1] == argGate {
		os.Exit(hurriedGate(os.Args[2]))
	}
	// The tests wait for terminals, not for processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code, err := host.Run(func(h *host.Host) int {
		private = &world{Host: h}
		if err := private.furnish(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}, "cmd/eic-serial-getty")
	if errors.Is(err, host.ErrNeeds) && !need.All() {
		fmt.Println("the tests on a terminal are skipped:", err)
		code, err = m.Run(), nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func (w *world) furnish() error {
	// login writes wtmp and lastlog.
	if err := unix.Mount("tmpfs", "/var/log", "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return err
	}
	if err := os.WriteFile("/run/utmp", nil, 0o664); err != nil {
		return err
	}
	if _, err := w.StartJournald(); err != nil {
		return err
	}
	if _, err := w.AddUser(account); err != nil {
		return err
	}
	cmd := exec.Command("chpasswd")
	cmd.Stdin = strings.NewReader(account + ":" + password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chpasswd: %v: %s", err, out)
	}
	return nil
}

// needsHost skips a test where there is no private host.
func needsHost(t *testing.T) {
	t.Helper()
	if private == nil {
		t.Skip("there is no private host")
	}
}

// A hurry is a gate with other times.
type hurry struct {
	Config, TTY, Used string
	// Idle and Session are as the configuration would have them, without its
	// bounds.
	Idle, Session time.Duration
	Port          int
	Command       []string
	BreakGlass    time.Duration
	Relook        time.Duration
	Window        time.Duration
	DeadLine      time.Duration
	Limits        limits
}

func defaultHurry() hurry {
	p := defaultPace()
	h := hurry{Port: -1, Command: DefaultCommand("vt220"), BreakGlass: p.breakGlass, Relook: p.relook, Window: p.window, DeadLine: p.deadLine, Limits: p.limits}
	return h
}

func hurriedGate(text string) int {
	var h hurry
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return 1
	}
	g := &Gate{ConfigPath: h.Config, Port: h.Port, TTY: h.TTY, Command: h.Command, UserAgent: "test", Log: audit.New("eic-serial-getty", nil),
		used: used{h.Used}, pace: pace{h.BreakGlass, h.Relook, h.Window, h.Limits, h.DeadLine}}
	g.limits.Idle, g.limits.Session = h.Idle, h.Session
	if err := g.run(context.Background()); err != nil {
		return 1
	}
	return 0
}

// A console is an emulated instance with a serial port: a pseudo-terminal, on which
// the getty is started again whenever it ends, as systemd does.
type console struct {
	t        *testing.T
	emulator *emulator.Server
	config   string
	id       string
	master   *os.File
	path     string
	settings *unix.Termios // of a new terminal
	env      []string      // of the getty, besides the usual

	mu     sync.Mutex
	screen bytes.Buffer
	read   int // what expect has passed
	pid    int
	starts int
}

var instances atomic.Int64

// newConsole starts a console. serial is the configuration's [serial].
func newConsole(t *testing.T, serial string, change ...func(*hurry)) *console {
	t.Helper()
	c := newPort(t, serial)
	h := defaultHurry()
	h.Config, h.TTY, h.Used = c.config, c.path, filepath.Join(filepath.Dir(c.config), "used")
	for _, f := range change {
		f(&h)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.supervise(exe, argGate, string(text))
	return c
}

// newPort is newConsole without a getty.
func newPort(t *testing.T, serial string) *console {
	t.Helper()
	needsHost(t)
	c := &console{t: t, id: fmt.Sprintf("i-%017x", 0xabc000+instances.Add(1))}
	server, err := emulator.New(emulator.Options{Permissive: true, Instances: []emulator.Instance{{ID: c.id}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	go server.Serve(context.Background())
	t.Cleanup(func() { server.Close() })
	c.emulator = server
	dir := t.TempDir()
	// The configuration has to be root's all the way.
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err == nil && st.Mode()&0o022 != 0 && st.Mode()&os.ModeSticky == 0 {
			t.Fatalf("%s may be written by others", d)
		}
	}
	c.config = filepath.Join(dir, "config.toml")
	if err := server.WriteConfig(c.config); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.config, append(text, []byte("\n[serial]\n"+serial+"\n")...), 0o644); err != nil {
		t.Fatal(err)
	}
	c.openTerminal()
	return c
}

// beside opens the line as one more process that has it, until the test is over.
func (c *console) beside() *os.File {
	c.t.Helper()
	line, err := os.OpenFile(c.path, os.O_RDWR|openQuietly, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { line.Close() })
	return line
}

func (c *console) openTerminal() {
	c.t.Helper()
	master, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		c.t.Fatal(err)
	}
	if c.settings, err = unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS); err != nil {
		c.t.Fatal(err)
	}
	c.path = "/dev/pts/" + strconv.Itoa(n)
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		c.t.Fatal(err)
	}
	master.Close()
	unix.SetNonblock(fd, true)
	c.master = os.NewFile(uintptr(fd), "ptmx")
	done := make(chan struct{})
	go c.watch(done)
	c.t.Cleanup(func() {
		close(done)
		if c.t.Failed() {
			c.mu.Lock()
			c.t.Logf("the screen of %s:\n%s", c.id, visible(c.screen.String()))
			c.mu.Unlock()
		}
	})
}

// visible returns text with its control characters named, but for line ends.
func visible(s string) string {
	quoted := strconv.Quote(strings.ReplaceAll(s, "\r\n", "\n"))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\n`, "\n")
}

// watch copies what the terminal shows. Between two gettys nobody has the other
// end, which reads as an error.
func (c *console) watch(done chan struct{}) {
	b := make([]byte, 4096)
	for {
		n, err := c.master.Read(b)
		c.mu.Lock()
		c.screen.Write(b[:n])
		c.mu.Unlock()
		select {
		case <-done:
			return
		default:
		}
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// supervise starts the getty, and again whenever it ends, until the test does.
func (c *console) supervise(name string, args ...string) {
	c.t.Helper()
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			cmd, err := c.start(name, args...)
			if err != nil {
				c.t.Errorf("starting the getty: %v", err)
				return
			}
			exited := make(chan struct{})
			go func() { cmd.Wait(); close(exited) }()
			select {
			case <-exited:
			case <-stop:
				cmd.Process.Kill()
				<-exited
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	c.t.Cleanup(func() { close(stop); <-stopped })
}

// start starts the getty once, as systemd does where the gate's drop-in is in place.
func (c *console) start(name string, args ...string) (*exec.Cmd, error) {
	line, err := c.reset()
	if err != nil {
		return nil, err
	}
	line.Close()
	return c.run(nil, name, args...)
}

// startPlain starts the getty once, as systemd does without the gate's drop-in.
func (c *console) startPlain(name string, args ...string) (*exec.Cmd, error) {
	line, err := c.reset()
	if err != nil {
		return nil, err
	}
	defer line.Close()
	return c.run(line, name, args...)
}

// oddly returns the command that starts the given one as nohup, cron or a script of
// somebody's might: every signal ignored and blocked, an odd umask, one open file more.
func oddly(command ...string) []string {
	return append([]string{"/bin/sh", "-c", `umask 0777 && exec env -u PWD --ignore-signal --block-signal "$@" 7</dev/zero`, "sh"}, command...)
}

// reset opens the line, with the settings of a new one where they can be set.
func (c *console) reset() (*os.File, error) {
	line, err := os.OpenFile(c.path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err == nil {
		_ = unix.IoctlSetTermios(int(line.Fd()), unix.TCSETSF, c.settings) // not in any line discipline
	}
	return line, err
}

// run starts the getty, on the line where that is not nil.
func (c *console) run(line *os.File, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=vt220"}, c.env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if line != nil {
		cmd.Stdin, cmd.Stdout, cmd.SysProcAttr.Setctty = line, line, true
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.pid = cmd.Process.Pid
	c.starts++
	c.mu.Unlock()
	return cmd, nil
}

// typed types text.
func (c *console) typed(text string) {
	c.t.Helper()
	if _, err := c.master.WriteString(text); err != nil {
		c.t.Fatal(err)
	}
}

// expect waits until the screen shows what the pattern matches, behind what was
// expected before, and returns it.
func (c *console) expect(pattern string) string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(host.Patience); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		rest := c.screen.Bytes()[c.read:]
		at := re.FindIndex(rest)
		if at != nil {
			c.read += at[1]
			defer c.mu.Unlock()
			return string(rest[at[0]:at[1]])
		}
		c.mu.Unlock()
		if time.Now().After(deadline) {
			c.t.Fatalf("the screen never showed %q", pattern)
		}
	}
}

// shown returns all that the screen has shown.
func (c *console) shown() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.screen.String()
}

// knock presses Enter, once the gate holds the line: what is typed before is
// thrown away.
func (c *console) knock() {
	c.t.Helper()
	c.held()
	c.typed("\r")
}

// held waits until the gate holds the line.
func (c *console) held() {
	c.t.Helper()
	c.eventually("the gate holds the line", func() bool {
		line, err := unix.Open(c.path, unix.O_RDONLY|openQuietly|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(line)
		settings, err := unix.IoctlGetTermios(line, unix.TCGETS)
		name := c.program()
		return err == nil && settings.Lflag == unix.ICANON && name != "" && name != "agetty" && name != "login"
	})
}

func (c *console) eventually(what string, is func() bool) {
	c.t.Helper()
	if err := private.Eventually(what, is); err != nil {
		c.t.Fatal(err)
	}
}

// program returns the name of the program that the getty's process is now.
func (c *console) program() string {
	c.mu.Lock()
	pid := c.pid
	c.mu.Unlock()
	of, err := readProcess(pid)
	if err != nil || of.dead() {
		return ""
	}
	return of.name
}

// user returns the name for which a key opens the console.
func (c *console) user() string { return User(c.id, 0) }

// push publishes a signed record for a user, after change.
func (c *console) push(user string, left time.Duration, change ...func(*keyrecord.Statement)) []byte {
	c.t.Helper()
	_, public, err := private.NewKey(fmt.Sprintf("gate%d", private.keys.Add(1)), "ed25519", 0)
	if err != nil {
		c.t.Fatal(err)
	}
	s := keyrecord.Statement{Expires: time.Now().Add(left), Instance: c.id, Caller: "arn:aws:iam::123456789012:user/alice", Request: "request-" + strconv.FormatInt(private.keys.Load(), 10), Key: public}
	for _, f := range change {
		f(&s)
	}
	record, err := c.emulator.Sign(c.id, s)
	if err != nil {
		c.t.Fatal(err)
	}
	c.publish(user, record)
	return record
}

// open opens the console with a push that lives for left.
func (c *console) open(left time.Duration) {
	c.t.Helper()
	c.held()
	c.push(c.user(), left)
	c.typed("\r")
}

func (c *console) publish(user string, record []byte) {
	c.t.Helper()
	if err := c.emulator.Publish(c.id, user, record); err != nil {
		c.t.Fatal(err)
	}
}

// records returns the journal's records of this console with that event.
func (c *console) records(event string) []host.Record {
	c.t.Helper()
	records, err := private.Records("EIC_INSTANCE_ID="+c.id, "EIC_EVENT="+event)
	if err != nil {
		c.t.Fatal(err)
	}
	return records
}

// logIn answers the prompts of agetty and login.
func (c *console) logIn() {
	c.t.Helper()
	c.expect(`login: `)
	c.typed(account + "\r")
	c.expect(`Password: `)
	c.typed(password + "\r")
	c.expect(`\$ `)
}

// hangUp hangs the line up, as the other end does.
func (c *console) hangUp() {
	c.t.Helper()
	line, err := unix.Open(c.path, unix.O_RDWR|openQuietly|unix.O_CLOEXEC, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer unix.Close(line)
	if err := unix.IoctlSetInt(line, unix.TIOCVHANGUP, 0); err != nil {
		c.t.Fatal(err)
	}
}

// signal sends the getty a signal and waits until another one has started.
func (c *console) signal(sig syscall.Signal) {
	c.t.Helper()
	c.mu.Lock()
	pid, starts := c.pid, c.starts
	c.mu.Unlock()
	if err := unix.Kill(pid, sig); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the getty is started again", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.starts > starts
	})
}

// fault orders a fault of the emulator.
func (c *console) fault(text string) {
	c.t.Helper()
	if err := c.emulator.InjectFault(text); err != nil {
		c.t.Fatal(err)
	}
}

// configure appends to the configuration.
func (c *console) configure(text string) {
	c.t.Helper()
	old, err := os.ReadFile(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.config, append(old, text...), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// getty returns the process of the getty.
func (c *console) getty() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}
