// Package selinux holds the policy module of the agent; here it is loaded into a copy
// of Debian's policy, and what the result permits is looked at.
package selinux

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

const module = "eic_agent.cil"

// A policy is Debian's with the module in it.
type policy struct {
	contexts string
	said     string // by semodule
	rules    []rule
	// attributes has for each type those that it is in.
	attributes map[string][]string
	booleans   string // what seinfo says of the agent's
}

// withModule installs the module, and what else is named, in a store of its own.
func withModule(modules ...string) (policy, error) {
	// In memory where that can be: it is read and written as a whole several times.
	root, err := os.MkdirTemp("/dev/shm", "eic-selinux-")
	if err != nil {
		root, err = os.MkdirTemp("", "eic-selinux-")
	}
	if err != nil {
		return policy{}, err
	}
	roots.Lock()
	roots.made = append(roots.made, root)
	roots.Unlock()
	for _, dir := range []string{"etc/selinux/default", "var/lib/selinux/default"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, dir)), 0o755); err != nil {
			return policy{}, err
		}
		if out, err := exec.Command("cp", "-a", "/"+dir, filepath.Join(root, dir)).CombinedOutput(); err != nil {
			return policy{}, fmt.Errorf("%v: %s", err, out)
		}
	}
	if text, err := os.ReadFile("/etc/selinux/semanage.conf"); err == nil {
		if err := os.WriteFile(filepath.Join(root, "etc/selinux/semanage.conf"), text, 0o644); err != nil {
			return policy{}, err
		}
	}
	args := []string{"-n", "-p", root, "-s", "default", "-X", "200"}
	for _, m := range append([]string{module}, modules...) {
		args = append(args, "-i", m)
	}
	out, err := exec.Command("semodule", args...).CombinedOutput()
	if err != nil {
		return policy{}, fmt.Errorf("semodule: %v: %s", err, out)
	}
	binaries, err := filepath.Glob(filepath.Join(root, "etc/selinux/default/policy/policy.*"))
	if err != nil || len(binaries) != 1 {
		return policy{}, fmt.Errorf("the policy is in %q, %v", binaries, err)
	}
	p := policy{contexts: filepath.Join(root, "etc/selinux/default/contexts/files/file_contexts"), said: string(out)}
	return p, p.read(binaries[0])
}

// read reads the whole policy at once: each call of setools takes seconds, whatever it
// is asked.
func (p *policy) read(binary string) error {
	rules, err := exec.Command("sesearch", binary, "-A", "-T").Output()
	if err != nil {
		return fmt.Errorf("sesearch: %v", err)
	}
	for line := range strings.Lines(string(rules)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		r, ok := parseRule(line)
		if !ok {
			return fmt.Errorf("sesearch says %q", line)
		}
		p.rules = append(p.rules, r)
	}
	attributes, err := exec.Command("seinfo", binary, "-a", "-x").Output()
	if err != nil {
		return fmt.Errorf("seinfo: %v", err)
	}
	p.attributes = map[string][]string{}
	attribute := ""
	for line := range strings.Lines(string(attributes)) {
		switch words := strings.Fields(line); {
		case len(words) == 2 && words[0] == "attribute":
			attribute = strings.TrimSuffix(words[1], ";")
		case len(words) == 1 && attribute != "":
			p.attributes[words[0]] = append(p.attributes[words[0]], attribute)
		}
	}
	booleans, err := exec.Command("seinfo", binary, "-b", "eic_authkeys_chain", "-x").Output()
	p.booleans = string(booleans)
	return err
}

// roots are the stores to be removed at the end.
var roots struct {
	sync.Mutex
	made []string
}

var debian = sync.OnceValues(func() (policy, error) { return withModule() })

func TestMain(m *testing.M) {
	code := m.Run()
	for _, root := range roots.made {
		os.RemoveAll(root)
	}
	os.Exit(code)
}

// require is for tests that take Debian's policy and the tools for it.
func require(t *testing.T) {
	t.Helper()
	need.Root(t) // a policy store belongs to it
	for _, program := range []string{"semodule", "sesearch", "seinfo", "matchpathcon"} {
		need.Program(t, program)
	}
	if _, err := os.Stat("/var/lib/selinux/default/active/modules"); err != nil {
		need.Missing(t, "needs Debian's package selinux-policy-default: %v", err)
	}
}

