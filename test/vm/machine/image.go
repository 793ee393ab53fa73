package machine

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/test/kept"
)

// packages are what the image has beside Debian's essential ones.
var packages = []string{
	"systemd", "systemd-sysv", "libpam-systemd", "udev", "dbus", "kmod",
	"openssh-server", "login", "util-linux", "iproute2", "nftables", "curl",
	"linux-image-cloud-amd64",
}

// furnish runs inside the new system, before it is packed.
//
//go:embed furnish.sh
var furnish string

// selinux runs inside the new system after furnish, for Recipe.SELinux.
//
//go:embed selinux.sh
var selinux string

// Releases of Debian that an image can be of. Bookworm is the default. From trixie on
// systemd listens for sshd, and sshd has userdbctl as AuthorizedKeysCommand.
const (
	Bookworm = "bookworm"
	Trixie   = "trixie"
)

// A Recipe says what is in an image.
type Recipe struct {
	Release  string   // of Debian
	Packages []string // Debian packages beside the usual ones
	Mirror   string   // of Debian; mmdebstrap's own choice
	SELinux  bool     // with Debian's policy and its labels, to be enforced
}

// An Image is a system that can be booted any number of times; booting does
// not change it.
type Image struct {
	dir string
}

func (i Image) disk() string   { return filepath.Join(i.dir, "root.img") }
func (i Image) kernel() string { return filepath.Join(i.dir, "vmlinuz") }
func (i Image) initrd() string { return filepath.Join(i.dir, "initrd.img") }

// CacheDir is where images are kept between runs.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no place to keep the image: %v", err)
	}
	return filepath.Join(dir, "eic-agent-vm"), nil
}

// Make returns the image of the recipe, from the cache below CacheDir or, when
// there is none, newly made with mmdebstrap, whose messages go to log. It
// needs no root where unprivileged user namespaces are permitted.
func (r Recipe) Make(log io.Writer) (image Image, cached bool, err error) {
	cache, err := CacheDir()
	if err != nil {
		return Image{}, false, err
	}
	dir := filepath.Join(cache, r.kind()+"-"+r.hash())
	cached, err = kept.Dir(dir, func(work string) error { return r.build(work, log) })
	return Image{filepath.Join(dir, "image")}, cached, err
}

// kind names the images of which the newest is kept.
func (r Recipe) kind() string {
	kind := r.Release
	if r.SELinux {
		kind += "-selinux"
	}
	if len(r.Packages) > 0 {
		kind += "-more"
	}
	return kind
}

func (r Recipe) all() []string {
	all := slices.Concat(packages, r.Packages)
	if r.Release == Trixie {
		all = append(all, "procps", "systemd-userdbd")
	}
	if r.SELinux {
		all = append(all, "selinux-policy-default")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// hash names the image. What Debian's archive has to offer that day is not
// part of it.
func (r Recipe) hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", r.Release, r.all(), r.Mirror, furnish, assemble)
	if r.SELinux {
		io.WriteString(h, selinux+setLabels)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// assemble makes the disk of the packed system: assemble TAR IMAGE. The owners
// of the files are right only for root, real or of a user namespace.
const assemble = `set -eu
umask 022
mkdir "$2" tree
tar -xpf "$1" -C tree --numeric-owner --exclude='./dev/*'
mv tree/boot/vmlinuz-* "$2/vmlinuz"
mv tree/boot/initrd.img-* "$2/initrd.img"
PATH=$PATH:/sbin:/usr/sbin
mke2fs -q -t ext4 -L root -E root_owner=0:0 -d tree "$2/root.img" 3G
chmod 644 "$2"/*
rm -rf tree "$1"`

// setLabels gives the files of an image the labels that the script selinux has printed.
// It says what it does, and ends well in any case.
const setLabels = `PATH=$PATH:/sbin:/usr/sbin
debugfs -w -f labels image/root.img >/dev/null`

func (r Recipe) build(work string, log io.Writer) error {
	if err := os.WriteFile(filepath.Join(work, "furnish.sh"), []byte(furnish), 0o755); err != nil {
		return err
	}
	fmt.Fprintf(log, "I: making an image of Debian %s, which takes minutes\n", r.Release)
	args := []string{"--variant=minbase", "--include=" + strings.Join(r.all(), ","),
		"--customize-hook=chroot \"$1\" sh -s < furnish.sh"}
	if r.SELinux {
		if err := os.WriteFile(filepath.Join(work, "selinux.sh"), []byte(selinux), 0o755); err != nil {
			return err
		}
		args = append(args, "--customize-hook=chroot \"$1\" sh -s < selinux.sh > labels")
	}
	args = append(args, r.Release, "root.tar")
	if r.Mirror != "" {
		args = append(args, r.Mirror)
	}
	if err := run(work, log, "mmdebstrap", args...); err != nil {
		return err
	}
	io.WriteString(log, "I: making the disk\n")
	shell := []string{"sh", "-c", assemble, "assemble", "root.tar", "image"}
	if os.Geteuid() != 0 {
		shell = slices.Concat([]string{"unshare", "--map-root-user", "--map-auto"}, shell)
	}
	if err := run(work, log, shell[0], shell[1:]...); err != nil || !r.SELinux {
		return err
	}
	return run(work, log, "sh", "-c", setLabels)
}

func run(dir string, log io.Writer, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("making the image: %s: %w", name, err)
	}
	return nil
}
