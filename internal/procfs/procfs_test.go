package procfs

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	t.Parallel()
	before := time.Now()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if got, err := Start(cmd.Process.Pid); err != nil || got.Before(before.Add(-time.Second)) || got.After(time.Now().Add(time.Second)) {
		t.Errorf("%v, %v, want %v", got, err, before)
	}
	if !Alive(cmd.Process.Pid) || Alive(1<<30) {
		t.Error("who is alive?")
	}
	if _, err := Start(1 << 30); err == nil {
		t.Error("no error without a process")
	}
}

// A process that has ended and was not waited for is not alive.
func TestZombie(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	in.Close()
	for Alive(cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	if _, err := os.Stat(path(cmd.Process.Pid, "stat")); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	fields, err := parseStat("812 (a b) Z (c) S" + strings.Repeat(" 7", 18) + " 123456 1 2\n")
	if err != nil || fields[0] != "S" || fields[22-3] != "123456" {
		t.Errorf("%q, %v", fields, err)
	}
	if _, err := parseStat("812 (a) S 1"); err == nil {
		t.Error("no error for a short line")
	}
}

func TestListens(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			if strings.HasPrefix(address, "[") {
				continue // a host without IPv6
			}
			t.Fatal(err)
		}
		defer l.Close()
		want := netip.MustParseAddrPort(l.Addr().String())
		if got, err := Listens(os.Getpid()); err != nil || !slices.Contains(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	for _, text := range []string{"", "0100007F", "0100007:0016", "0100007G:0016", "0100007F:X"} {
		if at, err := parseAddrPort(text); err == nil {
			t.Errorf("%q is %v", text, at)
		}
	}
}

func TestCgroup(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/cgroup"); err == nil && !strings.HasPrefix(Cgroup(os.Getpid()), "/") {
		t.Errorf("%q", Cgroup(os.Getpid()))
	}
	for text, want := range map[string]string{
		"0::/system.slice/ssh.service\n": "/system.slice/ssh.service",
		"9:name=systemd:/\n8:pids:/x/y/z/very/long/indeed\n0::/system.slice/ssh.service\n": "/system.slice/ssh.service",
		"9:name=systemd:/system.slice/ssh.service\n4:memory:/\n0::/\n":                     "/system.slice/ssh.service",
		"": "",
	} {
		if got := parseCgroup(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := Cgroup(1 << 30); got != "" {
		t.Errorf("%q", got)
	}
}
