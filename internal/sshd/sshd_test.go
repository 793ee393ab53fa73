package sshd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/need"
)

// tree makes a root directory with files, by their paths. A text that starts with
// "-> " is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Version{
		"OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026":                       {9, 2},
		"unknown option -- V\nOpenSSH_7.4p1, OpenSSL 1.0.2k-fips  26 Jan 2017\nusage: sshd": {7, 4},
		"OpenSSH_10.0p2": {10, 0},
		"usage: sshd":    {},
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	for _, c := range []struct {
		v     Version
		known string
	}{{Version{7, 4}, "%uhtfk"}, {Version{7, 8}, "%uhtfkU"}, {Version{9, 3}, "%uhtfkU"}, {Version{9, 4}, "%uhtfkUCD"}, {Version{10, 0}, "%uhtfkUCD"}, {Version{}, ""}} {
		known := ""
		for _, letter := range "%uhtfkUCDxi" {
			if c.v.KnowsToken(byte(letter)) {
				known += string(letter)
			}
		}
		if known != c.known {
			t.Errorf("%v knows %q, want %q", c.v, known, c.known)
		}
	}
	if (Version{9, 0}).TakesExpiryUTC() || !(Version{9, 1}).TakesExpiryUTC() {
		t.Error("wrong versions for expiry-time")
	}
}

func TestSplitLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][2]string{
		"  AuthorizedKeysCommand /bin/x  %u \r\n": {KeywordCommand, "/bin/x  %u"},
		"AUTHORIZEDKEYSCOMMAND=/bin/x":            {KeywordCommand, "/bin/x"},
		"AuthorizedKeysCommand = /bin/x":          {KeywordCommand, "/bin/x"},
		"\"AuthorizedKeysCommand\"\t/bin/x":       {KeywordCommand, "/bin/x"},
		"UsePAM":                                  {"usepam", ""},
		" # AuthorizedKeysCommand /bin/x":         {"", ""},
		"\t\f\r\n":                                {"", ""},
	} {
		if k, v := SplitLine(line); k != want[0] || v != want[1] {
			t.Errorf("%q: %q, %q, want %q", line, k, v, want)
		}
	}
}

func TestReadConfig(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"/etc/ssh/sshd_config": "# comment\nInclude sshd_config.d/*.conf /none/*.conf\nPort 22\n" +
			"Match User bob # why\n\tAuthorizedKeysCommand /bin/bob\n\tInclude /etc/ssh/bob.conf\nMatch all\nAuthorizedKeysCommand /bin/all\n",
		"/etc/ssh/sshd_config.d/20-b.conf": "AuthorizedKeysCommand /bin/b\nAuthorizedKeysCommandUser b\n",
		"/etc/ssh/sshd_config.d/10-a.conf": "AuthorizedKeysCommand /bin/a\nMatch Group x\nAuthorizedKeysCommandUser x\n",
		"/etc/ssh/bob.conf":                "Match Address 10.0.0.0/8\nAuthorizedKeysCommandUser bob\n",
	})
	c, err := ReadConfig(root, DefaultConfig)
	if err != nil {
		t.Fatal(err)
	}
	wantFiles := []string{DefaultConfig, "/etc/ssh/sshd_config.d/10-a.conf", "/etc/ssh/sshd_config.d/20-b.conf", "/etc/ssh/bob.conf"}
	if !slices.Equal(c.Files, wantFiles) {
		t.Errorf("files %q, want %q", c.Files, wantFiles)
	}
	var places []string
	for _, s := range append(c.All(KeywordCommand), c.All(KeywordCommandUser)...) {
		places = append(places, s.Value+": "+s.Place())
	}
	want := []string{
		"/bin/a: /etc/ssh/sshd_config.d/10-a.conf line 1",
		"/bin/b: /etc/ssh/sshd_config.d/20-b.conf line 1",
		"/bin/bob: /etc/ssh/sshd_config line 5, in Match User bob",
		"/bin/all: /etc/ssh/sshd_config line 8, in Match all",
		"x: /etc/ssh/sshd_config.d/10-a.conf line 3, in Match Group x",
		"b: /etc/ssh/sshd_config.d/20-b.conf line 2",
		"bob: /etc/ssh/bob.conf line 2, in Match User bob, in Match Address 10.0.0.0/8",
	}
	if !slices.Equal(places, want) {
		t.Errorf("settings\n%q, want\n%q", places, want)
	}
	if len(c.Includes) != 3 || len(c.Includes[0].Files) != 2 || c.Includes[1].Files != nil || len(c.Overrides()) != 4 {
		t.Errorf("includes %+v, overrides %v", c.Includes, c.Overrides())
	}
	if s := c.Global(KeywordCommandUser); s.Value != "b" {
		t.Errorf("the user is %q", s.Value)
	}
}

