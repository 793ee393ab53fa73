package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/vm/machine"
)

const instanceID = "i-0fee1dead00000001"

// A world is the virtual instance and the AWS side of it.
type world struct {
	*machine.Machine
	aws *emulator.Server
	dir string // logs, keys, sockets
	// systemd listens for sshd, which has userdbctl as AuthorizedKeysCommand.
	modern bool

	// Set by the step that notes how the system is before the package.
	before      snapshot
	installed   installation
	session     *session // as root, through authorized_keys
	rootPrivate string   // the key of that
	console     *console
	consoles    int
	usual       time.Duration // of a login when nothing is wrong
	requests    []string      // of the pushes that somebody logged in with

	chained  string // the private key of one that a command of [chain] gives
	provoked moment // after the denials of SELinux that were meant

	stop  context.CancelFunc
	ended chan error
}

// start makes the image where there is none, starts the emulator and boots.
func start(s settings) (w *world, err error) {
	image, err := makeImage(s.recipe)
	if err != nil {
		return nil, err
	}
	w = &world{ended: make(chan error, 1), modern: s.recipe.Release == machine.Trixie}
	// Names of sockets are short.
	if w.dir, err = os.MkdirTemp("", "eic-vm-"); err != nil {
		return nil, err
	}
	w.aws, err = emulator.New(emulator.Options{
		Instances:       []emulator.Instance{{ID: instanceID, Serial: "unix:" + machine.Serial(w.dir)}},
		SerialPause:     time.Second,
		RSA:             true,
		ConnectionClose: true,
		SerialAccess:    true,
	})
	if err != nil {
		return nil, err
	}
	if err := w.aws.Listen(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	// An interrupt leaves nothing behind; QEMU goes with this process.
	interrupted, _ := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	context.AfterFunc(interrupted, func() {
		if ctx.Err() == nil {
			os.RemoveAll(w.dir)
			os.Exit(130)
		}
	})
	go func() { w.ended <- w.aws.Serve(ctx) }()

	s.boot.Dir, s.boot.InstanceID = w.dir, instanceID
	if err := w.prepare(&s); err != nil {
		return nil, errors.Join(err, w.stopAWS(), os.RemoveAll(w.dir))
	}
	fmt.Println("...     booting, which takes minutes on a busy machine without KVM; the console is in", w.dir)
	began := time.Now()
	if w.Machine, err = image.Boot(s.boot); err != nil {
		return nil, errors.Join(err, w.stopAWS())
	}
	fmt.Printf("ok      %-8s booted with %s\n", since(began), w.Accel)
	return w, nil
}

// prepare builds what the guest needs.
func (w *world) prepare(s *settings) (err error) {
	if s.boot.IMDS, err = hostPort(w.aws.IMDSURL(instanceID)); err != nil {
		return err
	}
	if s.boot.Relay, err = w.build("test/vm/relay"); err != nil {
		return err
	}
	if s.recipe.SELinux {
		dir, err := checkout()
		if err != nil {
			return err
		}
		s.boot.Files[policyModule] = filepath.Join(dir, "selinux", policyModule)
		s.boot.Files[policyScript] = filepath.Join(dir, "packaging/rpm", policyScript)
	}
	return w.packages(*s)
}

// close ends everything, and removes what was written unless keep.
func (w *world) close(keep bool) error {
	w.Stop()
	if w.session != nil {
		w.session.close()
	}
	if w.console != nil {
		w.console.close()
	}
	err := w.stopAWS()
	if !keep {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

func (w *world) stopAWS() error {
	w.stop()
	return <-w.ended
}

func makeImage(r machine.Recipe) (machine.Image, error) {
	began := time.Now()
	var log bytes.Buffer
	image, cached, err := r.Make(io.MultiWriter(&log, &progress{}))
	if err != nil {
		return image, fmt.Errorf("%w\n%s", err, log.Bytes())
	}
	how := "image made with mmdebstrap"
	if cached {
		how = "image of an earlier run"
	}
	fmt.Printf("ok      %-8s %s\n", since(began), how)
	return image, nil
}

// progress prints the lines by which mmdebstrap says what it does.
type progress struct{ line []byte }

func (p *progress) Write(b []byte) (int, error) {
	p.line = append(p.line, b...)
	for {
		line, rest, whole := bytes.Cut(p.line, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		p.line = rest
		if text, ok := bytes.CutPrefix(line, []byte("I: ")); ok {
			fmt.Printf("...     %s\n", text)
		}
	}
}

// packages builds the packages that the settings ask for, and adds them to the
// files of the guest.
func (w *world) packages(s settings) error {
	for _, p := range s.packages {
		fmt.Println("...     building a package of the agent")
		began := time.Now()
		path, err := w.buildDeb(p.version)
		if err != nil {
			return err
		}
		s.boot.Files[p.name] = path
		fmt.Printf("ok      %-8s built %s\n", since(began), filepath.Base(path))
	}
	return nil
}

// build builds a program of this module and returns its path.
func (w *world) build(pkg string) (string, error) {
	path := w.path(filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/eic-agent/eic-agent/"+pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

func hostPort(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return "", err
	}
	return u.Host, nil
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
