package sshd

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
)

const stub = host.BinDir + "/systemctl"

const dropIn = "/etc/ssh/sshd_config.d/05-eic-agent.conf"

// A pushed key logs in after enable, not before and not after disable, by which
// everything is as it was; a session goes on over all of it.
func TestEnableDisable(t *testing.T) {
	for name, file := range map[string]string{"debian12": dropIn, "ubuntu2404": dropIn, "rhel9": dropIn, "al2": "/etc/ssh/sshd_config"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, name)
			before := m.snapshot()
			session := m.openSession()
			pid := m.pid()
			user := m.newUser()
			key, public := m.newKey()
			m.push(user, public)
			var args []string
			if name == "al2" {
				r := m.enable(4)
				if !strings.Contains(r.stderr, "ec2-instance-connect") || !strings.Contains(r.stderr, "--migrate") {
					t.Errorf("said %q", r.stderr)
				}
				m.same(before)
				m.status(4)
				args = append(args, "--migrate")
			} else {
				m.status(1)
			}
			if m.login(user, key) {
				t.Error("a pushed key logs in already")
			}
			r := m.enable(0, args...)
			if !strings.Contains(r.stdout, file) {
				t.Errorf("printed %q, want %s", r.stdout, file)
			}
			if !strings.Contains(m.read(file), "AuthorizedKeysCommand "+authkeys+" %u %f\nAuthorizedKeysCommandUser eic-agent\n") {
				t.Errorf("%s has %q", file, m.read(file))
			}
			how := "reload "
			if name == "ubuntu2404" { // whose ssh.socket is active
				how = "restart "
			} else if m.pid() != pid {
				t.Error("sshd is another process")
			}
			if !strings.Contains(m.read(units+"/log"), how+m.unit) {
				t.Errorf("not %s: %q", how, m.read(units+"/log"))
			}
			if !strings.Contains(m.read(settings), "expiry_time = true") {
				t.Errorf("%s has %q", settings, m.read(settings))
			}
			if s := m.status(0); s.Outcome != "enabled" || s.Effective.User != agentUser {
				t.Errorf("status %+v", s)
			}
			if !m.login(user, key) {
				t.Error("a pushed key does not log in")
			}
			session.lives()

			enabled := m.snapshot()
			if r := m.enable(0, args...); !strings.Contains(r.stdout, "nothing to do") {
				t.Errorf("a second time: %q", r.stdout)
			}
			m.same(enabled)

			m.disable(0)
			m.same(before)
			if m.login(user, key) {
				t.Error("a pushed key logs in still")
			}
			session.lives()
			if r := m.disable(0); !strings.Contains(r.stdout, "nothing to do") && name != "al2" {
				t.Errorf("a second time: %q", r.stdout)
			}
			m.same(before)
			if left, err := os.ReadDir("/var/lib/eic-agent/sshd"); err != nil || len(left) > 0 {
				t.Errorf("left in the state directory: %v, %v", left, err)
			}
		})
	}
}

const awsDropIn = "/usr/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf"

const awsOverride = `[Service]
ExecStart=
ExecStart=/usr/sbin/sshd -D -o "AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %%u %%f" -o "AuthorizedKeysCommandUser ec2-instance-connect" $SSHD_OPTS
`

// What AWS's package for Ubuntu writes wins over every file, over reloads too.
func ubuntuWithAWS(m *machine) {
	m.write(awsDropIn, awsOverride)
}

func TestMigrateUnit(t *testing.T) {
	m := newMachine(t, "ubuntu2404", ubuntuWithAWS)
	before := m.snapshot()
	if s := m.status(4); s.Effective.Command != "/usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f" {
		t.Errorf("status %+v", s)
	}
	m.enable(4)
	m.same(before)
	session := m.openSession()
	m.enable(0, "--migrate")
	if _, err := os.Stat(awsDropIn); err == nil {
		t.Error("AWS's drop-in is there still")
	}
	user := m.newUser()
	key, public := m.newKey()
	m.push(user, public)
	if !m.login(user, key) {
		t.Error("a pushed key does not log in")
	}
	session.lives()
	m.status(0)
	if r := m.disable(0); !strings.Contains(r.stdout, "runs the command of AWS's package") || strings.Contains(r.stdout, "note:") {
		t.Errorf("disable printed %q", r.stdout)
	}
	m.same(before)
	m.status(4)
	session.lives()
}

