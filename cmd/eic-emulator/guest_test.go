package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// inNetwork runs a shell script in a network of its own. What it leaves running
// ends with it.
func inNetwork(t *testing.T, script string) string {
	t.Helper()
	need.Root(t)
	unshare, _ := need.Program(t, "unshare"), need.Program(t, "ip")
	out, err := exec.CommandContext(t.Context(), unshare, "-nmpf", "--mount-proc", "--kill-child", "sh", "-c", "ip link set lo up\n"+script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// onInstance runs a shell script where the emulator, started with args, is at
// 169.254.169.254, in a network of its
// own. What it leaves running ends with it.
func onInstance(t *testing.T, script string, args ...string) string {
	t.Helper()
	need.Root(t)
	unshare, _ := need.Program(t, "unshare"), need.Program(t, "ip")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready")
	const setup = `set -eu
ip link set lo up
ip addr add 169.254.169.254/32 dev lo
script=$1 ready=$2 self=$3
shift 3
"$self" serve --allow-remote --imds 169.254.169.254:80 --ready-file "$ready" "$@" >/dev/null &
n=0
until [ -s "$ready" ]; do n=$((n+1)); [ $n -lt 600 ]; sleep 0.05; done
. "$ready"
eval "$script"`
	cmd := exec.CommandContext(t.Context(), unshare, append([]string{"-nmpf", "--mount-proc", "--kill-child", "sh", "-c", setup, "sh", script, ready, self}, args...)...)
	cmd.Env = append(os.Environ(), beProgram+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestEC2Metadata reads everything that Ubuntu's and Debian's ec2metadata knows.
func TestEC2Metadata(t *testing.T) {
	t.Parallel()
	program := need.Program(t, "ec2metadata")
	dir := t.TempDir()
	key, data := filepath.Join(dir, "key.pub"), filepath.Join(dir, "data")
	for path, text := range map[string]string{key: ed25519Line, data: "#cloud-config\nhostname: x\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := onInstance(t, program, "--key-pair", "k="+key, "--instance", emulator.DefaultInstanceID+",key=k,user-data="+data+",public-ip=192.0.2.7,private-ip=10.1.2.3")
	for _, want := range []string{
		"ami-id: ami-0e1c0e1c0e1c0e1c0", "ami-launch-index: 0", "ami-manifest-path: (unknown)", "availability-zone: us-east-1a", "block-device-mapping: ami\nroot",
		"instance-action: none", "instance-id: " + emulator.DefaultInstanceID, "instance-type: t3.micro", "local-hostname: ip-10-1-2-3.ec2.internal", "local-ipv4: 10.1.2.3",
		"mac: 02:", "profile: default-hvm", "public-hostname: ec2-192-0-2-7.compute-1.amazonaws.com", "public-ipv4: 192.0.2.7", ed25519Line + " k", "reservation-id: r-",
		"security-groups: default", "user-data: b'#cloud-config",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestHopLimit asks from behind a router, which what has a TTL of 1 does not cross.
func TestHopLimit(t *testing.T) {
	need.Program(t, "nsenter")
	const ask = `import socket, sys, urllib.request
r = urllib.request.Request("http://169.254.169.254/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
try:
    print("token", len(urllib.request.urlopen(r, timeout=float(sys.argv[1])).read()))
except (socket.timeout, OSError) as e:
    print("nothing")`
	// The emulator is here, the router in the network of $m, the client in that of $c.
	const script = `unshare -n sleep 600 >/dev/null & m=$!
unshare -n sleep 600 >/dev/null & c=$!
own=$(readlink /proc/self/ns/net)
for p in $m $c; do until [ "$(readlink /proc/$p/ns/net)" != "$own" ]; do sleep 0.02; done; done
ip link add veth0 type veth peer name veth1 netns $m
ip addr add 10.9.1.1/24 dev veth0 && ip link set veth0 up
nsenter -t $m -n sh -c "ip addr add 10.9.1.2/24 dev veth1; ip link set veth1 up; ip link add veth2 type veth peer name veth3 netns $c; ip addr add 10.9.2.1/24 dev veth2; ip link set veth2 up; ip route add 169.254.169.254 via 10.9.1.1; echo 1 > /proc/sys/net/ipv4/ip_forward"
nsenter -t $c -n sh -c "ip addr add 10.9.2.2/24 dev veth3; ip link set veth3 up; ip route add default via 10.9.2.1"
ip route add 10.9.2.0/24 via 10.9.1.2
nsenter -t $c -n /usr/bin/python3 -c "$ASK" $WAIT`
	for limit, want := range map[string]struct{ wait, out string }{"1": {"2", "nothing"}, "2": {"60", "token 56"}} {
		t.Setenv("ASK", ask)
		t.Setenv("WAIT", want.wait)
		if out := onInstance(t, script, "--instance", emulator.DefaultInstanceID+",hop-limit="+limit); strings.TrimSpace(out) != want.out {
			t.Errorf("with a hop limit of %s the client says %s", limit, out)
		}
	}
}
