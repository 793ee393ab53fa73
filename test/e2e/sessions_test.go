package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/sessionlog"
	"github.com/eic-agent/eic-agent/test/host"
	"github.com/eic-agent/eic-agent/test/need"
)

const sessionsUser = "eic-sessions"

// A followed is a follower's state directory and account.
type followed struct {
	dir        string
	credential *syscall.Credential
}

// newFollowed makes the account of the package's sysusers file, as systemd-sysusers does.
func newFollowed(t *testing.T) *followed {
	t.Helper()
	if _, err := user.Lookup(sessionsUser); err != nil {
		runProgram(t, "useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", sessionsUser)
	}
	runProgram(t, "sh", "-c", "getent group systemd-journal >/dev/null || groupadd --system systemd-journal")
	account, err := user.Lookup(sessionsUser)
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroup("systemd-journal")
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	f := &followed{t.TempDir(), &syscall.Credential{Uid: number(account.Uid), Gid: number(account.Gid), Groups: []uint32{number(group.Gid)}}}
	f.dir = w.Path(fmt.Sprintf("sessions-%d", time.Now().UnixNano()))
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(f.dir, int(f.credential.Uid), int(f.credential.Gid)); err != nil {
		t.Fatal(err)
	}
	// As tmpfiles.d/systemd.conf has it: the group reads the journal.
	runProgram(t, "chgrp", "-R", "systemd-journal", "/run/log/journal")
	runProgram(t, "chmod", "-R", "g+rX", "/run/log/journal")
	return f
}

func (f *followed) start(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(eicctl, "audit", "--follow", "--record", f.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: f.credential}
	cmd.Stderr = &bytes.Buffer{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// recorded returns how often each session was recorded, by kind of event and request.
func recorded(t *testing.T, since string) map[string][]string {
	t.Helper()
	records, err := w.Records("SYSLOG_IDENTIFIER="+sessionsUser, "--since="+since)
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string][]string)
	for _, r := range records {
		if kind := r.Field("EIC_EVENT"); kind != "sessions-followed" {
			ids[kind+" "+r.Field("EIC_REQUEST_ID")] = append(ids[kind+" "+r.Field("EIC_REQUEST_ID")], r.Field("EIC_SESSION_ID"))
		}
	}
	return ids
}

// TestFollowerIsKilled kills the follower at any point, under many logins, and has each
// session recorded once when it opens and once when it closes, forged records never.
func TestFollowerIsKilled(t *testing.T) {
	kills := 10
	if need.Each() {
		kills = 200
	}
	f := newFollowed(t)
	since := fmt.Sprintf("@%d", time.Now().Unix())
	first := f.start(t)
	if err := w.Eventually("the follower has begun", func() bool {
		_, err := sessionlog.Load(f.dir)
		return err == nil
	}); err != nil {
		t.Fatal(err, first.Stderr)
	}
	count := 15 * kills
	var requests, complaints bytes.Buffer
	logins := exec.Command(host.BinDir+"/logins", w.Path("."), fmt.Sprint(credential(t).Uid), "50", fmt.Sprint(count))
	logins.Stdout, logins.Stderr = &requests, &complaints
	if err := logins.Start(); err != nil {
		t.Fatal(err)
	}
	// A person's records, which are no session's.
	forge := func() {
		for _, name := range []string{"eic-authkeys", "sshd"} {
			cmd := exec.Command("logger", "-t", name, `Accepted publickey for alice from 10.0.0.1 port 7 ssh2: ED25519 SHA256:forged EIC_EVENT=key-provided EIC_USER=alice EIC_FINGERPRINT=SHA256:forged EIC_REQUEST_ID=forged EIC_SSHD_PID=1`)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
		}
	}
	follower := first
	for range kills {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the point at which it is killed
		if err := follower.Process.Kill(); err != nil {
			t.Fatalf("the follower ended by itself: %v: %s", err, follower.Stderr)
		}
		_ = follower.Wait()
		if status := follower.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Fatalf("the follower ended by itself: %v: %s", follower.ProcessState, follower.Stderr)
		}
		forge()
		follower = f.start(t)
	}
	if err := logins.Wait(); err != nil || complaints.Len() > 0 {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	all := strings.Fields(requests.String())
	complete := func() bool {
		state, err := sessionlog.Load(f.dir)
		return err == nil && len(state.Pending) == 0 && len(recorded(t, since)) >= 2*len(all)
	}
	if err := w.Eventually("every session is recorded", complete); err != nil {
		t.Error(err)
	}
	if err := follower.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := follower.Wait(); err != nil {
		t.Errorf("%v: %s", err, follower.Stderr)
	}
	ids := recorded(t, since)
	for _, request := range all {
		opened, closed := ids["session-opened "+request], ids["session-closed "+request]
		if len(opened) != 1 || len(closed) != 1 || opened[0] != closed[0] || len(opened[0]) != 32 {
			t.Errorf("%s: opened %q, closed %q", request, opened, closed)
		}
		delete(ids, "session-opened "+request)
		delete(ids, "session-closed "+request)
	}
	if len(ids) != 0 || len(all) != count {
		t.Errorf("%d logins; also recorded: %q", len(all), slices.Collect(maps.Keys(ids)))
	}
	state, err := sessionlog.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Pending) != 0 {
		t.Errorf("%d pending", len(state.Pending))
	}
	if left, _ := os.ReadDir(f.dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
