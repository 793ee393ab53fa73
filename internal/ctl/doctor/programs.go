package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
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
			f.unknown(id, "cannot determine the version of %s: %s", path, hostcmd.FirstLine(err))
		case v != own:
			f.problem(versionMismatch, advice("reinstall eic-agent, so all programs have the same version"), "%s has version %q, but eicctl has %q", path, v, own)
		default:
			same = append(same, filepath.Base(path))
		}
	}
	if len(same) > 0 {
		f.ok(id, "%s and eicctl have version %s", strings.Join(same, ", "), own)
	}
	checkPackage(e, f)
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

// versionOf asks a program. The command was asked by the probe, as its account. Of
// the others none is run as root that somebody else could have put there.
func (e *exam) versionOf(path string) (string, error) {
	if p := e.probe(); path == e.server().program() && p.asked && p.fault == "" {
		if p.Command.Version == "" {
			return "", errors.New("it does not run")
		}
		return p.Command.Version, nil
	}
	if err := keyscommand.CheckPath("/", path); err != nil {
		return "", fmt.Errorf("not run: %v", err)
	}
	out, err := run(e.ctx, path, "--version")
	return versionIn(out), err
}

// checkPackage tells which package is installed, and whether its files are as it
// brought them.
func checkPackage(e *exam, f *findings) {
	const id = "package"
	packaged, manager, err := e.packageVersion()
	switch {
	case errors.Is(err, hostcmd.ErrNotFound):
		f.ok(id, "skipped: this host has neither dpkg nor rpm")
		return
	case err != nil:
		f.unknown(id, "cannot determine the installed package: %v", err)
		return
	case packaged == "":
		f.ok(id, "skipped: the agent is not installed as a package")
		return
	}
	verify := []string{manager, "--verify", packageName}
	out, err := run(e.ctx, verify[0], verify[1:]...)
	changed := changedFiles(out)
	switch {
	case len(changed) > 0:
		f.problem(packageModified, advice("reinstall eic-agent to restore them"), "modified files of the package %s %s: %s", packageName, packaged, strings.Join(changed, " "))
	case err != nil && hostcmd.ExitCode(err) < 0:
		f.unknown(id, "the package %s is %s; cannot verify its files: %s", packageName, packaged, hostcmd.FirstLine(err))
	default:
		f.ok(id, "the package %s is %s, and its files are unmodified", packageName, packaged)
	}
}

// packageVersion asks the host's package manager; "" is not installed. Where there
// is a dpkg, rpm is but a program.
func (e *exam) packageVersion() (packaged, manager string, err error) {
	out, err := run(e.ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", packageName)
	manager = "dpkg"
	if errors.Is(err, hostcmd.ErrNotFound) {
		out, err = run(e.ctx, "rpm", "-q", "--qf", "installed %{VERSION}-%{RELEASE}", packageName)
		manager = "rpm"
	}
	if err != nil && hostcmd.ExitCode(err) < 0 {
		return "", "", err
	}
	packaged, _ = strings.CutPrefix(strings.TrimSpace(out), "installed ")
	if err != nil || packaged == strings.TrimSpace(out) {
		return "", manager, nil
	}
	return packaged, manager, nil
}

// changedFiles reads what dpkg --verify and rpm --verify print of files that are
// missing or whose digest is another. Configuration files, marked c, are for the
// administrator to change.
func changedFiles(out string) []string {
	var files []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 || len(fields) > 2 && fields[1] == "c" {
			continue
		}
		path := fields[len(fields)-1]
		if strings.HasPrefix(path, "/") && (fields[0] == "missing" || len(fields[0]) > 2 && fields[0][2] == '5') {
			files = append(files, path)
		}
	}
	return files
}
