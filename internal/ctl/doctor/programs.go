package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/eic-agent/eic-agent/internal/version"
)

// packageName is the agent's, in both kinds of packages.
const packageName = "eic-agent"

// versionIn returns the version in what --version of a program prints: "NAME
// VERSION".
func versionIn(out string) string {
	line, _, _ := strings.Cut(out, "\n")
	_, v, _ := strings.Cut(strings.TrimSpace(line), " ")
	return v
}

// checkPrograms compares the versions of what belongs together.
func checkPrograms(e *exam, f *findings) {
	const id = "version"
	own := version.String()
	var same []string
	for _, path := range e.programPaths() {
		v, err := e.versionOf(path)
		switch {
		case err != nil:
			f.untold(id, "the version of %s: %s", path, said(err))
		case v != own:
			f.problem("version-mismatch", "install eic-agent again, so that all programs are of one version", "%s is %q, but this eicctl is %q", path, v, own)
		default:
			same = append(same, filepath.Base(path))
		}
	}
	if len(same) > 0 {
		f.ok(id, "%s and eicctl are %s", strings.Join(same, ", "), own)
	}
	checkPackage(e, own, f)
}

// programPaths returns the agent's other programs that are there.
func (e *exam) programPaths() []string {
	var paths []string
	add := func(path string) {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			paths = append(paths, path)
		}
	}
	authkeys := e.server().program()
	if authkeys == "" {
		return nil
	}
	add(authkeys)
	for _, dir := range []string{filepath.Dir(authkeys), "/usr/sbin"} {
		add(filepath.Join(dir, "eic-serial-getty"))
	}
	return paths
}

// versionOf asks a program. The command was asked by the probe, as its account.
func (e *exam) versionOf(path string) (string, error) {
	if p := e.probe(); path == e.server().program() && p.Command.Version != "" {
		return p.Command.Version, nil
	}
	if p := e.probe(); path == e.server().program() && p.Command.Run != "" {
		return "", errors.New("it does not run")
	}
	out, err := run(e.ctx, path, "--version")
	return versionIn(out), err
}

// checkPackage compares with the package that is installed.
func checkPackage(e *exam, own string, f *findings) {
	const id = "package"
	packaged, manager, err := e.packageVersion()
	switch {
	case errors.Is(err, errNoProgram):
		f.ok(id, "not applicable: this host has neither dpkg nor rpm")
	case err != nil:
		f.untold(id, "which package is installed: %v", err)
	case packaged == "":
		f.ok(id, "not applicable: the agent was not installed as a package")
	case !sameVersion(packaged, own):
		f.problem("package-mismatch", "install eic-agent again: the programs were replaced by hand, or others come first in PATH", "the package %s is %s by %s, but this eicctl is %s", packageName, packaged, manager, own)
	default:
		f.ok(id, "the package %s is %s, by %s", packageName, packaged, manager)
	}
}

// packageVersion asks dpkg and rpm; "" is not installed.
func (e *exam) packageVersion() (packaged, manager string, err error) {
	out, dpkgErr := run(e.ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", packageName)
	if v, ok := strings.CutPrefix(strings.TrimSpace(out), "installed "); dpkgErr == nil && ok {
		return v, "dpkg", nil
	}
	out, rpmErr := run(e.ctx, "rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}", packageName)
	if rpmErr == nil {
		return strings.TrimSpace(out), "rpm", nil
	}
	for _, err := range []error{dpkgErr, rpmErr} {
		if err != nil && !errors.Is(err, errNoProgram) && exitCode(err) < 0 {
			return "", "", err
		}
	}
	if errors.Is(dpkgErr, errNoProgram) && errors.Is(rpmErr, errNoProgram) {
		return "", "", errNoProgram
	}
	return "", "", nil
}

// sameVersion compares the version of a package with one of a build: v1.2.3 is in
// the package 1.2.3-1. Builds that are no release cannot be compared.
func sameVersion(packaged, built string) bool {
	release, ok := strings.CutPrefix(built, "v")
	if !ok {
		return true
	}
	plain := strings.NewReplacer("~", "", "-", "", "+", "").Replace
	upstream, _, _ := strings.Cut(packaged, "-")
	return strings.HasPrefix(plain(release), plain(upstream))
}
