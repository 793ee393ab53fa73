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
// Dirs does not count, nor does one to a name that the unit cannot have, as a template's to
// an instance. The error is ErrMasked for a file that is empty or a link to /dev/null, that
// of the file at path where it cannot be used, and fs.ErrNotExist without a path where
// there is none.
func Find(root, name string) (path, other string, err error) {
	for _, dir := range dirs(root) {
		path, other, err := findIn(root, dir, name)
		if path != "" || err != nil {
			return path, other, err
		}
	}
	return "", "", fs.ErrNotExist
}

// findIn is Find for one directory; path is "" where there is none.
func findIn(root, dir, name string) (path, other string, err error) {
	path = filepath.Join(dir, name)
	target, err := os.Readlink(sysroot.Entry(root, path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", nil
	case err == nil && target != "/dev/null":
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		if base := filepath.Base(target); !slices.Contains(Dirs(), filepath.Dir(target)) {
			break
		} else if base != name && mayAlias(name, base) {
			return path, base, nil
		}
		return "", "", nil
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

// mayAlias reports whether systemd takes a link from one unit to another for an alias: both
// are instances of the same name, both templates or both neither, or an instance leads to a
// template.
func mayAlias(name, other string) bool {
	_, of, isInstance := parts(name)
	_, otherOf, otherIsInstance := parts(other)
	return filepath.Ext(name) == filepath.Ext(other) && isInstance == otherIsInstance && (of == otherOf || of != "" && otherOf == "")
}

// parts splits the name of a unit: "x", "1" and true for "x@1.service", without "1" for a
// template, and "x", "" and false for "x.service".
func parts(name string) (prefix, instance string, at bool) {
	return strings.Cut(strings.TrimSuffix(name, filepath.Ext(name)), "@")
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
	prefix, _, at := parts(name)
	if !at {
		return name
	}
	return prefix + "@" + filepath.Ext(name)
}

// instance returns the name of the same instance of a template as another unit is of its
// own, and another name as it is.
func instance(name, like string) string {
	prefix, own, at := parts(name)
	if _, of, _ := parts(like); at && own == "" {
		return prefix + "@" + of + filepath.Ext(name)
	}
	return name
}

// maxAliases bounds the links from unit to unit, as systemd does.
const maxAliases = 8

// resolve returns the file that a name leads to, by links or as an instance of a template.
// The error is that of Find.
func resolve(root, name string) (path string, err error) {
	path, other, err := Find(root, name)
	for range maxAliases {
		if path == "" && errors.Is(err, fs.ErrNotExist) {
			path, other, err = Find(root, template(name))
		}
		if err != nil || other == "" {
			return path, err
		}
		name = other
		path, other, err = Find(root, name)
	}
	return "", &os.PathError{Op: "open", Path: path, Err: errors.New("too many aliases")}
}

// names returns all names of the unit whose file is at path, that name first: those that
// lead to the file by links, as far as systemd looks for them.
func names(root, name, path string) []string {
	base := filepath.Base(path)
	list := []string{name}
	add := func(name string) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	add(instance(base, name))
	for _, other := range linking(root, name, base) {
		file, err := resolve(root, other)
		if err != nil {
			continue
		}
		switch instance(filepath.Base(file), other) {
		case name:
			add(other)
		case base:
			// An instance may be a unit of its own.
			other = instance(other, name)
			if file, err := resolve(root, other); err == nil && filepath.Base(file) == base {
				add(other)
			}
		}
	}
	return list
}

// linking returns the names of the links to a unit or the file of that name, also those
// over other links. Not all need count.
func linking(root, name, base string) []string {
	links := make(map[string][]string)
	for _, dir := range dirs(root) {
		entries, _ := os.ReadDir(sysroot.Path(root, dir))
		for _, e := range entries {
			if e.Type() == fs.ModeSymlink {
				target := LinksTo(root, dir, e.Name())
				links[target] = append(links[target], e.Name())
			}
		}
	}
	list := []string{name, base}
	for i := 0; i < len(list); i++ {
		for _, target := range []string{list[i], instance(list[i], name), template(list[i])} {
			for _, other := range links[target] {
				if !slices.Contains(list, other) {
					list = append(list, other)
				}
			}
		}
	}
	return list[2:]
}

// Files returns the files that make up a unit, in the order in which systemd reads them:
// its own and its drop-ins under all its names, but for those that are empty or no files.
// An alias has the files of its unit, and an instance those of its template. The error is
// that of Find.
//
// systemd before 243 knows only those other names of a unit that were asked for, and before
// 248 none that is a link from an instance to a template.
func Files(root, name string) ([]string, error) {
	path, err := resolve(root, name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append([]string{path}, DropIns(root, "", names(root, name, path)...)...), func(path string) bool {
		st, err := os.Stat(sysroot.Path(root, path))
		return err == nil && st.Size() == 0 || err != nil && !errors.Is(err, fs.ErrPermission) || err == nil && !st.Mode().IsRegular()
	}), nil
}
