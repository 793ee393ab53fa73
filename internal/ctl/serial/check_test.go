package serial

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

// At boot what has the console in the gate's place is named, by one line, and nothing else
// is said.
func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		dir  = "etc/systemd/system/serial-getty@ttyS0.service.d/"
		mask = "etc/systemd/system.control/serial-getty@ttyS0.service.d/" + dropInName
	)
	for name, test := range map[string]struct {
		then func(*image) // after it was enabled
		want string       // "" for nothing
	}{
		"healthy":                  {func(*image) {}, ""},
		"disabled":                 {func(i *image) { i.Disable(i.t.Context(), false) }, ""},
		"somebody is logged in":    {func(i *image) { i.write("proc/77/comm", "bash\n") }, ""},
		"no config":                {func(i *image) { os.RemoveAll(i.path("/etc/eic-agent")) }, ""},
		"not started":              {func(i *image) { os.Remove(i.path("/proc/77/comm")) }, ""},
		"a later drop-in":          {func(i *image) { i.write(dir+"zzz.conf", plain) }, "by /" + dir + "zzz.conf:3; rename"},
		"a later one with a shell": {func(i *image) { i.write(dir+"zzz.conf", "[Service]\nExecStart=\nExecStart=/bin/sh\n") }, "by /" + dir + "zzz.conf:3; rename"},
		"a later one, no command":  {func(i *image) { i.write(dir+"zzz.conf", "[Service]\nExecStart=\n") }, "by /" + dir + "zzz.conf:2; rename"},
		"one in its place":         {func(i *image) { i.write(mask, plain) }, "by /" + mask + ":3; remove /" + mask},
		"masked": {func(i *image) {
			if err := errors.Join(os.MkdirAll(i.path(strings.TrimSuffix(mask, dropInName)), 0o755), os.Symlink("/dev/null", i.path("/")+"/"+mask)); err != nil {
				i.t.Fatal(err)
			}
		}, "by /" + mask + ", in the place of the drop-in; remove /" + mask},
		"removed":        {func(i *image) { os.Remove(i.dropIn()) }, dropInName + ", which eicctl serial enable wrote, is missing; run eicctl serial enable again"},
		"emptied":        {func(i *image) { i.write(dir+dropInName, "") }, "@.service:4; run eicctl serial enable again"},
		"started before": {func(i *image) { i.write("proc/77/comm", "agetty\n") }, "agetty asks for a name; systemctl restart"},
		"systemd does not tell": {func(i *image) {
			i.Systemctl = func(context.Context, ...string) (string, error) { return "", errors.New("no bus") }
		}, "does not say what runs on the port: no bus; see"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage(t, debian12)
			i.boot("agetty")
			if r, err := i.enable("lock", false); err != nil || r.State != StateLocked {
				t.Fatalf("%+v, %v", r, err)
			}
			test.then(i)
			if name != "systemd does not tell" {
				i.boot(strings.TrimSpace(i.text("proc/77/comm")))
			}
			if name == "not started" {
				os.Remove(i.path("/proc/77/comm"))
			}
			var said []string
			for _, p := range i.Check(t.Context()).Problems {
				said = append(said, p.What+"; "+p.Hint)
			}
			if test.want == "" && len(said) > 0 || test.want != "" && (len(said) != 1 || !strings.Contains(said[0], test.want)) {
				t.Errorf("it says %q, want %q", said, test.want)
			}
		})
	}
}

// A getty that systemd has not started yet, as those of Type=idle, is waited for.
func TestCheckWaits(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	i.boot("agetty")
	if _, err := i.enable("lock", false); err != nil {
		t.Fatal(err)
	}
	i.write("proc/77/comm", "(al-getty)\n")
	systemctl, asked := i.Systemctl, 0
	i.Systemctl = func(ctx context.Context, args ...string) (string, error) {
		if asked++; asked == 3 {
			i.write("proc/77/comm", "eic-serial-gett\n")
		}
		return systemctl(ctx, args...)
	}
	if said := i.Check(t.Context()).Problems; len(said) > 0 || asked < 4 {
		t.Errorf("asked %d times, it says %+v", asked, said)
	}
}

// The check is enabled with the gate, for an image too, and goes with it.
func TestCheckLink(t *testing.T) {
	t.Parallel()
	i := newImage(t, debian12)
	if problems := i.Check(t.Context()).Problems; len(problems) > 0 {
		t.Errorf("with the gate off: %+v", problems)
	}
	r, err := i.enable("lock", false)
	if err != nil || !strings.Contains(strings.Join(r.Done, "\n"), "eic-serial-check.service to /usr/lib/systemd/system/") {
		t.Errorf("%+v, %v", r, err)
	}
	if target, err := os.Readlink(i.entry(checkLink)); target != checkUnit || err != nil {
		t.Errorf("the link is to %q, %v", target, err)
	}
	// Without the drop-in the console is open, and status says so too.
	if err := os.Remove(i.dropIn()); err != nil {
		t.Fatal(err)
	}
	if r := i.Status(t.Context()); r.State != StateOff || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].What, "is missing") {
		t.Errorf("without the drop-in: %+v", r)
	}
	if r, err := i.Disable(t.Context(), false); err != nil || len(r.Problems) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if after := i.tree(); strings.Contains(after, "eic-serial-check") {
		t.Errorf("left behind:\n%s", after)
	}
}