// The files of each pattern are those that dash finds for it.
func TestIncludePatterns(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"/d/05.conf": "", "/d/10.conf": "", "/d/.x0.conf": "", "/d/20.conf": "", "/d/a-b/x": "", "/d/a/x": "", "/d/a/.y": "", "/d/[x": ""})
	for value, want := range map[string]string{
		"/d/[!0]*.conf":           "/d/10.conf /d/20.conf",
		"'/d/?0*.conf'":           "/d/10.conf /d/20.conf",
		"/d/[[:digit:]]5.conf":    "/d/05.conf",
		"/d/[![:lower:]]5.conf":   "/d/05.conf",
		"/d/[]0]*":                "/d/05.conf",
		"/d/.*.conf":              "/d/.x0.conf",
		"/d/a*/*":                 "/d/a-b/x /d/a/x",
		"/d/?/x":                  "/d/a/x",
		"/d//a/./x":               "/d/a/x",
		"/d/*/none":               "",
		"/none/*":                 "",
		"/d/05.conf /d/10.conf":   "/d/05.conf /d/10.conf",
		`/d/\05.conf /d/\[x`:      "/d/05.conf /d/[x",
		"/d/10.conf/* /d/1*.conf": "/d/10.conf",
	} {
		if err := os.WriteFile(filepath.Join(root, "config"), []byte("Include "+value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(root, "/config")
		if err != nil || !slices.Equal(c.Files[1:], strings.Fields(want)) {
			t.Errorf("%s: files %q, %v, want %q", value, c.Files, err, want)
		}
		shell := exec.Command(need.Program(t, "dash"), "-c", "cd $0 && for f in "+strings.Join(Words(" "+strings.ReplaceAll(value, "/d", "./d")), " ")+"; do [ -e $f ] && realpath --relative-to=. $f; done; :", root)
		shell.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
		out, err := shell.CombinedOutput()
		var found []string
		for _, f := range strings.Fields(string(out)) {
			found = append(found, "/"+f)
		}
		if err != nil || !slices.Equal(found, strings.Fields(want)) {
			t.Errorf("%s: dash finds %q, %v, not %q", value, out, err, want)
		}
	}
}

func TestReadConfigErrors(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"/loop":  "Include /loop\n",
		"/dir/x": "",
		"/to":    "Include /dir\n",
		"/huge":  strings.Repeat("#", maxConfig+1),
	})
	fifo := filepath.Join(root, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(fifo, os.O_RDWR, 0) // who writes nothing
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for _, path := range []string{"/loop", "/to", "/huge", "/none", "/fifo"} {
		if _, err := ReadConfig(root, path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

const awsDropIn = `[Service]
ExecStart=
ExecStart=/usr/sbin/sshd -D -o "AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %%u %%f" \
  -o "AuthorizedKeysCommandUser ec2-instance-connect" $SSHD_OPTS
`

func TestUnits(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"/lib/systemd/system/ssh.service":                             "[Unit]\nDescription=x\n[Service]\nEnvironmentFile=-/etc/default/ssh\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n",
		"/etc/systemd/system/sshd.service":                            "-> /lib/systemd/system/ssh.service",
		"/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf": awsDropIn,
		"/etc/systemd/system/sshd.service.d/zz.conf":                  "[Service]\nEnvironment=\"A=b c\"\n# ExecStart=/bin/false\n",
		"/etc/systemd/system/service.d/all.conf":                      "[Service]\n",
		"/usr/lib/systemd/system/ssh.service.d/all.conf":              "[Service]\nExecStart=/bin/false\n",
		"/etc/default/ssh":                                            "# comment\nSSHD_OPTS=\"-o Port=2222 -4\"\n",
		"/lib/systemd/system/ssh.socket":                              "[Socket]\nListenStream=22\n",
		"/lib/systemd/system/sshd.socket":                             "[Socket]\n",
		"/etc/systemd/system/sshd.socket":                             "-> /dev/null",
	})
	units := findUnits(root)
	if len(units) != 2 || units[0].Name != "ssh.service" || units[1].Name != "ssh.socket" || !units[1].IsSocket() {
		t.Fatalf("units %+v", units)
	}
	u := units[0]
	wantFiles := []string{"/lib/systemd/system/ssh.service", "/usr/lib/systemd/system/ssh.service.d/all.conf",
		"/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf", "/etc/systemd/system/sshd.service.d/zz.conf"}
	if !slices.Equal(u.Files, wantFiles) {
		t.Errorf("files %q, want %q", u.Files, wantFiles)
	}
	wantStart := []string{"/usr/sbin/sshd", "-D", "-o", "AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f",
		"-o", "AuthorizedKeysCommandUser ec2-instance-connect", "-o", "Port=2222", "-4"}
	if !slices.Equal(u.ExecStart, wantStart) || !slices.Equal(u.Aliases, []string{"sshd.service"}) {
		t.Errorf("ExecStart %q, aliases %q", u.ExecStart, u.Aliases)
	}
	options := u.Options()
	if len(options) != 3 || options[0].Place() != "/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf line 3 (-o of unit ssh.service)" || options[2].Value != "2222" {
		t.Errorf("options %+v", options)
	}
}

// A unit's command line is what systemd makes of the unit's environment.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ unit, file, want string }{
		"file over Environment":   {"EnvironmentFile=-/env\nEnvironment=O=-4\nExecStart=/usr/sbin/sshd -D $O\n", "O=-6\n", "/usr/sbin/sshd|-D|-6"},
		"quotes in the value":     {"EnvironmentFile=/env\nExecStart=/usr/sbin/sshd $O\n", "O=\"-o 'AuthorizedKeysCommand /x %%u' -oPort=1\"\n", "/usr/sbin/sshd|-o|AuthorizedKeysCommand /x %%u|-oPort=1"},
		"taken back":              {"EnvironmentFile=/env\nEnvironmentFile=\nEnvironment=O=-4\nEnvironment=\nExecStart=/usr/sbin/sshd -D $O\n", "O=-6\n", "/usr/sbin/sshd|-D"},
		"braces":                  {"Environment=\"O=a b\" P=1\nExecStart=/usr/sbin/sshd -o \"X ${O}\" -p${P} $$x ${N}y\n", "", "/usr/sbin/sshd|-o|X a b|-p1|$x|y"},
		"the last command":        {"ExecStart=/bin/false\nExecStart=\nExecStart=-/usr/sbin/sshd -D\n", "", "/usr/sbin/sshd|-D"},
		"a pattern":               {"EnvironmentFile=/e*v\nExecStart=/usr/sbin/sshd -D $O\n", "O=-6\n", "/usr/sbin/sshd|-D|-6"},
		"a value of two lines":    {"EnvironmentFile=/env\nExecStart=/usr/sbin/sshd $O\n", "O=\"-4\n-6\"\nexport O=-e\n", "/usr/sbin/sshd|-4|-6"},
		"no file":                 {"EnvironmentFile=-/none\nExecStart=/usr/sbin/sshd -D $O\n", "", "/usr/sbin/sshd|-D"},
		"a comment and an export": {"EnvironmentFile=/env\nExecStart=/usr/sbin/sshd $O\n", "# O=1\nO='-4 -e'\n", "/usr/sbin/sshd|-4|-e"},
	} {
		root := tree(t, map[string]string{"/usr/lib/systemd/system/ssh.service": "[Service]\n" + c.unit, "/env": c.file})
		if got := strings.Join(findUnits(root)[0].ExecStart, "|"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Sockets start a service of their name, another, or one for each connection.
func TestSockets(t *testing.T) {
	t.Parallel()
	const service = "[Service]\nExecStart=/usr/sbin/sshd -D\n"
	const each = "[Service]\nExecStart=-/usr/sbin/sshd -i -o \"AuthorizedKeysCommand /other %%u\" -o AuthorizedKeysCommandUser=nobody\n"
	root := tree(t, map[string]string{
		"/usr/sbin/sshd":                                        "#!/bin/sh\n",
		"/usr/lib/systemd/system/ssh.service":                   service,
		"/usr/lib/systemd/system/ssh.socket":                    "[Socket]\nListenStream=22\nAccept=no\n",
		"/usr/lib/systemd/system/ssh.socket.d/x.conf":           "[Socket]\nListenStream=\nListenStream=127.0.0.1:2222\n",
		"/usr/lib/systemd/system/sshd.socket":                   "[Socket]\nListenStream=22\nAccept=true\n",
		"/usr/lib/systemd/system/sshd@.service":                 each,
		"/etc/systemd/system/sockets.target.wants/sshd.socket":  "-> /usr/lib/systemd/system/sshd.socket",
		"/etc/systemd/system/multi-user.target.wants/x.service": "",
	})
	units := findUnits(root)
	if len(units) != 3 || units[1].Starts != "ssh.service" || units[1].Accept || !slices.Equal(units[1].Listen, []string{"127.0.0.1:2222"}) || units[2].Starts != "sshd@.service" || !units[2].Accept {
		t.Fatalf("%+v", units)
	}
	s, err := Find(t.Context(), root)
	if err != nil || s.Service().Name != "sshd@.service" || s.Socket().Name != "sshd.socket" || len(s.Options) != 2 || s.Options[0].Value != "/other %u" {
		t.Errorf("what is enabled counts: %+v, %v", s, err)
	}
	if err := os.Symlink("/usr/lib/systemd/system/ssh.service", root+"/etc/systemd/system/multi-user.target.wants/ssh.service"); err != nil {
		t.Fatal(err)
	}
	s, err = Find(t.Context(), root)
	if err != nil || s.Service().Name != "ssh.service" || len(s.Options) != 0 || len(s.Others) != 1 || s.Others[0].Service().Name != "sshd@.service" || len(s.Others[0].Options) != 2 {
		t.Errorf("both are enabled: %+v, %v", s, err)
	}
	for listen, want := range map[string]endpoint{"22": {anyServer, 22}, "127.0.0.1:2222": {"127.0.0.1", 2222}, "[::1]:22": {"::1", 22}, "vsock::22": {noAddress, noPort}, "/run/x": {noAddress, noPort}} {
		if got := s.socketEndpoint(listen); got != want {
			t.Errorf("%s: %+v", listen, got)
		}
	}
}

// Of a service that is not there yet, or masked, the drop-ins are known.
func TestUnitsWithoutService(t *testing.T) {
	t.Parallel()
	const path = "/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf"
	for name, files := range map[string]map[string]string{
		"not there": {path: awsDropIn},
		"masked":    {path: awsDropIn, "/lib/systemd/system/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd -D\n", "/etc/systemd/system/ssh.service": "-> /dev/null"},
	} {
		units := findUnits(tree(t, files))
		if len(units) != 1 || len(units[0].Options()) != 2 || units[0].Options()[0].File != path {
			t.Errorf("%s: units %+v", name, units)
		}
	}
	// Those of a service that is not used do not count beside one that is.
	units := findUnits(tree(t, map[string]string{path: awsDropIn, "/usr/lib/systemd/system/sshd.service": "[Service]\nExecStart=/usr/sbin/sshd -D\n"}))
	if len(units) != 1 || units[0].Name != "sshd.service" || len(units[0].Options()) != 0 {
		t.Errorf("units %+v", units)
	}
}

// Links that go round in a circle make no unit.
func TestUnitsInACircle(t *testing.T) {
	t.Parallel()
	units := findUnits(tree(t, map[string]string{
		"/etc/systemd/system/ssh.service":  "-> sshd.service",
		"/etc/systemd/system/sshd.service": "-> ssh.service",
	}))
	if len(units) != 0 {
		t.Errorf("units %+v", units)
	}
}

func TestExact(t *testing.T) {
	t.Parallel()
	unit := []Setting{{Keyword: KeywordCommand, Value: `/usr/bin/x "a  b" %u`, File: "/unit", Line: 7}}
	if got := exact(Setting{Keyword: KeywordCommand, Value: "/usr/bin/x a b %u", Option: "process 1"}, unit); got.Line != 7 {
		t.Errorf("%+v is not taken for the unit's", got)
	}
	if got := exact(Setting{Keyword: KeywordCommand, Value: "/usr/bin/y", Option: "process 1"}, unit); got.Line != 0 {
		t.Errorf("%+v is taken for the unit's", got)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"/opt/keys":   "#!/bin/sh\ncurl -s http://169.254.169.254/latest/meta-data/managed-ssh-keys/active-keys/$1/\n",
		"/opt/proved": "#!/bin/sh\ncurl -s http://example.com/$1 | openssl dgst -verify /etc/key.pem\n",
		"/opt/binary": "\x7fELF curl",
	})
	s := &Server{Root: root}
	for command, want := range map[string]Owner{
		"":                            OwnerNone,
		"none":                        OwnerNone,
		"/usr/bin/eic-authkeys %u %f": OwnerAgent,
		"/run/host/bin/eic-authkeys --config /x %u":                     OwnerAgent,
		"/usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f": OwnerAWS,
		"/opt/aws/bin/eic_run_authorized_keys %u %f":                    OwnerAWS,
		"/usr/bin/userdbctl ssh-authorized-keys %u":                     OwnerUserdb,
		"/usr/bin/sss_ssh_authorizedkeys":                               OwnerSSSD,
		"/usr/bin/google_authorized_keys":                               OwnerOSLogin,
		"/usr/local/bin/opkssh verify %u %k %t":                         OwnerOpkssh,
		"/opt/keys %u":                                                  OwnerScript,
		"/usr/bin/curl -s http://169.254.169.254/x/%u":                  OwnerScript,
		"/opt/proved %u":                                                OwnerOther,
		"/opt/binary %u":                                                OwnerOther,
		"/opt/none %u":                                                  OwnerOther,
		`/opt/"`:                                                        OwnerOther,
	} {
		if got := s.OwnerOf(command); got != want {
			t.Errorf("%q belongs to %s, want %s", command, got, want)
		}
		if want.Describe() == "" {
			t.Errorf("%s has no description", want)
		}
	}
}

func TestUnknownTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v       Version
		command string
		want    []string
	}{
		{Version{7, 4}, "/x %u %U %C %%C", []string{"%U", "%C"}},
		{Version{9, 4}, "/x %u %U %C %D", nil},
		{Version{9, 4}, "/x %i", []string{"%i"}},
		{Version{}, "/x %C %i", []string{"%i"}},
	} {
		got, err := (&Server{Version: c.v}).UnknownTokens(c.command)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v, %q: %q, %v, want %q", c.v, c.command, got, err, c.want)
		}
	}
	if _, err := (&Server{}).UnknownTokens("/x %"); err == nil {
		t.Error("a percent sign at the end is no error")
	}
}

func TestNotInstalled(t *testing.T) {
	t.Parallel()
	if _, err := Find(t.Context(), t.TempDir()); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("%v", err)
	}
}
