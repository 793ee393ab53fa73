package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// A console is a session of the serial console: an ssh to the gateway.
type console struct {
	cmd *exec.Cmd
	in  io.WriteCloser

	mu    sync.Mutex
	text  strings.Builder // what the port has printed and nobody has waited for
	ended bool
}

// gatewayCommand is the command line that opens the serial console.
func (w *world) gatewayCommand(key string) ([]string, error) {
	host, port, err := net.SplitHostPort(w.aws.GatewayAddr())
	if err != nil {
		return nil, err
	}
	known := w.path("known_hosts.gateway")
	if err := os.WriteFile(known, w.aws.KnownHosts(), 0o644); err != nil {
		return nil, err
	}
	return []string{"ssh", "-tt", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile=" + known, "-o", "StrictHostKeyChecking=yes", "-o", "EscapeChar=none", "-i", key, "-p", port,
		emulator.SerialUser(instanceID, 0) + "@" + host}, nil
}

func (w *world) openConsole(key string) (*console, error) {
	args, err := w.gatewayCommand(key)
	if err != nil {
		return nil, err
	}
	c := &console{cmd: exec.Command(args[0], args[1:]...)}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	c.cmd.Stdout, c.cmd.Stderr = c, c
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.cmd.Wait()
		c.mu.Lock()
		c.ended = true
		c.mu.Unlock()
	}()
	return c, nil
}

// Write takes what the port prints.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

// patience is how long the port may take to print something.
const patience = 10 * time.Minute

// expect waits until the port has printed want, and forgets all up to it.
func (c *console) expect(want string) error { return c.await(want, patience) }

// press presses Enter until the port has printed want: the gate throws away
// what is typed while it starts and while it makes one wait.
func (c *console) press(want string) (err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := c.send(""); err != nil {
			return err
		}
		if err = c.await(want, 5*time.Second); err == nil {
			return nil
		}
	}
	return err
}

func (c *console) await(want string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		c.mu.Lock()
		text, ended := c.text.String(), c.ended
		_, after, found := strings.Cut(text, want)
		if found {
			c.text.Reset()
			c.text.WriteString(after)
		}
		c.mu.Unlock()
		switch {
		case found:
			return nil
		case ended:
			return fmt.Errorf("the console ended and did not say %q but %q", want, text)
		case time.Now().After(deadline):
			return fmt.Errorf("the console does not say %q but %q", want, text)
		}
	}
}

// talk sends each answer when the port has printed what is before it.
func (c *console) talk(lines ...string) error {
	for i, text := range lines {
		if i%2 == 0 {
			if err := c.expect(text); err != nil {
				return err
			}
		} else if err := c.send(text); err != nil {
			return err
		}
	}
	return nil
}

// send types a line.
func (c *console) send(text string) error {
	_, err := io.WriteString(c.in, text+"\r")
	return err
}

// close disconnects, as somebody does who closes the window.
func (c *console) close() {
	c.in.Close()
	c.cmd.Process.Kill()
}