// Where a restart might end sessions it is left to the administrator.
func TestMigrateUnitWithoutRestart(t *testing.T) {
	m := newMachine(t, "debian12", ubuntuWithAWS, func(m *machine) { m.write(units+"/killmode", "control-group") })
	before := m.snapshot()
	pid := m.pid()
	r := m.enable(1, "--migrate")
	if m.pid() != pid || !strings.Contains(r.stdout, "not restarted") || !strings.Contains(r.stdout, "runs the command of AWS's package") || !strings.Contains(r.stderr, "systemctl restart ssh.service") {
		t.Errorf("printed %q, said %q", r.stdout, r.stderr)
	}
	if s := m.status(4); !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "restarted") }) {
		t.Errorf("status %+v", s)
	}
	m.run("systemctl", "restart", m.unit)
	m.status(0)
	m.write(units+"/killmode", "process")
	m.disable(0)
	m.same(before)
}

// The file that AWS's package for RHEL 9 brings.
func TestMigrateFile(t *testing.T) {
	const file = "/etc/ssh/sshd_config.d/60-ec2-instance-connect.conf"
	m := newMachine(t, "rhel9", func(m *machine) {
		m.write(file, "AuthorizedKeysCommand /opt/aws/bin/eic_run_authorized_keys %u %f\nAuthorizedKeysCommandUser ec2-instance-connect\n")
	})
	before := m.snapshot()
	m.enable(4)
	m.enable(0, "--migrate")
	if _, err := os.Stat(file); err == nil {
		t.Error("AWS's file is there still")
	}
	m.status(0)
	m.disable(0)
	m.same(before)
}

// Whatever is there already is left alone, and it is said what to do.
func TestConflicts(t *testing.T) {
	const userdb = "AuthorizedKeysCommand /usr/bin/userdbctl ssh-authorized-keys %u\nAuthorizedKeysCommandUser root\n"
	for name, c := range map[string]struct {
		path, text string
		says       []string
	}{
		"userdbctl":       {"/etc/ssh/sshd_config.d/20-systemd-userdb.conf", userdb, []string{"userdbctl", "[chain]\ncommand = ['/usr/bin/userdbctl ssh-authorized-keys %u']\n", "runs as root now", "20-systemd-userdb.conf line 1"}},
		"sorts first":     {"/etc/ssh/sshd_config.d/00-x.conf", "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\nAuthorizedKeysCommandUser nobody\n", []string{"SSSD", "'/usr/bin/sss_ssh_authorizedkeys %u'"}},
		"none":            {"/etc/ssh/sshd_config.d/00-x.conf", "AuthorizedKeysCommand none\n", []string{"AuthorizedKeysCommand is set to none in /etc/ssh/sshd_config.d/00-x.conf line 1"}},
		"user alone":      {"/etc/ssh/sshd_config.d/00-x.conf", "AuthorizedKeysCommandUser nobody\n", []string{"AuthorizedKeysCommandUser is set to nobody, in /etc/ssh/sshd_config.d/00-x.conf line 1"}},
		"script":          {"/etc/ssh/sshd_config.d/60-x.conf", "AuthorizedKeysCommand /usr/bin/curl -s http://169.254.169.254/latest/meta-data/managed-ssh-keys/active-keys/%u\nAuthorizedKeysCommandUser nobody\n", []string{"without a proof", "remove it"}},
		"unit":            {"/etc/systemd/system/ssh.service.d/x.conf", "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o \"AuthorizedKeysCommand /bin/false %%u\" -o AuthorizedKeysCommandUser=nobody $SSHD_OPTS\n", []string{"/bin/false %u", "x.conf line 3", "command line overrides"}},
		"Match all":       {"/etc/ssh/sshd_config.d/60-x.conf", "Match all\nAuthorizedKeysCommand /usr/bin/userdbctl ssh-authorized-keys %u\nAuthorizedKeysCommandUser root\n", []string{"60-x.conf line 2, in Match all", "remove the setting from it"}},
		"ours, otherwise": {"/etc/ssh/sshd_config.d/60-x.conf", "AuthorizedKeysCommand " + authkeys + " --config /x %u\nAuthorizedKeysCommandUser nobody\n", []string{"60-x.conf line 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) { m.write(c.path, c.text) })
			before := m.snapshot()
			r := m.enable(4)
			for _, part := range c.says {
				if !strings.Contains(r.stderr, part) {
					t.Errorf("said %q, want %q", r.stderr, part)
				}
			}
			m.same(before)
			if log := m.read(units + "/log"); log != "" {
				t.Errorf("systemctl was told %q", log)
			}
		})
	}
}

