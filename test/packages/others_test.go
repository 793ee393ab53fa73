package packages

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The tarball of programs installs what the rpms hold, with nothing but a shell, and removes all but the
// configuration. Below another prefix, nothing names a program in /usr/bin.
func TestTarball(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	archive := r.bring(built + "/tar/eic-agent-" + newVersion + "-linux-amd64.tar.gz")
	unpacked := "/tmp/eic-agent-" + newVersion + "-linux-amd64"
	r.run("tar", "-xf", archive, "-C", "/tmp")
	if out, err := r.try(nil, unpacked+"/install.sh", "--prefx=/usr"); err == nil || !strings.Contains(out, "usage: ") {
		t.Errorf("a wrong option: %v\n%s", err, out)
	}
	r.run(unpacked+"/install.sh", "--prefix", "/usr", "--destdir", "/tmp/to")
	var want []string
	for _, file := range []string{rpm("eic-agent", newVersion), rpmFile("eic-agent-selinux", newVersion, "noarch"), rpm("eic-emulator", newVersion)} {
		for _, line := range inRPM(t, file) {
			mode, path, _ := strings.Cut(line, " ")
			// Where rpms have the licenses, and compress pages.
			path = strings.TrimSuffix(strings.Replace(path, "/usr/share/licenses/", "/usr/share/doc/", 1), ".gz")
			if strings.HasSuffix(path, "-selinux/LICENSE") || strings.HasSuffix(path, "-selinux") {
				continue
			}
			if out, err := r.try(nil, "test", "-d", "/tmp/to"+path); err == nil {
				continue
			} else if out != "" {
				t.Fatal(out)
			}
			want = append(want, mode+" "+path)
		}
	}
	got := strings.Split(strings.TrimSpace(r.run("find", "/tmp/to", "-type", "f", "-printf", "0%m /%P\n")), "\n")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("installed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := r.run("/tmp/to/usr/bin/eic-authkeys", "--version"), "eic-authkeys "+newVersion+"\n"; got != want {
		t.Errorf("--version: %q", got)
	}
	r.run(unpacked+"/install.sh", "--prefix=/usr", "--destdir=/tmp/to", "--uninstall")
	if left := r.run("find", "/tmp/to", "-type", "f"); left != "/tmp/to/etc/eic-agent/config.toml\n" {
		t.Errorf("left: %s", left)
	}
	r.run(unpacked+"/install.sh", "--prefix=/opt/eic", "--destdir=/tmp/opt")
	if out := r.run("find", "/tmp/opt", "-type", "f", "-not", "-path", "/tmp/opt/opt/eic/*"); out != "/tmp/opt/etc/eic-agent/config.toml\n" {
		t.Errorf("installed outside the prefix: %s", out)
	}
	if out, err := r.try(nil, "grep", "-rIl", "/usr/bin/eic", "/tmp/opt"); err == nil {
		t.Errorf("these name programs in /usr/bin: %s", out)
	}
}

// pacman installs the package that makepkg has built, which holds what the rpm holds, and
// takes it out of sshd before it removes it.
func TestArch(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	pacman := func(args ...string) string {
		return string(output(t, "pacman", append([]string{"--root", r.dir, "--dbpath", r.dir + "/var/lib/pacman", "--cachedir", t.TempDir(), "--noconfirm"}, args...)...))
	}
	r.run("mkdir", "/var/lib/pacman")
	pacman("-dd", "-U", built+"/arch/eic-agent-"+newVersion+"-1-x86_64.pkg.tar.gz", built+"/arch/eic-emulator-"+newVersion+"-1-x86_64.pkg.tar.gz")
	for _, name := range []string{"eic-agent", "eic-emulator"} {
		var want []string
		for _, line := range inRPM(t, rpm(name, newVersion)) {
			_, path, _ := strings.Cut(line, " ")
			want = append(want, path)
		}
		var got []string
		for line := range strings.Lines(pacman("-Ql", name)) {
			_, path, _ := strings.Cut(strings.TrimSpace(line), " "+r.dir)
			if !strings.HasSuffix(path, "/") {
				got = append(got, path)
			} else if slices.Contains(want, strings.TrimSuffix(path, "/")) {
				got = append(got, strings.TrimSuffix(path, "/"))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s holds\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if got := r.sshd(); strings.Contains(got, ourCommand) {
		t.Error("the installation enables it")
	}
	r.run("systemd-sysusers") // as pacman's hooks do
	r.run("eicctl", "sshd", "enable")
	pacman("-R", "eic-agent", "eic-emulator")
	if got := r.sshd(); strings.Contains(got, ourCommand) || r.exists("/usr/bin/eicctl") {
		t.Errorf("after the removal sshd has:\n%s", got)
	}
}

// Nix evaluates the expression, with what callPackage would give it.
func TestNix(t *testing.T) {
	t.Parallel()
	const stub = `let p = import ./packaging/nix/default.nix {
		lib = { fakeHash = "x"; licenses = { asl20 = 1; bsd3 = 2; mit = 3; }; };
		buildGoModule = x: x; fetchurl = x: x.url; version = "1.2.3"; hash = "y";
	}; in builtins.deepSeq p "${p.pname} ${p.src} ${p.buildPhase}"`
	cmd := exec.Command("nix-instantiate", "--eval", "--store", "dummy://", "--expr", stub)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "download/v1.2.3/eic-agent-1.2.3.tar.gz") || !strings.Contains(string(out), "make VERSION=1.2.3") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The recipes for Arch and Alpine are shell that sets what makepkg and abuild ask for, and their
// functions and files are there.
func TestRecipes(t *testing.T) {
	t.Parallel()
	shell(t, "../../packaging/alpine", `
		for file in APKBUILD eic-agent.initd eic-agent.pre-install eic-agent.pre-deinstall; do sh -n $file; done
		. ./APKBUILD
		[ "$pkgname" = eic-agent ] && [ -n "$pkgver$pkgrel$pkgdesc$url$arch$license" ]
		for function in build package _emulator; do [ "$(type -t $function)" = function ]; done
		for file in $install eic-agent.initd; do [ -x "$file" ]; done`)
	shell(t, "../../packaging/arch", `
		. ./PKGBUILD
		[ "${pkgname[*]}" = "eic-agent eic-emulator" ] && [ -n "$pkgver$pkgrel$url${arch[*]}${license[*]}" ]
		for function in build package_eic-agent package_eic-emulator; do [ "$(type -t $function)" = function ]; done
		. ./eic-agent.install
		[ "$(type -t pre_remove)" = function ]`)
}
