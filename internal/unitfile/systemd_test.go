package unitfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/sysroot"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

// A grove is a root with many random units in it.
type grove struct {
	*testing.T
	*rand.Rand
	root string
	n    int // of commands so far
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// text is a unit file with commands of its own. The key Odd has systemd name the file.
func (g *grove) text() string {
	var b strings.Builder
	b.WriteString("[Service]\nOdd=1\nType=oneshot\n")
	for range g.IntN(3) {
		if g.IntN(2) == 0 {
			b.WriteString("ExecStart=\n")
		}
		g.n++
		fmt.Fprintf(&b, "ExecStart=-/none/%d\n", g.n)
	}
	return b.String()
}

// add puts something at a path. targets are what a link there may lead to.
func (g *grove) add(path string, targets ...string) {
	g.Helper()
	if dir, rest, ok := cutGenerated(path); ok {
		path = dir + rest
	}
	full := filepath.Join(g.root, path)
	if _, err := os.Lstat(full); err == nil {
		return
	}
	err := os.MkdirAll(filepath.Dir(full), 0o755)
	switch g.IntN(14) {
	case 13:
		if filepath.Ext(path) != ".service" { // for a unit, systemd has changed its mind
			err = errors.Join(err, os.Mkdir(full, 0o755))
			break
		}
		fallthrough
	case 0:
		err = errors.Join(err, os.WriteFile(full, nil, 0o644))
	case 1:
		err = errors.Join(err, os.Symlink("/dev/null", full))
	case 2:
		err = errors.Join(err, os.Symlink("/gone/"+filepath.Base(path), full))
	case 3:
		g.n++
		name := fmt.Sprintf("/opt/%d/%s", g.n, filepath.Base(path))
		g.write(name, g.text())
		err = errors.Join(err, os.Symlink(name, full))
	case 4, 5:
		if len(targets) > 0 {
			err = errors.Join(err, os.Symlink(pick(g.Rand, targets...), full))
			break
		}
		fallthrough
	default:
		err = errors.Join(err, os.WriteFile(full, []byte(g.text()), 0o644))
	}
	if err != nil {
		g.Fatal(err)
	}
}

// link makes a name of a unit a link to another, which need not be there.
func (g *grove) link(name, other string) {
	g.Helper()
	path := filepath.Join(g.root, pick(g.Rand, "/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"), name)
	target := pick(g.Rand, "", "/etc/systemd/system/", "/usr/lib/systemd/system/", "../system/") + other
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		g.Fatal(err)
	}
}

// cutGenerated returns where a path in a directory of generators is until they run.
func cutGenerated(path string) (dir, rest string, ok bool) {
	for from, to := range generated {
		if rest, ok := strings.CutPrefix(path, from+"/"); ok {
			return to, "/" + rest, true
		}
	}
	return "", "", false
}

func (g *grove) write(path, text string) {
	g.Helper()
	full := filepath.Join(g.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
		g.Fatal(err)
	}
}

// unit makes files for an instance of a template, links to it, and returns its name.
func (g *grove) unit(i int, instanceAliases bool) string {
	unit, template := fmt.Sprintf("t%d-serial-getty@ttyS0.service", i), fmt.Sprintf("t%d-serial-getty@.service", i)
	other := fmt.Sprintf("o%d@.service", i)
	// An alias of nothing is nothing, or the template: systemd has changed its mind.
	alias := filepath.Join(pick(g.Rand, "/etc/systemd/system", "/usr/lib/systemd/system"), other)
	g.write(alias, g.text())
	for range 1 + g.IntN(2) {
		g.add(filepath.Join(pick(g.Rand, Dirs()...), template), filepath.Join(pick(g.Rand, Dirs()...), template), alias)
	}
	if g.IntN(4) == 0 {
		g.add(filepath.Join(pick(g.Rand, Dirs()...), unit), alias)
	}
	names := append(dropInNames(unit), unit, template)
	for range g.IntN(7) {
		dir := filepath.Join(pick(g.Rand, Dirs()...), pick(g.Rand, names...)+".d")
		g.add(filepath.Join(dir, pick(g.Rand, "10.conf", "50-eic.conf", "override.conf", "zz-site.conf", "zz.conf", "Z.conf", "é.conf", ".h.conf", "a.conf~", "README")))
	}
	// Of two names of a unit none comes first.
	if g.IntN(3) == 0 {
		g.add(filepath.Join(pick(g.Rand, Dirs()...), other+".d", pick(g.Rand, "51-other.conf", "zz-other.conf")))
	}
	for n := range g.IntN(4) {
		of := pick(g.Rand, "", "ttyS0", "ttyS0", "ttyS1")
		if !instanceAliases {
			of = ""
		}
		name := fmt.Sprintf("a%d-%d@%s.service", n, i, of)
		g.link(name, pick(g.Rand, unit, template, other, fmt.Sprintf("a%d-%d@.service", g.IntN(3), i), fmt.Sprintf("a%d-%d@ttyS0.service", g.IntN(3), i)))
		for range g.IntN(3) {
			dir := filepath.Join(pick(g.Rand, Dirs()...), fmt.Sprintf("a%d-%d@", n, i)+pick(g.Rand, "", "ttyS0", "ttyS0")+".service.d")
			g.add(filepath.Join(dir, fmt.Sprintf("%s-alias%d.conf", pick(g.Rand, "00", "60", "zz"), n)))
		}
	}
	return unit
}

