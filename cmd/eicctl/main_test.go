package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

func TestScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("EIC_REQUIRE") == "1" {
			t.Fatal("the configuration has to belong to root: run as root")
		}
		t.Skip("the configuration has to belong to root")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			server, err := emulator.New(emulator.Options{Permissive: true})
			if err != nil {
				return err
			}
			imds := httptest.NewServer(server.IMDSHandler(emulator.DefaultInstanceID))
			env.Defer(imds.Close)
			env.Values["server"] = server
			return server.WriteConfigFor(filepath.Join(env.WorkDir, "config.toml"), imds.URL)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"push": push, "fault": fault, "append": appendFile},
	})
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
	server := ts.Value("server").(*emulator.Server)
	record, err := server.Sign(emulator.DefaultInstanceID, keyrecord.Statement{
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
	ts.Check(server.Publish(emulator.DefaultInstanceID, args[0], record))
}

// fault TEXT orders a fault of the emulator; without TEXT all faults end.
func fault(ts *testscript.TestScript, neg bool, args []string) {
	server := ts.Value("server").(*emulator.Server)
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: fault [text]")
	case len(args) == 1:
		ts.Check(server.InjectFault(args[0]))
	default:
		server.ClearFaults("")
	}
}

// append FILE OTHER appends the file OTHER to FILE.
func appendFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append file other")
	}
	text := ts.ReadFile(args[0]) + ts.ReadFile(args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}
