package serial

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const plain = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --noclear %I\n"

// Of the drop-ins that set a command, the gate's wins or is not written.
func TestOverrides(t *testing.T) {
	t.Parallel()
	const dir = "/etc/systemd/system/serial-getty@ttyS0.service.d/"
	for name, test := range map[string]struct {
		path, text string
		refused    string // "" where the gate wins
		getty      string // that it becomes; "" for the unit's own
	}{
		"systemctl edit":             {dir + "override.conf", plain, "", "/sbin/agetty --noclear %I"},
		"systemctl edit, a template": {"/etc/systemd/system/serial-getty@.service.d/override.conf", plain, "", "/sbin/agetty --noclear %I"},
		"systemctl edit --runtime":   {"/run/systemd/system/serial-getty@ttyS0.service.d/override.conf", plain, "", "/sbin/agetty --noclear %I"},
		"of a vendor":                {"/usr/lib/systemd/system/serial-getty@.service.d/60-vendor.conf", plain, "", "/sbin/agetty --noclear %I"},
		"of a generator":             {"/run/systemd/generator/serial-getty@ttyS0.service.d/autologin.conf", plain, "", "/sbin/agetty --noclear %I"},
		"of the prefix":              {"/etc/systemd/system/serial-.service.d/override.conf", plain, "", "/sbin/agetty --noclear %I"},
		"of all services":            {"/etc/systemd/system/service.d/override.conf", plain, "", "/sbin/agetty --noclear %I"},
		"a unit of its own":          {"/etc/systemd/system/serial-getty@ttyS0.service", "[Service]\nExecStart=-/sbin/agetty --noclear %I\n", "", "/sbin/agetty --noclear %I"},
		"a template of its own":      {"/run/systemd/system/serial-getty@.service", "[Service]\nExecStart=-/sbin/agetty --noclear %I\n", "", "/sbin/agetty --noclear %I"},
		"later":                      {dir + "zz-site.conf", plain, "zz-site.conf:3 sets ExecStart=-/sbin/agetty --noclear %I", ""},
		"later, of a template":       {"/usr/lib/systemd/system/serial-getty@.service.d/zzz.conf", plain, "zzz.conf:3 sets ExecStart", ""},
		"later, of a prefix":         {"/run/systemd/system/serial-.service.d/zzz.conf", plain, "zzz.conf:3 sets ExecStart", ""},
		"later, of all services":     {"/etc/systemd/system/service.d/zzz.conf", plain, "zzz.conf:3 sets ExecStart", ""},
		"later, of a generator":      {"/run/systemd/generator.late/serial-getty@ttyS0.service.d/zzz.conf", plain, "zzz.conf:3 sets ExecStart", ""},
		"in its place":               {"/etc/systemd/system.control/serial-getty@ttyS0.service.d/" + dropInName, plain, dropInName + ":3 sets ExecStart", ""},
		"masking it":                 {"/etc/systemd/system.control/serial-getty@ttyS0.service.d/" + dropInName, "", dropInName + " stands in the place of the drop-in", ""},
		"later, reset only":          {dir + "zzz.conf", "[Service]\nExecStart=\n", "0 commands, not one: see /etc/systemd/system/serial-getty@ttyS0.service.d/zzz.conf:2", ""},
		"devices of its own":         {dir + "a.conf", "[Service]\nPrivateDevices=yes\n", "a.conf:2 sets PrivateDevices=yes", ""},
		"no network":                 {dir + "a.conf", "[Service]\nPrivateNetwork=yes\n", "a.conf:2 sets PrivateNetwork=yes", ""},
		"later, its end":             {dir + "zzz.conf", "[Service]\nRestart=no\n", "zzz.conf:2 sets Restart=no", ""},
		"later, its input":           {dir + "zzz.conf", "[Service]\nStandardInput=tty\n", "zzz.conf:2 sets StandardInput=tty", ""},
		"later, something else":      {dir + "zzz.conf", "[Service]\nEnvironment=A=b\n[Unit]\nDescription=x\n", "", debian12[1:]},
		"autologin":                  {dir + "override.conf", "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root - $TERM\n", "override.conf:3): the getty must not have --autologin", ""},
		"another program":            {dir + "override.conf", "[Service]\nExecStart=\nExecStart=/bin/sh\n", "must be agetty", ""},
		"a second command":           {dir + "override.conf", "[Service]\nType=oneshot\nExecStart=-/bin/sh\n", "2 commands", ""},
		"no command":                 {dir + "override.conf", "[Service]\nExecStart=\n", "0 commands", ""},
		"another type":               {dir + "override.conf", "[Service]\nType=forking\n", "override.conf:2 sets Type=forking", ""},
		"another user":               {dir + "override.conf", "[Service]\nUser=getty\n", "override.conf:2 sets User=getty", ""},
		"another root":               {dir + "override.conf", "[Service]\nRootDirectory=/srv\n", "override.conf:2 sets RootDirectory=/srv", ""},
		"a getty before":             {dir + "override.conf", "[Service]\nExecStartPre=-/sbin/agetty ttyS0\n", "override.conf:2 has systemd run agetty beside the gate", ""},
		"a shell after":              {dir + "override.conf", "[Service]\nExecStartPost=+/bin/sh -c 'exec sh <>/dev/ttyS0'\n", "override.conf:2 has systemd run sh beside the gate", ""},
		"before, taken back":         {dir + "override.conf", "[Service]\nExecStartPre=/sbin/agetty\nExecStartPre=\n", "", debian12[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, live := range []bool{false, true} {
				i := newImage(t, debian12)
				if live {
					i.boot("agetty")
				}
				i.write(test.path, test.text)
				tree := i.tree()
				r, err := i.enable("lock", false)
				if test.refused != "" {
					var refusal *Refusal
					if !errors.As(err, &refusal) || !strings.Contains(err.Error(), test.refused) || refusal.Hint == "" || i.tree() != tree {
						t.Errorf("live %v: %+v, %v;\n%s", live, r, err, i.tree())
					}
				} else if want := map[bool]string{false: StatePrepared, true: StateLocked}[live]; err != nil || r.State != want || r.Getty != test.getty || len(r.Problems) > 0 {
					t.Errorf("live %v: %+v, %v", live, r, err)
				}
				// The same file comes after the gate.
				i = newImage(t, debian12)
				if live {
					i.boot("agetty")
				}
				if _, err := i.enable("lock", false); err != nil {
					t.Fatal(err)
				}
				i.write(test.path, test.text)
				if live {
					if _, err := i.Systemctl(t.Context(), "daemon-reload"); err != nil {
						t.Fatal(err)
					}
				}
				r = i.Status(t.Context())
				named := slices.ContainsFunc(r.Problems, func(p Problem) bool {
					return strings.Contains(p.What, filepath.Base(test.path)) && p.Hint != ""
				})
				if unchanged := test.getty == debian12[1:]; named == unchanged {
					t.Errorf("live %v, added later: %+v", live, r)
				}
				// The gate is read after these.
				takes := test.refused != "" && !slices.Contains([]string{"autologin", "another program", "no command"}, name)
				if (r.State == StateOverridden) != takes {
					t.Errorf("live %v, added later: it is %s with %+v", live, r.State, r.Problems)
				}
				if r, err := i.Disable(t.Context(), false); err != nil || r.State != StateOff || len(r.Problems) > 0 {
					t.Errorf("live %v, disable: %+v, %v", live, r, err)
				}
			}
		})
	}
}

