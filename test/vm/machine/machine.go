// Package machine boots a virtual EC2 instance: a Debian system in QEMU, whose
// board names the instance as on Nitro, with the metadata service at its real
// address and a real serial port.
package machine

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// GuestFiles is where the files of Options are in the guest.
const GuestFiles = "/srv/host"

const (
	consoleLog = "console.log"
	qemuLog    = "qemu.log"
)

// How long a boot may take, which is 5 s with KVM and 20 s without when nothing
// else runs, and many minutes on a busy machine; and the kernel under KVM until it says
// something, which is 1 s.
const (
	bootTime   = time.Hour
	kernelTime = time.Minute
)

// patience is by how much longer than its limit a command of the guest may take: without
// KVM, and beside others, a guest is that much slower.
const patience = 10

// errNoKernel says that the kernel did not even begin.
var errNoKernel = errors.New("the kernel does not start")

// Options say how to boot.
type Options struct {
	InstanceID string            // what the board says
	IMDS       string            // HOST:PORT that the guest sees as 169.254.169.254:80
	Relay      string            // path of the program in test/vm/relay
	Files      map[string]string // path on this machine by name below GuestFiles
	Append     string            // more of the kernel's command line
	Accel      string            // kvm or tcg; empty takes KVM where it works
	Memory     int               // MiB; 0 is 1024
	Internet   bool              // let the guest reach more than the metadata service
	Dir        string            // for the sockets, logs and keys; must exist
}

// A Machine is a running virtual instance.
type Machine struct {
	dir     string
	qemu    *exec.Cmd
	ended   chan struct{} // closed when qemu is gone
	control *control
	sshPort int
	Accel   string // kvm or tcg
}

// Serial is the Unix socket of ttyS0 of a machine with that Options.Dir. It
// takes one connection at a time.
func Serial(dir string) string { return filepath.Join(dir, "ttyS0") }

// ConsoleLog has everything that ttyS0 printed.
func (m *Machine) ConsoleLog() string { return filepath.Join(m.dir, consoleLog) }

// Boot boots the image and returns when the system is up. What the guest
// writes to its disk is lost with it. Unless Options.Accel says what to use,
// KVM is tried first: there are hosts that have it and cannot run any kernel.
func (i Image) Boot(o Options) (*Machine, error) {
	if o.Memory == 0 {
		o.Memory = 1024
	}
	payload := filepath.Join(o.Dir, "files.tar")
	if err := pack(payload, o.Files); err != nil {
		return nil, err
	}
	accels := []string{o.Accel}
	if o.Accel == "" {
		accels = []string{"tcg"}
		if kvm() {
			accels = []string{"kvm", "tcg"}
		}
	}
	var err error
	for _, accel := range accels {
		m := &Machine{dir: o.Dir, Accel: accel, ended: make(chan struct{})}
		if m.sshPort, err = freePort(); err != nil {
			return nil, err
		}
		if err = m.start(i, o, payload); err != nil {
			return nil, err
		}
		if accel == "kvm" && o.Accel == "" {
			err = m.kernel()
		}
		if err == nil {
			err = m.up()
		}
		if err == nil {
			return m, nil
		}
		m.Stop()
		if !errors.Is(err, errNoKernel) {
			break
		}
	}
	return nil, fmt.Errorf("the machine did not come up: %w; its console is in %s", err, filepath.Join(o.Dir, consoleLog))
}

// arguments are those of QEMU.
func (m *Machine) arguments(i Image, o Options, payload string) []string {
	// One process for each connection: QEMU's own tcp: target would be
	// connected once, at the start.
	user := fmt.Sprintf("user,id=net,net=169.254.0.0/16,hostfwd=tcp:127.0.0.1:%d-:22", m.sshPort)
	if o.IMDS != "" {
		user += fmt.Sprintf(",guestfwd=tcp:169.254.169.254:80-cmd:%s %s", o.Relay, o.IMDS)
	}
	if !o.Internet {
		user += ",restrict=on"
	}
	kernel := strings.TrimSpace("root=LABEL=root rw console=tty0 console=ttyS0,115200n8 net.ifnames=0 " + o.Append)
	return []string{
		"-nodefaults", "-display", "none", "-no-user-config",
		"-machine", "q35", "-accel", m.Accel, "-cpu", "max,arch-capabilities=off", "-smp", "2", "-m", strconv.Itoa(o.Memory),
		// As on a Nitro instance.
		"-smbios", "type=0,vendor=Amazon EC2,version=1.0",
		"-smbios", "type=1,manufacturer=Amazon EC2,product=t3.micro",
		"-smbios", "type=2,manufacturer=Amazon EC2,asset=" + o.InstanceID,
		"-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2",
		"-kernel", i.kernel(), "-initrd", i.initrd(),
		"-append", kernel,
		"-drive", "file=" + i.disk() + ",format=raw,if=virtio,snapshot=on,cache=unsafe",
		"-drive", "file=" + payload + ",format=raw,if=none,id=files,readonly=on",
		"-device", "virtio-blk-pci,drive=files,serial=files",
		"-netdev", user, "-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-rng-pci",
		"-chardev", "socket,id=ttyS0,path=" + Serial(m.dir) + ",server=on,wait=off,logfile=" + m.ConsoleLog(),
		"-serial", "chardev:ttyS0",
		"-chardev", "socket,id=control,path=" + filepath.Join(m.dir, "control") + ",server=on,wait=off",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=control,name=control",
	}
}