// load is what this package makes of a unit: its files, in order, and its commands.
func load(root, unit string) (files, commands []string, err error) {
	files, err = Files(root, unit)
	for _, path := range files {
		text, err := os.ReadFile(sysroot.Path(root, path))
		if err != nil {
			return nil, nil, err
		}
		for a := range Assignments(string(text)) {
			switch {
			case a.Key != "ExecStart":
			case a.Value == "":
				commands = nil
			default:
				commands = append(commands, strings.TrimLeft(a.Value, Prefixes))
			}
		}
	}
	return files, commands, err
}

// generated are the directories that generators fill, which are empty after a reload:
// what is to be in them is elsewhere until then.
var generated = map[string]string{
	"/run/systemd/generator.early": "/opt/generator/early", "/run/systemd/generator": "/opt/generator/normal", "/run/systemd/generator.late": "/opt/generator/late",
}

const generator = "#!/bin/sh\ncp -a /opt/generator/normal/. $1\ncp -a /opt/generator/early/. $2\ncp -a /opt/generator/late/. $3\n"

// Each release's systemd finds the files of hundreds of random units, and their commands,
// as this package does. That of Debian 11 knows no link from an instance to a template as a
// name of the unit.
func TestRandomUnitsAsSystemd(t *testing.T) {
	need.Root(t)
	for _, name := range release.Names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, err := release.Host(name).Root(os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			c, err := release.Boot(root)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Stop()
			for seed := range uint64(8) {
				compare(t, c, seed, name != "bullseye")
			}
		})
	}
}

func compare(t *testing.T, c *release.Container, seed uint64, instanceAliases bool) {
	const units = 40
	g := &grove{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), root: c.Files.Name()}
	g.write("/etc/systemd/system-generators/eic-test", generator)
	if err := os.Chmod(filepath.Join(g.root, "etc/systemd/system-generators/eic-test"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range generated {
		if err := errors.Join(os.RemoveAll(filepath.Join(g.root, dir)), os.MkdirAll(filepath.Join(g.root, dir), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	// For all units of the type: without a command, which init's own would get.
	if path := filepath.Join(g.root, "/etc/systemd/system/service.d/20-all.conf"); seed%2 == 0 {
		g.write("/etc/systemd/system/service.d/20-all.conf", "[Service]\nOdd=1\n")
	} else if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range units {
		names = append(names, g.unit(int(seed)*units+i, instanceAliases))
	}
	if _, err := c.Run("systemctl", "daemon-reload"); err != nil {
		t.Fatal(err)
	}
	out, err := c.Run("systemctl", append([]string{"show", "-p", "LoadState,FragmentPath,DropInPaths,ExecStart"}, names...)...)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(strings.TrimSpace(out), "\n\n")
	if len(blocks) != units {
		t.Fatalf("systemd tells of %d units:\n%s", len(blocks), out)
	}
	for i, block := range blocks {
		state := ParseShow(block)
		wantFiles, err := Words(state.Get("FragmentPath") + " " + state.Get("DropInPaths"))
		if err != nil {
			t.Fatal(err)
		}
		wantFiles = slices.DeleteFunc(wantFiles, func(path string) bool {
			text, err := os.ReadFile(sysroot.Path(g.root, path))
			return err != nil || len(text) == 0
		})
		var want []string
		for _, m := range regexp.MustCompile(`path=(/none/\d+) `).FindAllStringSubmatch(block, -1) {
			want = append(want, m[1])
		}
		files, got, err := load(g.root, names[i])
		// Not every systemd follows links in what it says.
		for _, list := range [][]string{files, wantFiles} {
			for i := range list {
				list[i] = sysroot.Path(g.root, list[i])
			}
		}
		load := state.Get("LoadState")
		switch {
		case err != nil && (load == "masked" || load == "not-found" || load == "error" || load == "bad-setting"):
		case err == nil && load != "masked" && load != "not-found" && slices.Equal(got, want) && slices.Equal(files, wantFiles):
		default:
			prefix, _, _ := strings.Cut(names[i], "-")
			tree, _ := exec.Command("find", g.root+"/etc/systemd", g.root+"/run/systemd", g.root+"/usr/lib/systemd/", g.root+"/usr/local/lib/systemd", "(", "-path", "*/"+prefix+"-*", "-o", "-path", "*/a*-"+prefix[1:]+"@*", ")", "-printf", "%P %s -> %l\n").Output()
			t.Errorf("seed %d, %s:\ngot    %q of %q, %v\nwanted %q of %q\n%s\n%s", seed, names[i], got, files, err, want, wantFiles, block, tree)
		}
	}
}
