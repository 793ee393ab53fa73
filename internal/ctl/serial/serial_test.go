package serial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/eic-agent/eic-agent/internal/ctl/settings"
	"github.com/eic-agent/eic-agent/test/need"
)

// The lines of the unit in several distributions.
const (
	debian12 = `-/sbin/agetty -o '-p -- \\u' --keep-baud 115200,57600,38400,9600 - $TERM`
	debian13 = `-/sbin/agetty -o '-- \\u' --noreset --noclear --keep-baud 115200,57600,38400,9600 - ${TERM}`
	amazon2  = `-/sbin/agetty --keep-baud 115200,38400,9600 %I $TERM`
)

// An image is a root file system with the unit and the gate.
type image struct {
	t *testing.T
	*System
	calls []string // of systemctl
}

func newImage(t *testing.T, command string) *image {
	t.Helper()
	need.Root(t) // the configuration has to belong to it
	i := &image{t: t, System: &System{Root: t.TempDir()}}
	i.write("usr/lib/systemd/system/serial-getty@.service", "[Unit]\nDescription=x\n[Service]\nExecStart="+command+"\nType=idle\n")
	i.write("usr/bin/eic-serial-getty", "")
	return i
}

func (i *image) write(name, text string) {
	i.t.Helper()
	path := i.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		i.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		i.t.Fatal(err)
	}
}

func (i *image) text(name string) string {
	i.t.Helper()
	text, err := os.ReadFile(i.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		i.t.Fatal(err)
	}
	return string(text)
}

// boot makes the image one on which systemd runs, with that program on the port.
func (i *image) boot(program string) {
	i.write("run/systemd/system/x", "")
	i.write("sys/devices/virtual/dmi/id/board_asset_tag", "i-0123456789abcdef0\n")
	i.write("proc/77/comm", program+"\n")
	loaded := i.show()
	i.Systemctl = func(_ context.Context, args ...string) (string, error) {
		switch args[0] {
		case "show":
			return loaded, nil
		case "daemon-reload":
			loaded = i.show()
		case "restart":
			next := "agetty"
			if strings.Contains(loaded, "path=/usr/bin/eic-serial-getty") {
				next = "eic-serial-gett"
			}
			i.write("proc/77/comm", next+"\n")
		}
		i.calls = append(i.calls, strings.Join(args, " "))
		return "", nil
	}
}

// show is what systemd says of the unit as the files are. That it reads those that package
// unitfile finds is tested there.
func (i *image) show() string {
	files, err := i.unitFiles()
	if err != nil {
		return "LoadState=masked\nMainPID=0\n"
	}
	e, err := i.read(files)
	if err != nil {
		i.t.Fatal(err)
	}
	out := "LoadState=loaded\nMainPID=77\nNeedDaemonReload=no\nFragmentPath=" + files[0] + "\nDropInPaths=" + strings.Join(files[1:], " ") + "\n"
	for _, line := range e.exec {
		argv := strings.ReplaceAll(strings.TrimPrefix(line.Value, "-"), "%I", "ttyS0")
		program, _, _ := strings.Cut(argv, " ")
		out += "ExecStart={ path=" + program + " ; argv[]=" + argv + " ; ignore_errors=yes ; start_time=[n/a] ; pid=0 }\n"
	}
	return out
}

func (i *image) enable(choice string, now bool) (Report, error) {
	return i.Enable(i.t.Context(), choice, now)
}

// The drop-in keeps the distribution's command, whatever it is.
func TestEnable(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{"Debian 12": debian12, "Debian 13": debian13, "Amazon Linux 2": amazon2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage(t, command)
			r, err := i.enable("lock", false)
			if err != nil || !r.Enabled || len(r.Problems) > 0 {
				t.Fatalf("got %+v, %v", r, err)
			}
			want := "\nExecStart=\nExecStart=-/usr/bin/eic-serial-getty %I -- " + strings.TrimPrefix(command, "-") + "\n"
			if text := i.text(dropInDir + "/" + dropInName); !strings.Contains(text, want) {
				t.Errorf("the drop-in is\n%s", text)
			}
			if r, err := i.enable("", false); err != nil || len(r.Done) != 0 {
				t.Errorf("again: %+v, %v", r, err)
			}
			r, err = i.Disable(t.Context(), false)
			if err != nil || r.Enabled || len(r.Done) != 3 {
				t.Errorf("disable: %+v, %v", r, err)
			}
			if _, err := os.Stat(i.path(dropInDir)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the directory is still there: %v", err)
			}
			if r, err := i.Disable(t.Context(), false); err != nil || len(r.Done) != 0 {
				t.Errorf("disable again: %+v, %v", r, err)
			}
		})
	}
}

