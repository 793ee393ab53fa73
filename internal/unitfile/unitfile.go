// Package unitfile reads systemd's unit files where systemd itself cannot be asked,
// as of an image. Paths are those of the system below root, which is / or where an
// image is mounted; no symbolic link leads out of it.
package unitfile

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sysroot"
)

// Prefixes are the characters that may stand before the path of a command, such as
// of ExecStart= (systemd.service(5), "Special executable prefixes").
const Prefixes = "-@:+!"

// ErrMasked is what Find returns for a unit that is a link to /dev/null.
var ErrMasked = errors.New("the unit is masked")

// Dirs returns the directories that units of the system stand in, those that count
// most first (systemd.unit(5), "Unit File Load Path"). Those of generators and
// transient units are not among them.
func Dirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// Find returns the file of the unit with exactly that name: the first in Dirs that
// is regular, or a link to a regular one. A link to a file of another name is
// returned even where it leads nowhere, with that name as other: to systemd the
// unit is then an alias of other. The error is ErrMasked, or fs.ErrNotExist.
func Find(root, name string) (path, other string, err error) {
	for _, dir := range Dirs() {
		path := filepath.Join(dir, name)
		if target, err := os.Readlink(sysroot.Entry(root, path)); err == nil {
			if target == "/dev/null" {
				return "", "", ErrMasked
			}
			if base := filepath.Base(target); base != name {
				return path, base, nil
			}
		}
		if st, err := os.Stat(sysroot.Path(root, path)); err == nil && st.Mode().IsRegular() {
			return path, "", nil
		}
	}
	return "", "", fs.ErrNotExist
}

// LinksTo returns the name of the file that the entry of a unit in one of Dirs is a
// link to, "" where it is no link.
func LinksTo(root, dir, name string) string {
	target, err := os.Readlink(sysroot.Entry(root, filepath.Join(dir, name)))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// DropIns returns the drop-ins of a unit in the order that systemd reads them, which
// is that of their file names. Of two with one file name, that in the directory of
// Dirs that counts more is it, and in one of these that of the name that comes
// first; one for all units of the type ("service.d") is only where there is no other.
// The names are those of the unit, its own first, and its template's ("x@.service")
// after it. A file that takes another away, being empty or a link to /dev/null, is
// among them. The file without, unless it is "", is taken as not there.
func DropIns(root, without string, names ...string) []string {
	byName := make(map[string]string)
	add := func(dir string) {
		entries, err := os.ReadDir(sysroot.Path(root, dir))
		if err != nil {
			return
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if _, has := byName[e.Name()]; !has && strings.HasSuffix(path, ".conf") && path != without {
				byName[e.Name()] = path
			}
		}
	}
	for _, dir := range Dirs() {
		for _, name := range names {
			add(filepath.Join(dir, name+".d"))
		}
	}
	for _, dir := range Dirs() {
		add(filepath.Join(dir, strings.TrimPrefix(filepath.Ext(names[0]), ".")+".d"))
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list
}