func load(t *testing.T) policy {
	t.Helper()
	require(t)
	p, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A rule is one of sesearch's lines.
type rule struct {
	text           string
	source, target string
	class          string
	permissions    []string
	condition      string // on a boolean, "" where it always holds
}

// parseRule reads one of sesearch's lines, which are of the kinds
//
//	allow source target:class permission;
//	allow source target:class { permission permission }; [ boolean ]:True
//	type_transition source target:class type; and, with a name of a file, type name;
func parseRule(line string) (r rule, ok bool) {
	statement, condition, _ := strings.Cut(line, "; [ ")
	words := strings.Fields(strings.Trim(statement, ";"))
	if len(words) < 4 {
		return rule{}, false
	}
	target, class, ok := strings.Cut(words[2], ":")
	r = rule{text: line, source: words[1], target: target, class: class, condition: condition}
	for _, w := range words[3:] {
		if w != "{" && w != "}" {
			r.permissions = append(r.permissions, w)
		}
	}
	return r, ok
}

// is reports whether a rule for name is one for the type as well.
func (p policy) is(typ, name string) bool {
	return name == typ || slices.Contains(p.attributes[typ], name)
}

// between returns the rules of processes of type source for target, each of which may be
// named by an attribute.
func (p policy) between(t *testing.T, source, target string) []rule {
	t.Helper()
	var rules []rule
	for _, r := range p.from(t, source) {
		if p.is(target, r.target) {
			rules = append(rules, r)
		}
	}
	return rules
}

// from returns the rules of processes of type source.
func (p policy) from(t *testing.T, source string) []rule {
	t.Helper()
	var rules []rule
	for _, r := range p.rules {
		if p.is(source, r.source) {
			rules = append(rules, r)
		}
	}
	if len(rules) == 0 {
		t.Fatalf("the policy says nothing of %s", source)
	}
	return rules
}

// find returns the rules of any of the classes that give any of the permissions;
// without permissions, all of the classes.
func find(rules []rule, classes, permissions string) []rule {
	var found []rule
	for _, r := range rules {
		if slices.Contains(strings.Split(classes, ","), r.class) && (permissions == "" ||
			slices.ContainsFunc(strings.Split(permissions, ","), func(p string) bool { return slices.Contains(r.permissions, p) })) {
			found = append(found, r)
		}
	}
	return found
}

// targets returns the types, or attributes, of the rules, without those of every
// domain: what all may, these may as well.
func targets(rules []rule) []string {
	var names []string
	for _, r := range rules {
		if r.source != "domain" && !slices.Contains(names, r.target) {
			names = append(names, r.target)
		}
	}
	slices.Sort(names)
	return names
}

// Nothing that a policy lacks may make a noise when a package is installed.
func TestLoadsQuietly(t *testing.T) {
	t.Parallel()
	p := load(t)
	for line := range strings.Lines(p.said) {
		if strings.Contains(line, "eic") || strings.Contains(line, "resolve") {
			t.Errorf("semodule says %q", line)
		}
	}
}

func TestTransitions(t *testing.T) {
	t.Parallel()
	p := load(t)
	checkTransition(t, p, "sshd_t", "eic_authkeys_exec_t", "eic_authkeys_t")
	checkTransition(t, p, "init_t", "eic_serial_getty_exec_t", "eic_serial_getty_t")
	checkTransition(t, p, "eic_serial_getty_t", "getty_exec_t", "getty_t")
}

// What runs on the port after the gate has it open from the gate: where that may not be
// used, the kernel puts /dev/null in its place.
func TestPortIsHandedOn(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, domain := range []string{"getty_t", "local_login_t", "user_t", "unconfined_t"} {
		if len(find(p.between(t, domain, "eic_serial_getty_t"), "fd", "use")) == 0 {
			t.Errorf("%s may not use the port that eic-serial-getty opened", domain)
		}
	}
}

// A hangup leaves the port with the label of a user's, and systemd has to take it all the
// same before it runs the gate again.
func TestPortAfterHangup(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, permission := range []string{"open", "read", "write", "watch", "watch_reads"} {
		if len(find(p.between(t, "init_t", "user_tty_device_t"), "chr_file", permission)) == 0 {
			t.Errorf("systemd has no %s of a port that was hung up", permission)
		}
	}
}

// checkTransition checks that a process of domain from that runs the file gets the
// domain to, and that nothing of what this takes is missing.
func checkTransition(t *testing.T, p policy, from, file, to string) {
	t.Helper()
	rules := p.between(t, from, file)
	if !slices.ContainsFunc(rules, func(r rule) bool {
		return r.text == fmt.Sprintf("type_transition %s %s:process %s;", from, file, to)
	}) {
		t.Errorf("%s running %s does not become %s", from, file, to)
	}
	if len(find(rules, "file", "execute")) == 0 {
		t.Errorf("%s may not run %s", from, file)
	}
	if len(find(p.between(t, to, file), "file", "entrypoint")) == 0 {
		t.Errorf("%s may not be entered through %s", to, file)
	}
	if len(find(p.between(t, from, to), "process", "transition")) == 0 {
		t.Errorf("%s may not become %s", from, to)
	}
}

// Where sshd-session has a domain of its own the agent is started from there.
func TestSSHDSession(t *testing.T) {
	t.Parallel()
	require(t)
	const text = "(type sshd_session_t)\n(roletype system_r sshd_session_t)\n(typeattributeset domain (sshd_session_t))\n"
	session := filepath.Join(t.TempDir(), "sshd_session.cil")
	if err := os.WriteFile(session, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := withModule(session)
	if err != nil {
		t.Fatal(err)
	}
	checkTransition(t, p, "sshd_session_t", "eic_authkeys_exec_t", "eic_authkeys_t")
	if len(find(p.between(t, "eic_authkeys_t", "sshd_session_t"), "fifo_file", "write")) == 0 {
		t.Error("it cannot answer sshd-session")
	}
}

// What both may reach, in full. A name that comes in here has to be meant, and written
// down in docs/selinux.md.
func TestReach(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, test := range []struct {
		what, classes, permissions string
		authkeys, getty            []string
	}{
		{"connect", "tcp_socket", "name_connect", []string{"http_port_t"}, []string{"http_port_t"}},
		{"bind", "tcp_socket,unix_dgram_socket", "bind,name_bind,node_bind,listen", nil, nil},
		{"other sockets", "udp_socket,rawip_socket,netlink_route_socket,packet_socket", "create", nil, nil},
		{"connect locally", "unix_stream_socket", "connectto", nil, nil},
		{"send", "unix_dgram_socket", "sendto", []string{"init_t", "kernel_t", "syslogd_t"}, []string{"init_t", "kernel_t", "syslogd_t"}},
		{"read files", "file", "read",
			[]string{"bin_t", "cert_t", "cgroup_t", "eic_authkeys_exec_t", "eic_authkeys_var_run_t", "etc_t", "locale_t", "proc_t", "sysfs_t", "syslogd_t"},
			[]string{"cert_t", "cgroup_t", "domain", "eic_serial_getty_exec_t", "eic_serial_getty_var_run_t", "etc_t", "getty_exec_t", "locale_t", "proc_t", "sysfs_t", "syslogd_t"}},
		{"write files", "file", "write,append,create,unlink,setattr,rename", []string{"eic_authkeys_var_run_t"}, []string{"eic_serial_getty_var_run_t"}},
		{"change directories", "dir", "write,add_name,remove_name,create,rmdir", []string{"eic_authkeys_var_run_t"}, []string{"eic_serial_getty_var_run_t", "var_run_t"}},
		{"devices", "chr_file,blk_file", "read,write", nil, []string{"tty_device_t", "ttynode"}},
		{"owners of devices", "chr_file,blk_file", "setattr", nil, []string{"tty_device_t", "ttynode"}},
		{"run in place", "file", "execute_no_trans", []string{"bin_t", "eic_authkeys_exec_t"}, []string{"eic_serial_getty_exec_t"}},
		{"other domains", "process", "transition,dyntransition", nil, []string{"getty_t"}},
		{"signal", "process", "signal,sigkill", []string{"eic_authkeys_t"}, []string{"eic_serial_getty_t", "eic_serial_getty_watched"}},
		{"trace", "process", "ptrace,execmem,execheap,setcurrent,setexec", nil, nil},
		{"processes of others", "process", "getattr,setsched,setrlimit,noatsecure", nil, nil},
		{"capabilities", "capability,capability2,cap_userns", "", nil, []string{"eic_serial_getty_t"}},
		{"read keys", "key", "read", []string{"eic_authkeys_caller", "eic_authkeys_t", "unconfined_t"}, nil},
	} {
		for source, want := range map[string][]string{"eic_authkeys_t": test.authkeys, "eic_serial_getty_t": test.getty} {
			got := targets(find(p.from(t, source), test.classes, test.permissions))
			if test.classes == "file" || test.classes == "dir" {
				// Its own /proc, which each version of the base policy gives in another way.
				got = slices.DeleteFunc(got, func(target string) bool { return target == source })
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %q, want %q", source, test.what, got, want)
			}
		}
	}
	if got := find(p.from(t, "eic_serial_getty_t"), "capability", ""); len(got) != 1 || !slices.Equal(got[0].permissions, []string{"chown", "dac_override", "sys_admin"}) {
		t.Errorf("the capabilities of the gate are %v", got)
	}
}

// What neither of them has any business with; the rights of every domain count here.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, source := range []string{"eic_authkeys_t", "eic_serial_getty_t"} {
		for _, target := range []string{"shadow_t", "sshd_key_t", "user_home_t", "ssh_home_t", "shell_exec_t"} {
			if len(p.attributes[target]) == 0 {
				t.Errorf("the policy has no %s", target)
			}
			for _, r := range find(p.between(t, source, target), "file", "open,read,write,execute") {
				t.Errorf("%s and %s: %s", source, target, r.text)
			}
		}
	}
	for _, r := range p.from(t, "eic_serial_getty_t") {
		if r.target == "eic_authkeys_var_run_t" {
			t.Errorf("the gate, which is root, may touch the cache of another account: %s", r.text)
		}
	}
}