// What the unit is going to start sshd with next counts too.
func TestConflictAtNextStart(t *testing.T) {
	m := newMachine(t, "debian12")
	m.write("/etc/systemd/system/ssh.service.d/x.conf", "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o \"AuthorizedKeysCommand /bin/false\" -o AuthorizedKeysCommandUser=nobody $SSHD_OPTS\n")
	before := m.snapshot()
	if r := m.enable(4); !strings.Contains(r.stderr, "/bin/false") {
		t.Errorf("said %q", r.stderr)
	}
	m.same(before)
}

// With [chain] the other command runs after ours, whether its file sorts before or
// after ours.
func TestChain(t *testing.T) {
	for _, file := range []string{"01-other.conf", "20-other.conf"} {
		t.Run(file, func(t *testing.T) {
			static, staticPublic := "", ""
			m := newMachine(t, "debian12", func(m *machine) {
				static, staticPublic = m.newKey()
				m.write("/etc/keys", staticPublic+"\n")
				m.write("/etc/ssh/sshd_config.d/"+file, "AuthorizedKeysCommand /bin/sh -c \"cat /etc/keys; : $0 $1\" %u %k\nAuthorizedKeysCommandUser nobody\n")
			})
			defer os.Remove("/etc/keys")
			user := m.newUser()
			key, public := m.newKey()
			m.push(user, public)
			if !m.login(user, static) || m.login(user, key) {
				t.Fatal("the other command does not work")
			}
			before := m.snapshot()
			r := m.enable(4)
			_, lines, _ := strings.Cut(r.stderr, "[chain]\n")
			line, _, _ := strings.Cut(lines, "\n")
			without := m.read(config)
			m.write(config, without+"\n[chain]\n"+line+"\n")
			r = m.enable(0)
			if !strings.Contains(r.stdout, "as "+agentUser) {
				t.Errorf("printed %q", r.stdout)
			}
			if s := m.status(0); !strings.HasSuffix(s.Effective.Command, " %u %f %t %k") {
				t.Errorf("status %+v", s)
			}
			if !m.login(user, static) {
				t.Error("the other command's key does not log in")
			}
			if !m.login(user, key) {
				t.Error("a pushed key does not log in")
			}
			m.disable(0)
			m.write(config, without)
			m.run("touch", "-d", "2026-01-02 03:04:05.678", config)
			m.same(before)
		})
	}
}

func TestMatchIsReported(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.write("/etc/ssh/sshd_config", m.read("/etc/ssh/sshd_config")+"Match User git\n\tAuthorizedKeysCommand /usr/bin/git-keys %u\n\tAuthorizedKeysCommandUser nobody\n")
	})
	before := m.snapshot()
	for _, r := range []result{m.enable(0), m.eicctl("status")} {
		if !strings.Contains(r.stdout, "/usr/bin/git-keys %u (/etc/ssh/sshd_config line ") || !strings.Contains(r.stdout, "in Match User git") {
			t.Errorf("printed %q", r.stdout)
		}
	}
	m.disable(0)
	m.same(before)
}