// systemd reads the drop-ins of all names of the unit.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"console@.service": "console@.service.d", "front@.service": "front@ttyS0.service.d", "front@ttyS0.service": "front@ttyS0.service.d"} {
		i := newImage(t, debian12)
		i.write("/etc/systemd/system/"+dir+"/zzz.conf", plain)
		link := filepath.Join(i.Root, "etc/systemd/system", name)
		if err := os.Symlink("/usr/lib/systemd/system/serial-getty@.service", link); err != nil {
			t.Fatal(err)
		}
		var refusal *Refusal
		if r, err := i.enable("lock", false); !errors.As(err, &refusal) || !strings.Contains(err.Error(), dir+"/zzz.conf:3 sets ExecStart") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if r, err := i.enable("lock", false); err != nil || r.State != StatePrepared || len(r.Problems) > 0 {
			t.Errorf("%s, no link: %+v, %v", name, r, err)
		}
		if err := os.Symlink("/usr/lib/systemd/system/serial-getty@.service", link); err != nil {
			t.Fatal(err)
		}
		if r := i.Status(t.Context()); r.State != StateOverridden || !strings.Contains(r.Problems[0].What, dir+"/zzz.conf:3") {
			t.Errorf("%s, linked later: %+v", name, r)
		}
	}
}