// Other commands run only where the administrator says so.
func TestChainIsOff(t *testing.T) {
	t.Parallel()
	p := load(t)
	// What internal/chain does with a command: start it by a keeper with a process group of
	// its own, which kills it.
	for _, r := range []struct{ target, class, permission string }{
		{"bin_t", "file", "execute_no_trans"}, {"eic_authkeys_exec_t", "file", "execute_no_trans"}, {"eic_authkeys_t", "process", "setpgid"}, {"eic_authkeys_t", "process", "sigkill"},
		{"locale_t", "file", "map"}, {"locale_t", "dir", "read"},
	} {
		rules := find(p.between(t, "eic_authkeys_t", r.target), r.class, r.permission)
		if len(rules) == 0 {
			t.Errorf("the boolean does not allow %s of %s", r.permission, r.target)
		}
		for _, r := range rules {
			if r.condition != "eic_authkeys_chain ]:True" {
				t.Errorf("without the boolean: %s", r.text)
			}
		}
	}
	if !strings.Contains(p.booleans, "bool eic_authkeys_chain false;") {
		t.Error(p.booleans)
	}
}

// systemd-tmpfiles has to make both directories, with their labels.
func TestTmpfiles(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, dir := range []string{"eic_authkeys_var_run_t", "eic_serial_getty_var_run_t"} {
		rules := p.between(t, "systemd_tmpfiles_t", dir)
		for _, permission := range []string{"create", "setattr", "relabelto", "relabelfrom"} {
			if !slices.ContainsFunc(find(rules, "dir", permission), func(r rule) bool { return r.condition == "" }) {
				t.Errorf("nothing always allows %s of %s", permission, dir)
			}
		}
	}
}