// The file that is shipped is what Enable writes on Debian 12.
func TestShippedDropIn(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile("../../../systemd/" + Unit + ".d/" + dropInName)
	if err != nil {
		t.Fatal(err)
	}
	if string(shipped) != dropInText(debian12) {
		t.Errorf("it is\n%s\nwant\n%s", shipped, dropInText(debian12))
	}
}

func TestRefusedCommands(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"-/sbin/agetty --autologin root - $TERM":            "--autologin",
		"-/sbin/agetty -a root - $TERM":                     "--autologin",
		"-/sbin/agetty -n -l /bin/sh - $TERM":               "--skip-login",
		"-/sbin/agetty -o '-f root' - $TERM":                "no option but -p",
		"-/sbin/mingetty ttyS0":                             "must be agetty",
		"@/sbin/agetty x - $TERM":                           "must be agetty",
		"-/sbin/agetty \"- $TERM":                           "quote",
		"-/sbin/agetty \\x2da root - $TERM":                 "escape",
		"-/sbin/agetty - $TERM\nExecStart=/sbin/agetty - x": "2 commands",
	} {
		i := newImage(t, command)
		r, err := i.enable("lock", false)
		var refusal *Refusal
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), want) || r.Enabled || len(r.Problems) == 0 {
			t.Errorf("%s: %+v, %v", command, r, err)
		}
		if i.text(settingsPath) != "" {
			t.Errorf("%s: the configuration was written", command)
		}
	}
}