// What runs beside the gate and is not known is said, and does not keep it from being
// turned on.
func TestUnknownBeside(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	i.write("etc/systemd/system/serial-getty@.service.d/a.conf", "[Service]\nExecStartPre=/usr/local/bin/line-setup %I\n")
	r, err := i.enable("lock", false)
	if err != nil || r.State != StatePrepared || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].What, "a.conf:2 has systemd run ExecStartPre=/usr/local/bin/line-setup %I beside the gate; whether that opens the console is unknown") {
		t.Errorf("got %+v, %v", r, err)
	}
}

// An earlier version's drop-in has another name.
func TestOldName(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	i.boot("eic-serial-gett")
	i.write(oldDropInPath, dropInText(debian12))
	if _, err := i.Systemctl(t.Context(), "daemon-reload"); err != nil {
		t.Fatal(err)
	}
	if r := i.Status(t.Context()); !r.Enabled || r.State != StateLocked || r.DropIn != i.entry(oldDropInPath) {
		t.Errorf("as it was: %+v", r)
	}
	// It loses to what systemctl edit writes.
	i.write(dropInDir+"/override.conf", plain)
	if _, err := i.Systemctl(t.Context(), "daemon-reload"); err != nil {
		t.Fatal(err)
	}
	if r := i.Status(t.Context()); r.State != StateOverridden {
		t.Errorf("with an override: %+v", r)
	}
	r, err := i.enable("lock", false)
	if err != nil || r.State != StateLocked || i.text(oldDropInPath) != "" || r.DropIn != i.entry(dropInPath) {
		t.Errorf("enabled again: %+v, %v", r, err)
	}
	i.write(oldDropInPath, "x")
	if r, err := i.Disable(t.Context(), false); err != nil || r.Enabled || i.text(oldDropInPath)+i.text(dropInPath) != "" {
		t.Errorf("disabled: %+v, %v", r, err)
	}
}

// What systemd says counts: where it starts something else in the end, everything is as it
// was.
func TestRollBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(args []string, out string) (string, error)
		says  string
	}{
		"systemd starts something else": {func(args []string, out string) (string, error) {
			return strings.ReplaceAll(out, "path=/usr/bin/eic-serial-getty ; argv[]=", "path=/sbin/agetty ; argv[]=/sbin/agetty "), nil
		}, "the console is not locked: systemd starts /sbin/agetty"},
		"for another port": {func(args []string, out string) (string, error) {
			return strings.ReplaceAll(out, "eic-serial-getty ttyS0 --", "eic-serial-getty ttyS1 --"), nil
		}, "the console is not locked"},
		"two commands": {func(args []string, out string) (string, error) {
			if strings.Contains(out, "eic-serial-getty") {
				out += "ExecStart={ path=/sbin/agetty ; argv[]=/sbin/agetty ; ignore_errors=yes }\n"
			}
			return out, nil
		}, "the console is not locked"},
		"the unit is broken": {func(args []string, out string) (string, error) {
			if strings.Contains(out, "eic-serial-getty") {
				out = strings.Replace(out, "LoadState=loaded", "LoadState=bad-setting", 1)
			}
			return out, nil
		}, "it is bad-setting"},
		"systemd has not read it": {func(args []string, out string) (string, error) {
			if args[0] == "show" {
				out = "LoadState=loaded\nMainPID=77\nFragmentPath=/usr/lib/systemd/system/serial-getty@.service\nExecStart={ path=/sbin/agetty ; argv[]=/sbin/agetty - vt220 ; ignore_errors=yes }\n"
			}
			return out, nil
		}, "systemd has not read the drop-in, and starts /sbin/agetty - vt220"},
		"no answer": {func(args []string, out string) (string, error) {
			if args[0] == "show" {
				return "", errors.New("no bus")
			}
			return out, nil
		}, "no bus"},
		"no reload": {func(args []string, out string) (string, error) {
			if args[0] == "daemon-reload" {
				return "", errors.New("no bus")
			}
			return out, nil
		}, "systemctl daemon-reload: no bus"},
		"no restart": {func(args []string, out string) (string, error) {
			if args[0] == "restart" {
				return "", errors.New("no job")
			}
			return out, nil
		}, "systemctl restart " + Unit + ": no job"},
	} {
		for _, before := range []func(i *image){
			func(i *image) {},
			func(i *image) { i.write("etc/eic-agent/config.toml", shipped+"\n"+choiceText("open")) },
			func(i *image) { i.write(dropInDir+"/override.conf", plain); i.write(oldDropInPath, "[Service]\n") },
			func(i *image) {
				i.write(dropInDir+"/x", "")
				if err := os.Symlink("/opt/mine", i.path(dropInPath)); err != nil {
					t.Fatal(err)
				}
			},
		} {
			i := newImage(t, debian12)
			before(i)
			i.boot("agetty")
			real := i.Systemctl
			i.Systemctl = func(ctx context.Context, args ...string) (string, error) {
				out, _ := real(ctx, args...)
				return test.spoil(args, out)
			}
			tree := i.tree()
			r, err := i.enable("lock", false)
			var refusal *Refusal
			if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "failed too") {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			if i.tree() != tree {
				t.Errorf("%s: before it was\n%s\nand now\n%s", name, tree, i.tree())
			}
		}
	}
}

