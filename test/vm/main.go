// Vm tests the agent on a virtual EC2 instance: `make test-vm`. It needs QEMU,
// mmdebstrap and some 2 GB below the user's cache directory, and no root where
// unprivileged user namespaces are permitted.
//
//	vm [flags] [test]       run the steps
//	vm [flags] shell        boot, and hand out a root shell, for playing
//	vm [flags] run COMMAND  boot, run a shell command as root, exit with its code
//
// For another kernel or other packages, and files of this machine, which are
// in /srv/host of the guest:
//
//	vm -package tcpdump -file motd=/etc/motd run 'cat /srv/host/motd'
//
// docs/virtual-instance.md has the rest.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/test/vm/machine"
)

type settings struct {
	recipe   machine.Recipe
	boot     machine.Options
	packages []debPackage
	keep     bool
}

// A debPackage is a version of the agent's package, "" for that of the checkout, and the
// name that the guest sees it by.
type debPackage struct{ name, version string }

func main() {
	s, args := parse()
	var err error
	code := 0
	switch {
	case len(args) == 0 || len(args) == 1 && args[0] == "test":
		s.packages = []debPackage{{currentDeb, ""}}
		if !s.recipe.SELinux {
			s.packages = append(s.packages, debPackage{previousDeb, previousVersion})
		}
		err = test(s)
	case len(args) == 1 && args[0] == "shell":
		s.packages = []debPackage{{currentDeb, ""}}
		code, err = shell(s)
	case len(args) > 1 && args[0] == "run":
		code, err = runCommand(s, strings.Join(args[1:], " "))
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func parse() (settings, []string) {
	s := settings{recipe: machine.Recipe{Release: machine.Bookworm}, boot: machine.Options{Files: map[string]string{}}}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: vm [flags] [test | shell | run COMMAND]")
		flag.PrintDefaults()
	}
	flag.Func("package", "a further Debian `package` in the image; may be repeated", func(text string) error {
		s.recipe.Packages = append(s.recipe.Packages, text)
		return nil
	})
	flag.Func("release", "`release` of Debian: bookworm (default), or trixie, with systemd listening for sshd and userdbctl as its command", func(text string) error {
		if text != machine.Bookworm && text != machine.Trixie {
			return fmt.Errorf("expected %s or %s", machine.Bookworm, machine.Trixie)
		}
		s.recipe.Release = text
		return nil
	})
	flag.StringVar(&s.recipe.Mirror, "mirror", "", "`URL` of a mirror of Debian")
	flag.Func("file", "`NAME=PATH`: the file PATH of this machine as "+machine.GuestFiles+"/NAME of the guest; may be repeated", func(text string) error {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return fmt.Errorf("it takes NAME=PATH")
		}
		s.boot.Files[name] = path
		return nil
	})
	flag.StringVar(&s.boot.Append, "append", "", "more `words` for the kernel's command line")
	flag.StringVar(&s.boot.Accel, "accel", "", "kvm or tcg; KVM where it works")
	flag.IntVar(&s.boot.Memory, "memory", 1024, "`MiB` of memory")
	flag.BoolVar(&s.boot.Internet, "internet", false, "let the guest reach the Internet")
	flag.BoolVar(&s.recipe.SELinux, "selinux", false, "Debian's policy of SELinux, enforcing; as a test, the steps of that")
	flag.BoolVar(&s.keep, "keep", false, "keep the directory with the logs in any case")
	flag.Parse()
	if s.recipe.SELinux && s.recipe.Release != machine.Bookworm {
		fmt.Fprintln(os.Stderr, "vm: -selinux works with -release bookworm only")
		os.Exit(2)
	}
	if s.recipe.SELinux {
		s.boot.Append = strings.TrimSpace("security=selinux selinux=1 " + s.boot.Append)
	}
	return s, flag.Args()
}

// since is for people.
func since(start time.Time) string { return fmt.Sprintf("%.1f s", time.Since(start).Seconds()) }