// Without an Include for the directory the block goes into sshd_config, before
// everything that could win over it; also where the Include comes too late.
func TestBlock(t *testing.T) {
	for name, text := range map[string]string{
		"no Include":       "# first\n\nPort 22\nMatch User x\n\tX11Forwarding no\n",
		"Include in Match": "Match User x\nInclude /etc/ssh/sshd_config.d/*.conf\n",
		"other files":      "Include /etc/ssh/sshd_config.d/*.local\n",
		"empty":            "",
		"comments, no end": "# nothing\n# at all",
		"CRLF":             "UsePAM yes\r\nMatch all\r\n",
		"tabs and quotes":  "\tUsePAM\tyes\n\"X11Forwarding\" no\nAllowTcpForwarding=\"no\"\nInclude '/etc/ssh/none/*.conf'",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) {
				m.write("/etc/ssh/sshd_config", text)
				m.must(os.Chmod("/etc/ssh/sshd_config", 0o640))
				m.must(os.Chown("/etc/ssh/sshd_config", 0, 4))
			})
			before := m.snapshot()
			m.enable(0)
			if got := m.read("/etc/ssh/sshd_config"); !strings.Contains(got, authkeys) || !strings.Contains(got, strings.TrimSpace(text)) && name != "no Include" && name != "other files" {
				t.Errorf("sshd_config is %q", got)
			}
			if st, err := os.Stat("/etc/ssh/sshd_config"); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			m.status(0)
			m.disable(0)
			m.same(before)
		})
	}
}

// What is changed between enable and disable stays.
func TestChangedMeanwhile(t *testing.T) {
	m := newMachine(t, "al2")
	m.enable(0, "--migrate")
	before := m.read("/etc/ssh/sshd_config")
	m.write("/etc/ssh/sshd_config", strings.Replace(before, "X11Forwarding yes", "X11Forwarding no", 1))
	m.write(config, m.read(config)+"[users]\ndeny = [\"root\"]\n")
	r := m.disable(0)
	if !strings.Contains(r.stdout, "sshd_config was changed since") {
		t.Errorf("printed %q", r.stdout)
	}
	want := strings.Replace(m.fixture("al2", "/etc/ssh/sshd_config"), "X11Forwarding yes", "X11Forwarding no", 1)
	if got := m.read("/etc/ssh/sshd_config"); got != want {
		t.Errorf("sshd_config is\n%s\nwant\n%s", got, want)
	}
	if got := m.read(config); !strings.HasSuffix(got, "[users]\ndeny = [\"root\"]\n") {
		t.Errorf("the configuration is\n%s", got)
	}
}

func (m *machine) fixture(name, path string) string { return m.read("testdata/" + name + path) }

// Nothing is changed where something is missing.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(m *machine) (args []string)
		says    string
	}{
		"no account": {func(m *machine) []string { return []string{"--user", "nosuch"} }, `no account "nosuch"`},
		"root":       {func(m *machine) []string { return []string{"--user", "root"} }, "root's"},
		"no program": {func(m *machine) []string { return []string{"--program", "/usr/bin/nosuch"} }, "no such file"},
		"program in /tmp": {func(m *machine) []string {
			m.program("/tmp/eic-authkeys")
			return []string{"--program", "/tmp/eic-authkeys"}
		}, "/tmp is world-writable"},
		"another program": {func(m *machine) []string { return []string{"--program", "/bin/true"} }, "it is not eic-authkeys"},
		"program closed": {func(m *machine) []string {
			m.program("/run/closed/eic-authkeys")
			m.must(os.Chmod("/run/closed", 0o700))
			return []string{"--program", "/run/closed/eic-authkeys"}
		}, "/run/closed cannot be entered"},
		"program's path":     {func(m *machine) []string { return []string{"--program", "/opt/my program"} }, "blanks"},
		"bad configuration":  {func(m *machine) []string { m.write(config, "[keys\n"); return nil }, "line 1"},
		"sshd_config broken": {func(m *machine) []string { m.write("/etc/ssh/sshd_config.d/x.conf", "NoSuchKeyword yes\n"); return nil }, "sshd refuses its configuration: "},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12")
			args := c.prepare(m)
			before := m.snapshot()
			r := m.enable(1, args...)
			if !strings.Contains(r.stderr, c.says) {
				t.Errorf("said %q, want %q", r.stderr, c.says)
			}
			m.same(before)
		})
	}
}

