package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Why a session ends, where it is not Session.Over that ends it.
var (
	ErrLeft     = errors.New("the client disconnected")
	ErrGone     = errors.New("the client stopped responding")
	ErrShutdown = errors.New("the gateway is shutting down")
)

// serveChannel answers the requests of a session channel until it is closed, or
// the session over. A serial line has no size, no environment and no commands.
func (c *connection) serveChannel(channel ssh.Channel, requests <-chan *ssh.Request) {
	var (
		session    *joined
		background sync.WaitGroup
	)
	asked := false
	for r := range requests {
		switch {
		case r.Type == "pty-req", r.Type == "window-change":
			r.Reply(true, nil)
		case r.Type == "shell" && !asked:
			asked = true
			started, err := c.start(channel)
			r.Reply(true, nil)
			if err != nil {
				background.Go(func() { c.dismiss(channel, err) })
				continue
			}
			session = started
			background.Go(session.run)
		case r.Type == "break":
			r.Reply(session.sendBreak(c, r.Payload) == nil, nil)
		default:
			if r.Type == "exec" || r.Type == "subsystem" {
				c.log("refused the request " + r.Type + ": a serial console runs no commands")
			}
			r.Reply(false, nil)
		}
	}
	channel.Close()
	if session != nil {
		session.end(ErrLeft)
	}
	background.Wait()
}

// maxNotes is how many of a connection's requests are logged.
const maxNotes = 16

// log is for the goroutine that answers the requests.
func (c *connection) log(line string) {
	switch c.notes++; {
	case c.notes > maxNotes:
		return
	case c.notes == maxNotes:
		line += "; further events of this connection are not logged"
	}
	c.server.config.Log(c.ssh.RemoteAddr(), c.ssh.User(), line)
}

// dismiss tells a client why there is nothing more to come, and returns when the
// connection is closed.
func (c *connection) dismiss(channel ssh.Channel, why error) {
	hurry := time.AfterFunc(farewell, func() { c.ssh.Close() })
	defer hurry.Stop()
	fmt.Fprintf(channel.Stderr(), "\r\neic-emulator: %v.\r\n", why)
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{1})) // the client may be gone
	channel.Close()
	_ = c.ssh.Wait()
}

// A joined is a client and a Line that are joined.
type joined struct {
	connection *connection
	channel    ssh.Channel
	session    *Session
	output     *backlog
	ctx        context.Context // of the session
	end        context.CancelCauseFunc
}

// start takes the session. Nothing is carried before run.
func (c *connection) start(channel ssh.Channel) (*joined, error) {
	key, ok := c.ssh.Permissions.ExtraData[provedKey{}].(ssh.PublicKey)
	if !ok {
		return nil, errors.New("the client has not authenticated")
	}
	session, err := c.server.config.Start(c.ssh, key)
	if err != nil {
		return nil, err
	}
	if !c.settle() {
		session.End(ErrGone, 0)
		return nil, ErrGone
	}
	j := &joined{connection: c, channel: channel, session: session, output: session.Line.listen()}
	j.ctx, j.end = context.WithCancelCause(session.Over)
	return j, nil
}

// run carries bytes both ways until the session is over, and then ends the
// connection.
func (j *joined) run() {
	defer context.AfterFunc(j.connection.ctx, func() { j.end(ErrShutdown) })()
	var carriers sync.WaitGroup
	input, noInput := context.WithCancel(context.Background())
	defer noInput()
	typed := make(chan struct{}) // all of it has come to the guest
	carriers.Go(func() {
		defer close(typed)
		j.carryInput(input)
	})
	carriers.Go(j.carryOutput)
	carriers.Go(j.keepalive)
	carriers.Go(func() {
		_ = j.connection.ssh.Wait()
		j.end(ErrLeft)
	})
	<-j.ctx.Done()
	why := context.Cause(j.ctx)
	if errors.Is(why, ErrLeft) { // its last words are on their way
		select {
		case <-typed:
		case <-time.After(farewell):
		}
	}
	noInput()
	j.session.Line.unlisten(j.output)
	// The session is over for the instance at once, and for a client that takes
	// nothing more a little later.
	j.session.End(why, j.output.lost())
	if !errors.Is(why, ErrLeft) {
		j.connection.dismiss(j.channel, why)
	}
	j.connection.ssh.Close()
	carriers.Wait()
}

// carryInput ends with the client's input; that a client has nothing more to
// type is no reason to stop listening to the guest.
func (j *joined) carryInput(ctx context.Context) {
	buffer := make([]byte, 4<<10)
	for ctx.Err() == nil {
		n, err := j.channel.Read(buffer)
		j.session.Line.write(ctx, buffer[:n])
		if err != nil {
			return
		}
	}
}

func (j *joined) carryOutput() {
	buffer := make([]byte, chunk)
	for {
		n := j.output.take(buffer)
		if n == 0 {
			return
		}
		if _, err := j.channel.Write(buffer[:n]); err != nil {
			if errors.Is(err, io.EOF) {
				err = ErrLeft
			}
			j.end(err)
			return
		}
	}
}

// keepalive ends the session of a client that is not there any more.
func (j *joined) keepalive() {
	ticks := time.NewTicker(j.connection.server.config.Keepalive)
	defer ticks.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-ticks.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _, _ = j.connection.ssh.SendRequest("keepalive@openssh.com", true, nil) // a refusal is an answer, and the end of the connection is seen elsewhere
		}()
		late := time.NewTimer(2 * j.connection.server.config.Keepalive)
		select {
		case <-answered:
		case <-j.ctx.Done():
		case <-late.C:
			j.end(ErrGone)
		}
		late.Stop()
	}
}

// sendBreak does what RFC 4335 asks for.
func (j *joined) sendBreak(c *connection, payload []byte) error {
	if j == nil {
		return errors.New("there is no session")
	}
	var length time.Duration
	if len(payload) >= 4 {
		length = time.Duration(binary.BigEndian.Uint32(payload)) * time.Millisecond
	}
	err := j.session.Line.sendBreak(j.ctx, length)
	if err != nil {
		c.log("cannot send a break: " + oneLine(err.Error()))
	} else {
		c.log("break sent")
	}
	return err
}