// tree lists the files that Enable may change, with their contents.
func (i *image) tree() string {
	var b strings.Builder
	for _, dir := range []string{"etc", "run/systemd"} {
		err := filepath.WalkDir(i.path(dir), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return nil // which is not there
			}
			text, _ := os.ReadFile(path)
			target, _ := os.Readlink(path)
			info, err := d.Info()
			b.WriteString(path + " " + info.Mode().String() + " " + target + " " + string(text) + "\n")
			return err
		})
		if err != nil {
			i.t.Fatal(err)
		}
	}
	return b.String()
}

// Nothing is called locked that nothing starts.
func TestNotStarted(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	i.Systemctl = func(context.Context, ...string) (string, error) { t.Error("systemd was asked"); return "", nil }
	r, err := i.enable("lock", false)
	if err != nil || r.State != StatePrepared || !strings.Contains(r.Text(), "nothing starts the gate") || strings.Contains(r.Text(), "locked") {
		t.Errorf("without systemd: %v\n%s", err, r.Text())
	}
	for name, test := range map[string]struct{ properties, says string }{
		"not started":  {"MainPID=0\nConditionTimestampMonotonic=0\nConditionResult=no\n", "nothing serves ttyS0"},
		"condition":    {"MainPID=0\nConditionTimestampMonotonic=9\nConditionResult=no\n", "a condition of the unit is not met"},
		"needs reload": {"MainPID=77\nNeedDaemonReload=yes\n", "were changed since systemd read them"},
	} {
		i := newImage(t, debian12)
		i.boot("eic-serial-gett")
		if _, err := i.enable("lock", false); err != nil {
			t.Fatal(err)
		}
		real := i.Systemctl
		i.Systemctl = func(ctx context.Context, args ...string) (string, error) {
			out, err := real(ctx, args...)
			return test.properties + out, err
		}
		r := i.Status(t.Context())
		if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].What, test.says) || (r.State == StateStopped) != strings.Contains(test.properties, "MainPID=0") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	p, ok := parseStat("12 (a) (b) S 1 12 9 1088 12 4194560 1")
	if !ok || p != (process{"a) (b", "9", 1088}) {
		t.Errorf("got %+v, %v", p, ok)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) S 1 2 3", "1 (x) S 1 2 3 x"} {
		if p, ok := parseStat(bad); ok {
			t.Errorf("%q: %+v", bad, p)
		}
	}
	if got := kernelDevice(4<<8 | 64); got != 1088 {
		t.Errorf("ttyS0 is %d, want 1088", got)
	}
}