// program puts eic-authkeys at a path for the time of the test.
func (m *machine) program(path string) {
	m.t.Helper()
	dir := path[:strings.LastIndex(path, "/")]
	if _, err := os.Stat(dir); err != nil {
		m.must(os.Mkdir(dir, 0o755))
		m.t.Cleanup(func() { os.RemoveAll(dir) })
	}
	m.run("install", "-m", "0755", authkeys, path)
	m.t.Cleanup(func() { os.Remove(path) })
}

// Everything is taken back where sshd does not come out of it as it should.
func TestRollback(t *testing.T) {
	// The stub does what it says at a reload.
	reloading := func(m *machine, script string) {
		m.write(stub, strings.Replace(m.read("systemctl"), "\nreload)\n", "\nreload)\n\t"+script+"\n", 1))
	}
	for name, c := range map[string]struct {
		reload string
		says   string
	}{
		"reload fails":    {"[ ! -e $run/once ] && touch $run/once && { echo no way >&2; exit 1; }", "no way"},
		"sshd ends":       {"[ ! -e $run/once ] && touch $run/once && { kill -9 $(pid); exit 0; }", "sshd has ended"},
		"sshd ends twice": {"kill -9 $(pid); exit 0", "sshd has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) { reloading(m, c.reload) })
			defer m.write(stub, m.read("systemctl"))
			before := m.snapshot()
			session := m.openSession()
			r := m.enable(3)
			if !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "rolled back") {
				t.Errorf("said %q, want %q", r.stderr, c.says)
			}
			m.same(before)
			m.status(1)
			session.lives()
			m.openSession() // sshd runs
			m.disable(0)
			m.same(before)
		})
	}
}

// What sshd -t and sshd -T say of the new configuration is heeded.
func TestRollbackAfterTest(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"-t refuses it":  {`case "$*" in *" -t"*) [ -e ` + dropIn + ` ] && { echo "no such luck" >&2; exit 255; } ;; esac`, "no such luck"},
		"-T has another": {`case "$*" in *" -T"*) [ -e ` + dropIn + ` ] && { echo "authorizedkeyscommand /other"; exit 0; } ;; esac`, `would use "/other"`},
	} {
		t.Run(name, func(t *testing.T) {
			const program = "/run/host/sshd"
			m := newMachine(t, "debian12")
			m.run("systemctl", "stop", m.unit)
			m.write(program, "#!/bin/sh\n"+c.script+"\nexec /usr/sbin/sshd \"$@\"\n")
			m.must(os.Chmod(program, 0o755))
			defer os.Remove(program)
			m.write("/etc/systemd/system/ssh.service.d/x.conf", "[Service]\nExecStart=\nExecStart="+program+" -D $SSHD_OPTS\n")
			before := m.snapshot()
			if r := m.enable(3); !strings.Contains(r.stderr, c.says) {
				t.Errorf("said %q, want %q", r.stderr, c.says)
			}
			m.same(before)
		})
	}
}

