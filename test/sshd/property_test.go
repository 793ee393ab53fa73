package sshd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/sshd"
	"github.com/eic-agent/eic-agent/test/host"
)

// Where the commands of random hosts are, and say that they ran.
const (
	commands  = host.BinDir + "/commands"
	ran       = "/run/ran"
	otherPort = "2223"
)

// A random host: what is said about it beforehand is compared with what sshd does then.
type randomHost struct {
	*machine
	r     *rand.Rand
	users []string // accounts; Match blocks do not name the last
	quiet bool     // no command is set outside Match blocks
	// far is whether no Match block holds for this host's own addresses.
	far bool
}

func (h *randomHost) pick(list ...string) string { return list[h.r.IntN(len(list))] }

// spell returns a line of sshd_config in one of its spellings.
func (h *randomHost) spell(keyword, value string) string {
	word := []byte(keyword)
	for i := range word {
		if h.r.IntN(4) == 0 {
			word[i] ^= 'a' ^ 'A'
		}
	}
	return h.pick("", "\t", "  ") + string(word) + h.pick(" ", "\t", "=", " = ") + value + "\n"
}

func (h *randomHost) command() string {
	return commands + "/" + h.pick("one", "two", "eic-authkeys") + h.pick("", " %u", " --x %u %f")
}

// outside is setting outside Match blocks.
func (h *randomHost) outside() string {
	if h.quiet {
		return h.spell("MaxSessions", "7")
	}
	return h.setting()
}

// setting returns a command with its user, one of them, or nothing.
func (h *randomHost) setting() string {
	command, user := h.spell("AuthorizedKeysCommand", h.command()), h.spell("AuthorizedKeysCommandUser", h.pick("nobody", "root", agentUser))
	switch h.r.IntN(6) {
	case 0:
		return ""
	case 1:
		return h.spell("AuthorizedKeysCommand", "none")
	case 2:
		return "# nothing\n"
	}
	return command + user
}

// block returns a Match block. That it holds for somebody else's connections only is as
// likely as that it holds.
func (h *randomHost) block() string {
	near := func(criterion string) string { h.far = false; return criterion }
	criteria := []func() string{
		func() string {
			return "User " + h.pick(h.users[0], h.users[1], "nosuch,"+h.users[0], "*,!"+h.users[0]+",!"+h.users[1])
		},
		func() string { return "Group " + h.pick(h.users[1], "nosuch,"+h.users[0], "root", "*,!"+h.users[1]) },
		func() string { return "LocalPort " + h.pick(otherPort, "9") },
		func() string { return "Address 10.0.0.0/8,!127.0.0.1" },
		func() string { return near("Address 127.0.0.0/8") },
		func() string { return "LocalAddress 10.1.2.3" },
		func() string { return near("Host 127.0.0.?") },
		func() string { return "RDomain blue" },
		func() string { return "all" },
	}
	text := h.pick("Match ", "match\t") + criteria[h.r.IntN(len(criteria))]()
	if h.r.IntN(4) == 0 && !strings.Contains(text, "all") {
		text += " " + criteria[h.r.IntN(len(criteria)-1)]()
	}
	return text + "\n" + h.pick("", "\tX11Forwarding no\n", "MaxAuthTries 4\n") + h.setting()
}

// furnish writes sshd_config with includes, drop-ins, Match blocks and -o options.
func (h *randomHost) furnish() {
	base := "Port " + port + "\nPort " + otherPort + "\nListenAddress 127.0.0.1\nUsePAM no\nPidFile " + h.pick("/run/sshd.pid", "none") + "\n"
	for _, line := range host.NoPenalties() { // each login here that fails is one against the address
		base += line + "\n"
	}
	parts := []string{"Include /etc/ssh/sshd_config.d/*.conf\n", base, h.outside(), h.spell("LogLevel", "VERBOSE")}
	if !h.quiet {
		parts = append(parts, h.pick("Include extra.conf\n", ""))
	}
	h.r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for range h.r.IntN(4) {
		parts = append(parts, h.block())
	}
	if h.r.IntN(2) == 0 {
		parts = append(parts, "Match User "+h.users[1]+"\n\tInclude /etc/ssh/extra.conf\n")
	}
	h.write("/etc/ssh/sshd_config", strings.Join(parts, ""))
	h.write("/etc/ssh/extra.conf", h.setting())
	for _, name := range []string{"10-a", "50-cloud", "99-z"} {
		if text := h.outside(); h.r.IntN(3) == 0 {
			if h.r.IntN(3) == 0 {
				text += h.block()
			}
			h.write("/etc/ssh/sshd_config.d/"+name+".conf", text)
		}
	}
	options := ""
	if !h.quiet && h.r.IntN(3) == 0 {
		options = h.pick("-oAuthorizedKeysCommand="+commands+"/two", "-o authorizedkeyscommand="+commands+"/eic-authkeys", "-Do AUTHORIZEDKEYSCOMMAND="+commands+"/one") + " -oAuthorizedKeysCommandUser=root"
	}
	h.write("/etc/default/ssh", "SSHD_OPTS='"+options+"'\n")
}

