package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// A session is a login that stays open while all else happens.
type session struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed when the session is over
	asked int
}

// openSession logs in as user.
func (w *world) openSession(user, key string) (*session, error) {
	args, err := w.SSHCommand(user, key)
	if err != nil {
		return nil, err
	}
	s := &session{cmd: exec.Command(args[0], append(args[1:], "exec sh")...), lines: make(chan string)}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- lines.Text()
		}
		s.cmd.Wait()
	}()
	return s, s.alive()
}

// alive sees that the session answers.
func (s *session) alive() error {
	s.asked++
	want := fmt.Sprintf("answer %d", s.asked)
	if _, err := fmt.Fprintf(s.in, "echo %s\n", want); err != nil {
		return fmt.Errorf("the open session is gone: %w", err)
	}
	timeout := time.After(10 * time.Minute)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return errors.New("the open session is gone")
			}
			if strings.TrimSpace(line) == want {
				return nil
			}
		case <-timeout:
			return errors.New("the open session does not answer")
		}
	}
}

// close ends the client.
func (s *session) close() {
	s.cmd.Process.Kill()
	for range s.lines {
	}
}
