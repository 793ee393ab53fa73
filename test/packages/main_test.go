// Package packages tests the packages as a user meets them: what is in them, what the
// distributions' own checks say, and what installing, upgrading and removing them with
// the real dpkg and rpm leaves on a system.
package packages

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/test/host"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

const (
	oldVersion = "0.0.1"
	newVersion = "0.0.2~rc1"
)

// builtVariable tells the program on the private host where the packages are.
const builtVariable = "EIC_BUILT_PACKAGES"

// built is the folder of the packages: below it old, new, again and rebuilt, which are new
// built a second time, tar and arch.
var built string

func TestMain(m *testing.M) {
	os.Exit(host.Verdict(run(m)))
}

func run(m *testing.M) (int, error) {
	bases := map[string]release.Recipe{machine: release.Packaging("bookworm"), newest: release.RPM("sid"), newestLintian: release.Lintian("sid")}
	if built = os.Getenv(builtVariable); built == "" {
		if err := needed(); err != nil {
			return 1, err
		}
		if os.Geteuid() != 0 {
			return 1, fmt.Errorf("%w: installing packages needs root", host.ErrNeeds)
		}
		for _, base := range bases {
			if _, err := base.Root(os.Stderr); err != nil {
				return 1, err
			}
		}
		// Outside, where Go has its caches and the network.
		dir, err := os.MkdirTemp("", "eic-packages-")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
		if err := build(dir); err != nil {
			return 1, err
		}
		os.Setenv(builtVariable, dir)
	}
	return host.Run(func(*host.Host) int {
		for target, base := range bases {
			dir, err := base.Root(os.Stderr)
			if err := errors.Join(err, os.Mkdir(target, 0o755), unix.Mount(dir, target, "", unix.MS_BIND, "")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	})
}

// needed says which program is missing.
func needed() error {
	for program, pkg := range map[string]string{
		"dpkg": "dpkg", "dpkg-deb": "dpkg", "dpkg-buildpackage": "dpkg-dev", "dh": "debhelper", "rpm": "rpm", "rpmbuild": "rpm", "lintian": "lintian",
		"makepkg": "makepkg", "pacman": "pacman-package-manager", "bsdtar": "libarchive-tools",
		"systemd-sysusers": "systemd", "systemd-tmpfiles": "systemd", "systemd-analyze": "systemd", "localedef": "libc-bin",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %s is missing; install Debian's package %s", host.ErrNeeds, program, pkg)
		}
	}
	return nil
}

// arches are the architectures that packages are built for: with EIC_EACH=1 both.
func arches() []string {
	if need.Each() {
		return []string{"amd64", "arm64"}
	}
	return []string{"amd64"}
}

// build builds the packages with packaging/build, the second time for one architecture, from another
// folder, without a network, and under another host name, time zone, locale and umask. rpmbuild alone builds
// the source package again, at a time of its own.
func build(dir string) error {
	source, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		return err
	}
	for _, command := range []struct {
		arches string
		args   []string
	}{
		{"amd64", []string{"packaging/build", oldVersion, dir + "/old"}},
		{strings.Join(arches(), " "), []string{"packaging/build", newVersion, dir + "/new"}},
		{"amd64", []string{"packaging/build-tar", dir + "/new/eic-agent-" + newVersion + ".tar.gz", dir + "/tar"}},
		// makepkg refuses to run as root; with the capability it can use Go's cache. pacman makes itself
		// a database when it is asked for what is installed.
		{"amd64", []string{"unshare", "--mount", "sh", "-euc", `
			mount -t tmpfs tmpfs /var/lib/pacman
			mkdir "$2"
			cp packaging/arch/* "$1" "$2"
			cd "$2"
			sed -i "s/^pkgver=.*/pkgver=$3/" PKGBUILD
			export HOME="$2" GOCACHE="$(go env GOCACHE)"
			setpriv --reuid=65534 --inh-caps=+dac_override --ambient-caps=+dac_override makepkg --nodeps --noconfirm`, "sh",
			dir + "/new/eic-agent-" + newVersion + ".tar.gz", dir + "/arch", newVersion}},
		{"amd64", []string{"unshare", "--mount", "--uts", "--net", "sh", "-euc", `
			mount --bind "$1" "$2"
			hostname another
			cd "$2"
			umask 077
			mkdir "$5"
			localedef -i tr_TR -f UTF-8 "$5/tr_TR.UTF-8"
			TZ=Asia/Kathmandu LOCPATH="$5" LC_ALL=tr_TR.UTF-8 packaging/build "$3" "$4"`, "sh", source, elsewhere, newVersion, dir + "/again", dir + "/locales"}},
		{"", []string{"unshare", "--net", "sh", "-euc", `
			unset SOURCE_DATE_EPOCH
			umask 077
			TZ=Asia/Kathmandu rpmbuild --quiet --nodeps --rebuild --target x86_64-linux --define "_topdir $2" --define "_dbpath $2/database" --define '_buildhost localhost' \
				--define 'source_date_epoch_from_changelog 1' --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
				--define '_binary_payload w6.xzdio' --define 'packager eic-agent maintainers <eic-agent@users.noreply.github.com>' "$1"`,
			"sh", dir + "/new/eic-agent-" + newVersion + "-1.src.rpm", dir + "/rebuilt"}},
	} {
		cmd := exec.Command(command.args[0], command.args[1:]...)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000", "ARCHES="+command.arches)
		if slices.Contains(command.args, oldVersion) {
			cmd.Env = append(cmd.Env, "DPKG_DEB_COMPRESSOR_LEVEL=1") // it is only upgraded
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %v\n%s", command.args, err, out)
		}
	}
	return nil
}

// rpmArches are what rpm calls arches.
func rpmArches() (names []string) {
	for _, arch := range arches() {
		names = append(names, map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch])
	}
	return names
}

// deb and rpm are the files of package name at version, for amd64.
func deb(name, version string) string {
	return filepath.Join(folder(version), name+"_"+version+"-1_amd64.deb")
}

func rpm(name, version string) string {
	return rpmFile(name, version, "x86_64")
}

func rpmFile(name, version, arch string) string {
	return filepath.Join(folder(version), name+"-"+version+"-1."+arch+".rpm")
}

func folder(version string) string {
	if version == oldVersion {
		return filepath.Join(built, "old")
	}
	return filepath.Join(built, "new")
}