// effect tries to log in and returns which command sshd ran as whom, "" for none.
func (h *randomHost) effect(user, port, key string) string {
	h.t.Helper()
	h.must(os.WriteFile(ran, nil, 0o666))
	h.must(os.Chmod(ran, 0o666))
	cmd := h.sshCommand(user, key, "true")
	cmd.Args[slices.Index(cmd.Args, "-p")+1] = port
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Permission denied") {
		h.t.Fatalf("login as %s at %s: %v: %s", user, port, err, out)
	}
	lines := strings.Split(strings.TrimSpace(h.read(ran)), "\n")
	slices.Sort(lines)
	if lines = slices.Compact(lines); len(lines) > 1 {
		h.t.Fatalf("sshd ran %q", lines)
	}
	return lines[0]
}

// said puts what is said of a connection in the form of effect.
func said(e sshd.Effective) string {
	if e.Command == "" || e.User == "" { // sshd runs none without a user
		return ""
	}
	program, _, _ := strings.Cut(e.Command, " ")
	return program[strings.LastIndex(program, "/")+1:] + " " + e.User
}

// What is said of sshd, by status, enable and disable and for each connection, is what sshd
// does: hosts are set up at random, asked about, and then logged in to.
func TestRandomHosts(t *testing.T) {
	if err := os.MkdirAll(commands, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(commands)
	for _, name := range []string{"one", "two", "eic-authkeys"} {
		if err := os.WriteFile(commands+"/"+name, []byte("#!/bin/sh\necho "+name+" $(id -un) >>"+ran+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	count := make(map[string]int)
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomHosts(t, seed, count) })
	}
	t.Logf("%v", count)
	for _, verdict := range []string{"status 0", "status 1", "status 4", "enable 0", "enable 4"} {
		if count[verdict] == 0 {
			t.Errorf("no host had the verdict %s: %v", verdict, count)
		}
	}
}

func randomHosts(t *testing.T, seed uint64, count map[string]int) {
	h := &randomHost{r: rand.New(rand.NewPCG(seed, 7)), far: true, quiet: seed%2 == 0}
	h.machine = newMachine(t, "debian12", func(m *machine) {
		h.machine = m
		m.must(os.MkdirAll("/run/sshd", 0o755))
		h.users = []string{m.newUser(), m.newUser(), m.newUser()}
		for range 100 {
			h.far = true
			m.must(os.RemoveAll("/etc/ssh/sshd_config.d"))
			m.must(os.Mkdir("/etc/ssh/sshd_config.d", 0o755))
			if h.furnish(); exec.Command("/usr/sbin/sshd", "-t").Run() == nil {
				return
			}
		}
		t.Fatal("no host is valid")
	})
	config := h.read("/etc/ssh/sshd_config")
	key, public := h.newKey()
	anybody := h.users[2]

	// For each connection the API says what sshd does, with a line that has it.
	server, err := sshd.Find(t.Context(), "/")
	h.must(err)
	effects := make(map[string]string)
	for _, user := range h.users {
		for _, at := range []string{port, otherPort} {
			conn := sshd.Connection{User: user, Addr: "127.0.0.1", LocalAddr: "127.0.0.1"}
			fmt.Sscan(at, &conn.LocalPort)
			e, err := server.Effective(t.Context(), conn)
			h.must(err)
			effects[user+at] = h.effect(user, at, key)
			if got := effects[user+at]; got != said(e) {
				t.Errorf("%s: said %q, sshd ran %q of\n%s", conn, said(e), got, config)
			}
			if e.Command != "" && e.CommandFrom.IsZero() {
				t.Errorf("%s: it is not said what sets %s of\n%s", conn, e.Command, config)
			}
		}
	}

	// status says what anybody gets.
	r := h.eicctl("status", "--json")
	count[fmt.Sprint("status ", r.code)]++
	effect := effects[anybody+port]
	want := map[bool]int{true: 0, false: 4}[strings.HasPrefix(effect, "eic-authkeys")]
	if effect == "" {
		want = 1
	}
	// A command without a user is one that sshd does not run.
	if h.far && r.code != want && !(effect == "" && strings.Contains(r.stdout, `"user": ""`)) {
		t.Errorf("status: exit %d, and sshd ran %q of\n%s%s%s", r.code, effect, config, r.stdout, r.stderr)
	}

	if other := effects[anybody+otherPort]; h.far && r.code != 3 && other != effect && !strings.Contains(r.stdout, "anybody at 127.0.0.1 port "+otherPort+": ") {
		t.Errorf("status does not say that sshd ran %q at port %s, not %q:\n%s%s%s", other, otherPort, effect, config, r.stdout, r.stderr)
	}

	// After enable a pushed key logs in, or nothing has changed.
	before := h.snapshot()
	r = h.eicctl("enable", "--program", authkeys)
	count[fmt.Sprint("enable ", r.code)]++
	h.push(anybody, public)
	switch logsIn := h.login(anybody, key); {
	case r.code == 0 && !logsIn && h.far:
		t.Errorf("enable: exit 0, and a pushed key does not log in:\n%s%s%s", config, r.stdout, r.stderr)
	case r.code != 0 && logsIn:
		t.Errorf("enable: exit %d, and a pushed key logs in:\n%s%s%s", r.code, config, r.stdout, r.stderr)
	case r.code != 0:
		h.same(before)
	}
	// And disable brings back what sshd did.
	if r.code == 0 {
		h.disable(0)
		h.same(before)
	}
	for _, user := range h.users {
		if now := h.effect(user, port, key); now != effects[user+port] {
			t.Errorf("after disable sshd ran %q for %s, before %q of\n%s", now, user, effects[user+port], config)
		}
	}
}
