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

var errIrregular = errors.New("not a regular file")

// Dirs returns the directories that units of the system stand in, those that count
// most first (systemd.unit(5), "Unit File Load Path"; systemctl show -p UnitPath).
func Dirs() []string {
	return []string{
		"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
		"/etc/systemd/system", "/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
		"/usr/local/lib/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system", "/run/systemd/generator.late",
	}
}

// dirs is Dirs for a system: where /lib is a link to /usr/lib, its units are called those
// of /usr/lib.
func dirs(root string) []string {
	if _, err := os.Readlink(sysroot.Entry(root, "/lib")); err != nil {
		return Dirs()
	}
	return slices.DeleteFunc(Dirs(), func(dir string) bool { return strings.HasPrefix(dir, "/lib/") })
}

// Find returns the file of the unit with exactly that name: the first entry in Dirs. A
// link to a file of another name in Dirs is returned even where it leads nowhere, with that
// name as other: to systemd the unit is then an alias of other. A link to the same name in
// Dirs does not count. The error is ErrMasked for a file that is empty or a link to
// /dev/null, that of the file at path where it cannot be used, and fs.ErrNotExist without
// a path where there is none.
func Find(root, name string) (path, other string, err error) {
	for _, dir := range dirs(root) {
		path := filepath.Join(dir, name)
		target, err := os.Readlink(sysroot.Entry(root, path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && target != "/dev/null":
			if !filepath.IsAbs(target) {
				target = filepath.Join(dir, target)
			}
			if base := filepath.Base(target); !slices.Contains(Dirs(), filepath.Dir(target)) {
				break
			} else if base != name {
				return path, base, nil
			}
			continue
		case err == nil:
			return "", "", ErrMasked
		}
		st, err := os.Stat(sysroot.Path(root, path))
		switch {
		case err != nil:
			return path, "", err
		case st.Mode().IsRegular() && st.Size() == 0:
			return "", "", ErrMasked
		case !st.Mode().IsRegular():
			return path, "", &os.PathError{Op: "open", Path: path, Err: errIrregular}
		}
		return path, "", nil
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
// Dirs that counts more is it, and in one of these that of the more specific name: the
// unit, its template ("x@.service"), what it has before a dash ("x-.service" of
// "x-y.service"); one for all units of the type ("service.d") only where there is no
// other. The names are those of the unit, its aliases after its own. A file that takes
// another away, being empty or a link to /dev/null, is among them. The file without,
// unless it is "", is taken as not there.
//
// systemd before 239 has no names with a dash, before 244 none for the type.
func DropIns(root, without string, names ...string) []string {
	byName := make(map[string]string)
	add := func(dir string) {
		entries, err := os.ReadDir(sysroot.Path(root, dir))
		if err != nil {
			return
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if _, has := byName[e.Name()]; !has && IsDropIn(e.Name()) && path != without {
				byName[e.Name()] = path
			}
		}
	}
	for _, name := range names {
		for _, dir := range dirs(root) {
			for _, name := range dropInNames(name) {
				add(filepath.Join(dir, name+".d"))
			}
		}
	}
	for _, dir := range dirs(root) {
		add(filepath.Join(dir, strings.TrimPrefix(filepath.Ext(names[0]), ".")+".d"))
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list
}

// IsDropIn reports whether systemd reads a file of that name in a directory of drop-ins.
func IsDropIn(name string) bool { return strings.HasSuffix(name, ".conf") && name[0] != '.' }

// dropInNames returns the names under which a unit has drop-ins, the most specific first.
func dropInNames(name string) []string {
	names := []string{name}
	kind := filepath.Ext(name)
	prefix, instance, isInstance := strings.Cut(strings.TrimSuffix(name, kind), "@")
	if isInstance && instance != "" {
		names = append(names, dropInNames(prefix+"@"+kind)...)
	}
	dash := strings.LastIndexByte(strings.TrimSuffix(prefix, "-"), '-')
	if dash <= 0 {
		return names
	}
	built := prefix[:dash+1]
	if instance != "" {
		built += "@" + instance
	}
	return append(names, dropInNames(built+kind)...)
}

// template returns the name of the template of an instance ("x@.service" of "x@1.service"),
// and another name as it is.
func template(name string) string {
	prefix, rest, ok := strings.Cut(name, "@")
	if !ok {
		return name
	}
	return prefix + "@" + filepath.Ext(rest)
}

// instance returns the name of the instance of a template that is the same instance as
// another unit.
func instance(template, like string) string {
	prefix, suffix, _ := strings.Cut(template, "@")
	_, instance, _ := strings.Cut(strings.TrimSuffix(like, filepath.Ext(like)), "@")
	return prefix + "@" + instance + suffix
}

// maxAliases bounds the links from unit to unit, as systemd does.
const maxAliases = 8

// Files returns the files that make up a unit, in the order in which systemd reads them:
// its own and its drop-ins, but for those that are empty or no files. An alias has the
// files of its unit, and an instance those of its template. The error is that of Find.
func Files(root, name string) ([]string, error) {
	names := []string{name}
	path, other, err := Find(root, name)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		path, other, err = Find(root, template(name))
	}
	for range maxAliases {
		if err != nil || other == "" {
			break
		}
		if template(other) == other {
			names = append(names, instance(other, name))
		} else {
			names = append(names, other)
		}
		path, other, err = Find(root, other)
	}
	if err != nil {
		return nil, err
	}
	if other != "" {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("too many aliases")}
	}
	return slices.DeleteFunc(append([]string{path}, DropIns(root, "", names...)...), func(path string) bool {
		st, err := os.Stat(sysroot.Path(root, path))
		return err == nil && st.Size() == 0 || err != nil && !errors.Is(err, fs.ErrPermission) || err == nil && !st.Mode().IsRegular()
	}), nil
}