// The paths that the programs and the packages use, and others beside them.
func TestFileContexts(t *testing.T) {
	t.Parallel()
	p := load(t)
	for path, want := range map[string]string{
		"/usr/bin/eic-authkeys":      "eic_authkeys_exec_t",
		"/usr/sbin/eic-authkeys":     "eic_authkeys_exec_t",
		"/usr/bin/eic-serial-getty":  "eic_serial_getty_exec_t",
		"/usr/sbin/eic-serial-getty": "eic_serial_getty_exec_t", // not getty_exec_t
		"/run/eic-agent":             "eic_authkeys_var_run_t",
		"/var/run/eic-agent":         "eic_authkeys_var_run_t",
		"/run/eic-agent/token":       "eic_authkeys_var_run_t",
		"/run/eic-serial-getty":      "eic_serial_getty_var_run_t",
		"/run/eic-serial-getty/1-ab": "eic_serial_getty_var_run_t",
		"/usr/bin/eicctl":            "bin_t",
		"/usr/bin/eic-authkeys.dpkg": "bin_t",
		"/etc/eic-agent/config.toml": "etc_t",
		"/sbin/agetty":               "getty_exec_t",
	} {
		out, err := exec.Command("matchpathcon", "-n", "-f", p.contexts, path).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", path, err, out)
		}
		if got := strings.TrimSpace(string(out)); got != "system_u:object_r:"+want+":s0" {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}