// An enable that was killed is taken back by the next one, or by disable.
func TestInterrupted(t *testing.T) {
	for _, then := range []string{"enable", "disable"} {
		t.Run(then, func(t *testing.T) {
			m := newMachine(t, "debian12", func(m *machine) {
				if then == "disable" {
					m.must(os.Remove("/etc/ssh/sshd_config.d")) // so that enable makes it
				}
				// The reload hangs until the eicctl is killed.
				m.run("mkfifo", units+"/hang")
				m.write(stub, strings.Replace(m.read("systemctl"), "\nreload)\n", "\nreload)\n\techo > $run/hang; sleep 1000\n", 1))
			})
			defer m.write(stub, m.read("systemctl"))
			before := m.snapshot()
			cmd := exec.Command(eicctl, "sshd", "enable", "--program", authkeys)
			m.must(cmd.Start())
			m.read(units + "/hang") // it is there
			if r := m.eicctl("enable", "--program", authkeys); r.code != 3 || !strings.Contains(r.stderr, "another eicctl sshd is at work") {
				t.Errorf("a second one beside it: exit %d, %q", r.code, r.stderr)
			}
			m.must(cmd.Process.Kill())
			cmd.Wait()
			m.write(stub, m.read("systemctl"))
			m.write("/etc/ssh/sshd_config.d/.eic-agent-1234", "half")
			if s := m.status(3); s.Outcome != "interrupted" {
				t.Errorf("status %+v", s)
			}
			if then == "enable" {
				m.enable(0)
				m.status(0)
			}
			m.disable(0)
			m.same(before)
		})
	}
}

// One that is asked to end takes back what it did first.
func TestTerminated(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.run("mkfifo", units+"/hang")
		m.write(stub, strings.Replace(m.read("systemctl"), "\nreload)\n", "\nreload)\n\t[ ! -e $run/once ] && touch $run/once && { echo > $run/hang; sleep 1000; }\n", 1))
	})
	defer m.write(stub, m.read("systemctl"))
	before := m.snapshot()
	var stderr strings.Builder
	cmd := exec.Command(eicctl, "sshd", "enable", "--program", authkeys)
	cmd.Stderr = &stderr
	m.must(cmd.Start())
	m.read(units + "/hang") // it is there
	m.must(cmd.Process.Signal(unix.SIGTERM))
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(stderr.String(), "rolled back") {
		t.Errorf("exit %d, said %q", code, stderr.String())
	}
	m.same(before)
	m.status(1)
}

// Two at once exclude each other.
func TestAtOnce(t *testing.T) {
	m := newMachine(t, "debian12")
	before := m.snapshot()
	var wg sync.WaitGroup
	results := make([]result, 6)
	for i := range results {
		wg.Go(func() { results[i] = m.eicctl("enable", "--program", authkeys) })
	}
	wg.Wait()
	done := 0
	for _, r := range results {
		switch {
		case r.code == 0:
			done++
		case r.code != 3 || !strings.Contains(r.stderr, "another eicctl"):
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
	}
	if done == 0 {
		t.Error("none of them did it")
	}
	m.status(0)
	m.disable(0)
	m.same(before)
}

// An image that is being built: no host keys, no /run/sshd, nothing runs.
func TestImage(t *testing.T) {
	m := newMachine(t, "debian12")
	m.run("systemctl", "stop", m.unit)
	m.must(os.RemoveAll("/run/systemd/system"))
	m.must(os.RemoveAll("/run/sshd"))
	m.run("sh", "-c", "rm /etc/ssh/ssh_host_*")
	before := m.snapshot()
	r := m.enable(0)
	if !strings.Contains(r.stdout, "not reloaded: sshd does not run") {
		t.Errorf("printed %q", r.stdout)
	}
	if _, err := os.Stat("/run/sshd"); err == nil {
		t.Error("/run/sshd is left")
	}
	if s := m.status(0); s.Effective.How != "sshd -T" {
		t.Errorf("status %+v", s)
	}
	m.disable(0)
	m.same(before)
}

// A unit's files that sshd does not run from: it is reloaded by itself.
func TestWithoutSystemd(t *testing.T) {
	m := newMachine(t, "debian12")
	m.must(os.RemoveAll("/run/systemd/system"))
	before := m.snapshot()
	session := m.openSession()
	r := m.enable(0)
	if !strings.Contains(r.stdout, "reloaded sshd, process "+m.pid()) {
		t.Errorf("printed %q", r.stdout)
	}
	user := m.newUser()
	key, public := m.newKey()
	m.push(user, public)
	if !m.login(user, key) {
		t.Error("a pushed key does not log in")
	}
	session.lives()
	m.disable(0)
	m.same(before)
	if m.login(user, key) {
		t.Error("a pushed key logs in still")
	}
}

// What somebody has started by hand cannot be started otherwise.
func TestMigrateByHand(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.write("/usr/lib/systemd/system/ssh.service", strings.Replace(m.read("/usr/lib/systemd/system/ssh.service"), "-D ", "-D -o 'AuthorizedKeysCommand /usr/share/ec2-instance-connect/x %%u' -o AuthorizedKeysCommandUser=nobody ", 1))
	})
	m.must(os.RemoveAll("/run/systemd/system"))
	m.must(os.Remove("/usr/lib/systemd/system/ssh.service"))
	before := m.snapshot()
	if r := m.enable(4, "--migrate"); !strings.Contains(r.stderr, "remove the -o option") {
		t.Errorf("said %q", r.stderr)
	}
	m.same(before)
}