func (m *Machine) start(i Image, o Options, payload string) error {
	messages, err := os.Create(filepath.Join(m.dir, qemuLog))
	if err != nil {
		return err
	}
	defer messages.Close()
	m.qemu = exec.Command("qemu-system-x86_64", m.arguments(i, o, payload)...)
	m.qemu.Stdout, m.qemu.Stderr = messages, messages
	m.qemu.Env = append(os.Environ(), "TMPDIR="+m.dir) // for what the guest writes
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// The death signal comes with the death of the starting thread.
		runtime.LockOSThread()
		err := m.qemu.Start()
		started <- err
		if err == nil {
			m.qemu.Wait()
			close(m.ended)
		}
	}()
	return <-started
}

// up waits until the guest has booted.
func (m *Machine) up() error {
	deadline := time.Now().Add(bootTime)
	if err := m.connect(deadline); err != nil {
		return err
	}
	out, err := m.Root("systemctl is-system-running --wait; mkdir -p "+GuestFiles+" && tar -xf /dev/disk/by-id/virtio-files -C "+GuestFiles, time.Until(deadline))
	if err != nil {
		return err
	}
	if state := strings.TrimSpace(out); state != "running" {
		failed, _ := m.Root("systemctl --failed --no-legend --plain", time.Minute)
		return fmt.Errorf("the system is %s: %s", state, failed)
	}
	return nil
}

// connect waits until QEMU has made the control channel.
func (m *Machine) connect(deadline time.Time) error {
	for {
		conn, err := net.Dial("unix", filepath.Join(m.dir, "control"))
		if err == nil {
			m.control = newControl(conn)
			return nil
		}
		select {
		case <-m.ended:
			text, _ := os.ReadFile(filepath.Join(m.dir, qemuLog))
			return fmt.Errorf("qemu ended: %s", bytes.TrimSpace(text))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// kernel waits until the kernel says something. It does not under `+"`quiet`"+`.
func (m *Machine) kernel() error {
	for deadline := time.Now().Add(kernelTime); ; {
		text, _ := os.ReadFile(m.ConsoleLog())
		if bytes.Contains(text, []byte("Linux version")) {
			return nil
		}
		messages, _ := os.ReadFile(filepath.Join(m.dir, qemuLog))
		select {
		case <-m.ended:
			return fmt.Errorf("%w: qemu ended: %s", errNoKernel, bytes.TrimSpace(messages))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) || bytes.Contains(messages, []byte("KVM internal error")) {
			return fmt.Errorf("%w: %s", errNoKernel, bytes.TrimSpace(messages))
		}
	}
}

// SetClock sets the guest's clock by this machine's. Without KVM, a guest that
// gets no processor for a minute loses it.
func (m *Machine) SetClock() error {
	_, err := m.Root(fmt.Sprintf("date -s @%.3f", float64(time.Now().UnixMilli())/1000), time.Minute)
	return err
}

// Stop switches the machine off, at once.
func (m *Machine) Stop() {
	m.qemu.Process.Kill()
	<-m.ended
}

// kvm tells whether KVM can be opened.
func kvm() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// freePort is a port of the loopback address that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// pack writes the files into an archive, which the guest sees as a disk.
func pack(path string, files map[string]string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	for name, source := range files {
		if err := add(w, name, source); err != nil {
			return err
		}
	}
	return w.Close()
}

func add(w *tar.Writer, name, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