// Without systemd there is no unit to change, and that is what it says.
func TestNoSystemd(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	for _, dir := range []string{"usr/lib/systemd", "lib/systemd"} {
		if err := os.RemoveAll(i.path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	var refusal *Refusal
	if _, err := i.enable("lock", false); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "this system does not use systemd") {
		t.Errorf("got %v", err)
	}
	i.write("usr/lib/systemd/systemd", "")
	if _, err := i.enable("lock", false); err == nil || strings.Contains(err.Error(), "not use systemd") {
		t.Errorf("with systemd: %v", err)
	}
}

// Other drop-ins count, by name.
func TestOtherDropIns(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	i.write("usr/lib/systemd/system/serial-getty@.service.d/60-b.conf", "[Service]\nExecStart=\nExecStart=-/sbin/agetty --noclear %I\n")
	i.write("usr/lib/systemd/system/serial-getty@.service.d/50-a.conf", "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin x \\\n  %I\n")
	i.write("etc/systemd/system/serial-getty@.service.d/50-a.conf", "")
	if r, err := i.enable("lock", false); err != nil || r.Getty != "/sbin/agetty --noclear %I" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// No link of an image leads out of it, to what is read or to what is written.
func TestLinksStayInRoot(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	const other = "-/sbin/agetty --noclear %I"
	link := func(i *image, name, target string) {
		t.Helper()
		path := i.path(filepath.Dir(name)) + "/" + filepath.Base(name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.RemoveAll(path), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"serial-getty@.service": "[Service]\nExecStart=" + amazon2 + "\n", "d/60.conf": "[Service]\nExecStart=/bin/sh\n", "etc/x": "", "config.toml": "[serial]\nwhen_unreachable = \"open\"\n"} {
		path := filepath.Join(outside, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	i := newImage(t, debian12)
	i.write("usr/lib/systemd/systemd", "")
	link(i, "usr/lib/systemd/system/serial-getty@.service", outside+"/serial-getty@.service")
	if r, err := i.enable("lock", false); err == nil || !strings.Contains(err.Error(), "there is no unit") {
		t.Errorf("with the host's unit: %+v, %v", r, err)
	}
	i.write(outside+"/serial-getty@.service", "[Service]\nExecStart="+other+"\n")
	link(i, "run/systemd/system/serial-getty@.service.d", outside+"/d")
	link(i, "usr/lib/systemd/system/serial-getty@.service.d/70.conf", outside+"/d/60.conf")
	link(i, "etc/eic-agent/config.toml", outside+"/config.toml")
	if r, err := i.enable("lock", false); err == nil || i.text(dropInPath) != "" {
		t.Errorf("with the host's configuration: %+v, %v", r, err)
	}
	i.write(outside+"/config.toml", "")
	link(i, "etc/systemd/system", outside+"/etc")
	r, err := i.enable("lock", false)
	if err != nil || r.Getty != other[1:] || r.WhenUnreachable != "lock" || i.text(outside+"/config.toml") != "" || i.text(outside+"/etc/"+Unit+".d/"+dropInName) == "" {
		t.Errorf("got %+v, %v", r, err)
	}
	if list, err := filepath.Glob(outside + "/etc/*"); err != nil || len(list) != 1 {
		t.Errorf("outside there are now %q, %v", list, err)
	}
	if r, err := i.Disable(t.Context(), false); err != nil || r.Enabled || len(r.Done) != 3 {
		t.Errorf("disable: %+v, %v", r, err)
	}
	i.write("etc/eic-agent/config.d/site.toml", "[serial]\nwhen_unreachable = \"lock\"\n")
	// The drop-in itself may be a link: that goes, not what it leads to.
	link(i, dropInPath, "/opt/mine")
	i.write("/opt/mine", "mine")
	if r, err := i.enable("", false); err != nil || i.text("/opt/mine") != "mine" {
		t.Errorf("over a link: %+v, %v", r, err)
	}
	if err := os.WriteFile(outside+"/drop-in.conf", []byte(dropInText(other)), 0o644); err != nil {
		t.Fatal(err)
	}
	link(i, dropInPath, outside+"/drop-in.conf")
	if r := i.Status(t.Context()); r.Enabled {
		t.Errorf("with the host's drop-in: %+v", r)
	}
	if r, err := i.enable("", false); err != nil || !r.Enabled || len(r.Done) != 1 {
		t.Errorf("over the host's drop-in: %+v, %v", r, err)
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{Unit, template} {
		i := newImage(t, debian12)
		path := i.path("/etc/systemd/system/" + name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink("/dev/null", path)); err != nil {
			t.Fatal(err)
		}
		if r, err := i.enable("lock", false); err == nil || err.Error() != Unit+" is masked" || r.Enabled {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// The choice is in a file of its own: config.toml stays as it is, byte for byte.
func TestChoice(t *testing.T) {
	t.Parallel()
	const toml = "etc/eic-agent/config.toml"
	chosen := string(settings.Text("serial", "[serial]\nwhen_unreachable = \"open\"\n"))
	for _, before := range []string{
		"", "# mine\n", "[keys]\nexpiry_time = true", "[serial] # console\nport = 0\n", "serial.port = 0\n", "serial = {port = 0}\n", shipped,
	} {
		i := newImage(t, debian12)
		if before != "" {
			i.write(toml, before)
		}
		r, err := i.enable("open", false)
		if err != nil || r.WhenUnreachable != "open" || i.text(settingsPath) != chosen {
			t.Errorf("%q: %+v, %v; %q", before, r, err, i.text(settingsPath))
		}
		// The file of its own may be chosen again.
		if r, err := i.enable("lock", false); err != nil || r.WhenUnreachable != "lock" || len(r.Done) != 1 {
			t.Errorf("%q, the other way: %+v, %v", before, r, err)
		}
		if got := i.text(toml); got != before {
			t.Errorf("%q became %q", before, got)
		}
		if r, err := i.Disable(t.Context(), false); err != nil || r.WhenUnreachable != "" {
			t.Errorf("%q: disable: %+v, %v", before, r, err)
		}
		if got := i.text(toml); got != before {
			t.Errorf("%q became %q", before, got)
		}
		if st, err := os.Stat(i.path("etc/eic-agent")); (err == nil) != (before != "") {
			t.Errorf("%q: the directory is %v, %v", before, st, err)
		}
		if st, err := os.Stat(i.path("etc/eic-agent/config.d")); err == nil {
			t.Errorf("%q: config.d is left: %v", before, st)
		}
	}
	// What somebody else has set counts, and is not changed.
	for before, path := range map[string]string{
		"[serial]\nwhen_unreachable = \"lock\"\n# mine\n": toml,
		"[serial]\nwhen_unreachable = \"\"\n":             toml,
		"keys = 1\n":                                      toml,
		"serial.when_unreachable = \"lock\"\n":            "etc/eic-agent/config.d/50-site.toml",
	} {
		i := newImage(t, debian12)
		i.write(path, before)
		var refusal *Refusal
		if r, err := i.enable("open", false); !errors.As(err, &refusal) || refusal.Hint == "" || r.Enabled || !strings.Contains(err.Error(), "/"+path) {
			t.Errorf("%q: %+v, %v", before, r, err)
		}
		if i.text(path) != before || i.text(settingsPath) != "" {
			t.Errorf("%q became %q, beside %q", before, i.text(path), i.text(settingsPath))
		}
		if !strings.Contains(before, "lock") {
			continue
		}
		if r, err := i.enable("lock", false); err != nil || !r.Enabled || i.text(settingsPath) != "" {
			t.Errorf("%q, agreed: %+v, %v", before, r, err)
		}
	}
	i := newImage(t, debian12)
	if r, err := i.enable("", false); !errors.Is(err, ErrChoice) || r.Enabled || i.text(settingsPath) != "" {
		t.Errorf("without a choice: %+v, %v", r, err)
	}
}

// An earlier version wrote the choice to config.toml.
func TestChoiceOfEarlierVersion(t *testing.T) {
	t.Parallel()
	const toml = "etc/eic-agent/config.toml"
	text, err := os.ReadFile("../../../packaging/config.toml")
	if err != nil || string(text) != shipped {
		t.Fatalf("packages install %q, %v", text, err)
	}
	const line = "[serial]\nwhen_unreachable = \"lock\"\n"
	for before, after := range map[string]string{
		shipped + "\n" + line:              shipped,
		line:                               line,
		"# mine\n\n" + line:                "# mine\n\n" + line,
		shipped + "\n" + line + "port = 0": shipped + "\n" + line + "port = 0",
		shipped + line:                     shipped + line,
	} {
		for _, choice := range []string{"", "lock", "open"} {
			if after == before && choice == "open" {
				continue // the administrator has chosen otherwise
			}
			i := newImage(t, debian12)
			i.write(toml, before)
			path := i.path(toml)
			if err := errors.Join(os.Chown(path, 0, 4), os.Chmod(path, 0o640)); err != nil {
				t.Fatal(err)
			}
			r, err := i.enable(choice, false)
			if err != nil || r.WhenUnreachable != cmp.Or(choice, "lock") || i.text(toml) != after || (i.text(settingsPath) != "") != (after != before) {
				t.Errorf("%q: %+v, %v; now %q and %q", before, r, err, i.text(toml), i.text(settingsPath))
			}
			if st, err := os.Stat(path); err != nil || st.Mode() != 0o640 || st.Sys().(*syscall.Stat_t).Gid != 4 {
				t.Errorf("%q: the file is now %+v, %v", before, st, err)
			}
		}
		i := newImage(t, debian12)
		i.write(toml, before)
		if r, err := i.Disable(t.Context(), false); err != nil || i.text(toml) != after {
			t.Errorf("%q: disable: %+v, %v; now %q", before, r, err, i.text(toml))
		}
	}
}

// What would keep the console locked for ever is refused.
func TestLockOut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[users]\nallow = [\"ec2-user\"]\n":                                           "[users]",
		"[users]\ndeny = [\"i-*\"]\n":                                                 "[users]",
		"[[users.map]]\ncaller = \"arn:aws:iam::1:user/a\"\nusers = [\"ec2-user\"]\n": "[[users.map]]",
		"[serial]\nport = 1\n":                                                        "port",
		"[keys]\nnonsense = 1\n":                                                      "nonsense",
	} {
		i := newImage(t, debian12)
		i.boot("agetty")
		i.write("etc/eic-agent/config.toml", text)
		var refusal *Refusal
		if r, err := i.enable("lock", false); !errors.As(err, &refusal) || !strings.Contains(err.Error(), want) || r.Enabled {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	i := newImage(t, debian12)
	i.boot("agetty")
	i.write("etc/eic-agent/config.toml", "[users]\nallow = [\"i-*.port0\"]\n[[users.map]]\ncaller = \"arn:aws:iam::1:user/a\"\nusers = [\"i-*.port0\"]\n")
	if r, err := i.enable("lock", false); err != nil || r.User != "i-0123456789abcdef0.port0" || len(r.Problems) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	i = newImage(t, debian12)
	if err := os.Remove(i.path("usr/bin/eic-serial-getty")); err != nil {
		t.Fatal(err)
	}
	if r, err := i.enable("lock", false); err == nil || r.Enabled {
		t.Errorf("without the gate: %+v, %v", r, err)
	}
	i = newImage(t, debian12)
	i.boot("agetty")
	if err := os.Remove(i.path("sys/devices/virtual/dmi/id/board_asset_tag")); err != nil {
		t.Fatal(err)
	}
	if r, err := i.enable("lock", false); err == nil || r.Enabled {
		t.Errorf("on no EC2 instance: %+v, %v", r, err)
	}
}

// The getty is restarted only where nobody is thrown out.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		program string
		now     bool
		calls   []string
		left    bool
	}{
		"prompt":            {"agetty", false, []string{"daemon-reload", "restart " + Unit}, false},
		"session":           {"login", false, []string{"daemon-reload"}, true},
		"session, now":      {"login", true, []string{"daemon-reload", "restart " + Unit}, false},
		"a shell by itself": {"bash", false, []string{"daemon-reload"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage(t, debian12)
			i.boot(test.program)
			r, err := i.enable("lock", test.now)
			if err != nil || !slices.Equal(i.calls, test.calls) || (len(r.Left) > 0) != test.left {
				t.Errorf("enable: %+v, %v; called %q", r, err, i.calls)
			}
			if len(r.Problems) > 0 || r.InUse != test.left {
				t.Errorf("then: %+v", r)
			}
			i.calls = nil
			i.write("proc/77/comm", test.program+"\n")
			if test.program == "agetty" {
				i.write("proc/77/comm", "eic-serial-gett\n")
			}
			r, err = i.Disable(t.Context(), test.now)
			if err != nil || !slices.Equal(i.calls, test.calls) || (len(r.Left) > 0) != test.left {
				t.Errorf("disable: %+v, %v; called %q", r, err, i.calls)
			}
		})
	}
	i := newImage(t, debian12)
	i.boot("agetty")
	i.Systemctl = func(context.Context, ...string) (string, error) { return "", fmt.Errorf("no bus") }
	if r, err := i.enable("lock", false); err == nil || !strings.Contains(err.Error(), "no bus; the files are as they were, but systemd has not read them: no bus") || r.Enabled || i.text(settingsPath) != "" {
		t.Errorf("without systemd: %+v, %v", r, err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	i.boot("agetty")
	if r := i.Status(t.Context()); r.Enabled || len(r.Problems) > 0 || r.Program != "agetty" || r.InUse {
		t.Errorf("off: %+v", r)
	}
	if _, err := i.enable("lock", false); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spoil func()
		want  string
	}{
		"getty without the gate": {func() { i.write("proc/77/comm", "agetty\n") }, "does not have the gate yet"},
		"binary":                 {func() { os.Remove(i.path("usr/bin/eic-serial-getty")) }, "is not installed"},
		"other unit": {func() {
			i.write("usr/lib/systemd/system/serial-getty@.service", "[Service]\nExecStart="+debian13+"\n")
		}, "the gate starts a getty other than the one in /usr/lib/systemd/system/serial-getty@.service:2"},
		"choice": {func() { os.Remove(i.path(settingsPath)) }, "when_unreachable is not set"},
	} {
		test.spoil()
		r := i.Status(t.Context())
		if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.What, test.want) && p.Hint != "" }) {
			t.Errorf("%s: %+v", name, r.Problems)
		}
		if !strings.Contains(r.Text(), test.want) {
			t.Errorf("%s: the text is %s", name, r.Text())
		}
	}
	other := newImage(t, debian12)
	if _, err := other.enable("lock", false); err != nil {
		t.Fatal(err)
	}
	other.write(dropInPath, strings.Replace(other.text(dropInPath), "RestartSec=1", "RestartSec=2", 1))
	if r := other.Status(t.Context()); len(r.Problems) != 1 || !strings.Contains(r.Problems[0].What, "differs from what this version writes") {
		t.Errorf("another version's: %+v", r)
	}
	// agetty that the gate has become.
	i.write("proc/77/cmdline", "/sbin/agetty\x00--timeout\x0042\x00-\x00vt220\x00")
	if r := i.Status(t.Context()); r.State != StateOpen || strings.Contains(r.Text(), "does not have the gate yet") || !strings.Contains(r.Text(), "on: opened, and asks for a name") {
		t.Errorf("open: %+v", r)
	}
}
