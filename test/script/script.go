// Package script runs the command tests of the agent's programs: testscript with
// an emulator, and a configuration that trusts it, for each script.
package script

import (
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/test/need"
)

// Run runs the scripts in testdata. Each has config.toml in its directory, the
// command push, and more commands where they are given. It needs root, to whom a
// configuration has to belong: see package need.
func Run(t *testing.T, more map[string]func(*testscript.TestScript, bool, []string)) {
	t.Helper()
	need.Root(t)
	commands := map[string]func(*testscript.TestScript, bool, []string){"push": push}
	for name, command := range more {
		commands[name] = command
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds:                commands,
	})
}

type serverKey struct{}

func setUp(env *testscript.Env) error {
	server, err := emulator.New(emulator.Options{Permissive: true})
	if err != nil {
		return err
	}
	imds := httptest.NewServer(server.IMDSHandler(emulator.DefaultInstanceID))
	env.Defer(imds.Close)
	env.Values[serverKey{}] = server
	return server.WriteConfigFor(filepath.Join(env.WorkDir, "config.toml"), imds.URL)
}

// Server returns the emulator of a script.
func Server(ts *testscript.TestScript) *emulator.Server {
	return ts.Value(serverKey{}).(*emulator.Server)
}

// push USER KEYFILE [SECONDS [CALLER]] has the emulator publish a key that expires
// in so many seconds, 60 unless given. With CALLER the record names that user
// instead of alice, without being signed anew.
func push(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 4 {
		ts.Fatalf("usage: push user keyfile [seconds [caller]]")
	}
	left := time.Minute
	if len(args) > 2 {
		var err error
		left, err = time.ParseDuration(args[2] + "s")
		ts.Check(err)
	}
	record, err := Server(ts).Sign(emulator.DefaultInstanceID, keyrecord.Statement{
		Expires:  time.Now().Add(left),
		Instance: emulator.DefaultInstanceID,
		Caller:   "arn:aws:iam::123456789012:user/alice",
		Request:  "8a1f4b2c-0000-4000-8000-000000000001",
		Key:      strings.TrimSpace(ts.ReadFile(args[1])),
	})
	ts.Check(err)
	if len(args) == 4 {
		record = bytes.Replace(record, []byte("user/alice"), []byte("user/"+args[3]), 1)
	}
	ts.Check(Server(ts).Publish(emulator.DefaultInstanceID, args[0], record))
}