// Nothing can be written: nothing was changed, and nothing is left to be taken back.
func TestReadOnly(t *testing.T) {
	m := newMachine(t, "debian12")
	m.must(unix.Mount("/etc", "/etc", "", unix.MS_BIND, ""))
	m.must(unix.Mount("", "/etc", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	defer unix.Unmount("/etc", unix.MNT_DETACH)
	before := m.snapshot()
	if r := m.enable(3); !strings.Contains(r.stderr, "read-only file system") || !strings.Contains(r.stderr, "rolled back") {
		t.Errorf("said %q", r.stderr)
	}
	m.status(1)
	m.disable(0)
	m.same(before)
}

// A socket that has not started sshd yet: there is nothing to reload.
func TestSocketWaits(t *testing.T) {
	m := newMachine(t, "ubuntu2404")
	m.run("systemctl", "stop", m.unit)
	before := m.snapshot()
	if r := m.enable(0); !strings.Contains(r.stdout, "ssh.socket starts sshd") {
		t.Errorf("printed %q", r.stdout)
	}
	m.disable(0)
	m.same(before)
}

// No configuration of ours at all.
func TestNoConfiguration(t *testing.T) {
	m := newMachine(t, "debian12", func(m *machine) {
		m.must(os.RemoveAll("/etc/eic-agent"))
		m.must(os.MkdirAll("/etc/systemd/system", 0o755))
	})
	snap := func() string { return m.run("find", "/etc/ssh", "/etc/eic-agent", "-maxdepth", "1") }
	m.must(os.Mkdir("/etc/eic-agent", 0o755))
	before := snap()
	m.must(os.Remove("/etc/eic-agent"))
	m.enable(0)
	if got := m.read(settings); !strings.Contains(got, "expiry_time = true") {
		t.Errorf("the settings are %q", got)
	}
	m.disable(0)
	if _, err := os.Stat("/etc/eic-agent"); err == nil {
		t.Error("/etc/eic-agent is left")
	}
	m.must(os.Mkdir("/etc/eic-agent", 0o755))
	if after := snap(); after != before {
		t.Errorf("%q, want %q", after, before)
	}
}

// A usage error.
func TestUsage(t *testing.T) {
	m := newMachine(t, "debian12")
	for _, args := range [][]string{{}, {"frob"}, {"enable", "x"}, {"enable", "--program", "eic-authkeys"}, {"status", "--root", "x"}, {"status", "--migrate"}} {
		if r := m.eicctl(args...); r.code != 2 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q: exit %d, %q, %q", args, r.code, r.stdout, r.stderr)
		}
	}
}

// A system in a directory, whose sshd runs in it.
func TestRoot(t *testing.T) {
	m := newMachine(t, "debian12")
	const root = "/run/image"
	for _, dir := range []string{"/usr", "/dev", "/run", "/var/lib", "/proc"} {
		m.must(os.MkdirAll(root+dir, 0o755))
	}
	defer os.RemoveAll(root)
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		m.must(os.Symlink("usr/"+dir, root+"/"+dir))
	}
	m.must(unix.Mount("/usr", root+"/usr", "", unix.MS_BIND, ""))
	defer unix.Unmount(root+"/usr", unix.MNT_DETACH)
	m.run("cp", "-a", "/etc", root+"/etc")
	m.run("cp", "-a", "/dev/null", root+"/dev/null")
	m.run("install", "-D", "-m", "0755", authkeys, root+"/opt/eic-authkeys")
	m.run("sh", "-c", "rm "+root+"/etc/ssh/ssh_host_*")
	m.must(os.Chmod(root+"/etc/ssh/sshd_config", 0o600))
	// What is linked to is in the image, whatever the running system has there.
	m.must(os.Mkdir(root+"/etc/ssh.d", 0o755))
	m.must(os.RemoveAll(root + "/etc/ssh/sshd_config.d"))
	m.must(os.Symlink("/etc/ssh.d", root+"/etc/ssh/sshd_config.d"))
	m.must(os.Symlink("/etc/linked.conf", root+"/etc/ssh.d/90-linked.conf"))
	m.write(root+"/etc/linked.conf", "Match User x\nAuthorizedKeysCommand /bin/linked\n")
	list := func() string {
		return m.run("find", root+"/etc", root+"/run") + m.run("find", root+"/etc", "-type", "f", "-printf", "%p %m %T@\n")
	}
	before := list()
	running := m.snapshot()

	if r := m.eicctl("status", "--root", root); r.code != 1 {
		t.Errorf("status: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	r := m.eicctl("enable", "--root", root, "--program", "/opt/eic-authkeys")
	if r.code != 0 || !strings.Contains(r.stdout, "not the running system") {
		t.Fatalf("enable: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if got := m.read(root + "/etc/ssh.d/05-eic-agent.conf"); !strings.Contains(got, "AuthorizedKeysCommand /opt/eic-authkeys %u %f\n") {
		t.Errorf("the file has %q", got)
	}
	if r := m.eicctl("status", "--root", root); r.code != 0 || !strings.Contains(r.stdout, "/bin/linked (/etc/ssh/sshd_config.d/90-linked.conf line 2") {
		t.Errorf("status: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := m.eicctl("disable", "--root", root); r.code != 0 {
		t.Errorf("disable: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if after := list(); after != before {
		t.Errorf("in the image is\n%s, was\n%s", after, before)
	}
	m.same(running)
}

// enable again, after what it is to do has changed.
func TestEnableAnew(t *testing.T) {
	m := newMachine(t, "debian12")
	before := m.snapshot()
	m.enable(0)
	m.write(config, m.read(config)+"[chain]\ncommand = ['/bin/true %k']\n")
	m.enable(0)
	if got := m.read(dropIn); !strings.Contains(got, " %u %f %t %k\n") {
		t.Errorf("the file has %q", got)
	}
	m.status(0)
	m.disable(0)
	text := m.read(config)
	without, ok := strings.CutSuffix(text, "[chain]\ncommand = ['/bin/true %k']\n")
	if !ok {
		t.Fatalf("the configuration is %q", text)
	}
	m.rewrite(config, without)
	m.same(before)
}

// The label of SELinux stays with the file.
func TestLabel(t *testing.T) {
	const file, attribute, want = "/etc/ssh/sshd_config", "security.selinux", "system_u:object_r:etc_t:s0\x00"
	m := newMachine(t, "al2")
	if err := unix.Setxattr(file, attribute, []byte(want), 0); err != nil {
		t.Skipf("no label can be set here: %v", err)
	}
	label := func() string {
		buffer := make([]byte, 100)
		n, err := unix.Getxattr(file, attribute, buffer)
		m.must(err)
		return string(buffer[:n])
	}
	m.enable(0, "--migrate")
	if got := label(); got != want {
		t.Errorf("after enable the label is %q", got)
	}
	m.disable(0)
	if got := label(); got != want {
		t.Errorf("after disable the label is %q", got)
	}
}
