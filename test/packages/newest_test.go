package packages

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allRPMs brings every rpm of the new version into the root and returns their paths.
func (r *root) allRPMs() (paths []string) {
	r.t.Helper()
	files, err := filepath.Glob(built + "/new/*.rpm")
	if err != nil || len(files) != 2+2*len(arches()) {
		r.t.Fatalf("built %q, %v; want two packages of each architecture, one of none, and the source", files, err)
	}
	for _, file := range files {
		paths = append(paths, r.bring(file))
	}
	return paths
}

// nobody is an unprivileged user of Debian.
var nobody = []string{"--reuid=65534", "--regid=65534", "--clear-groups", "--"}

// asNobody runs a program in the root without privileges.
func (r *root) asNobody(name string, args ...string) string {
	r.t.Helper()
	return r.run("setpriv", slices.Concat(nobody, []string{name}, args)...)
}

// A package unpacks below the current directory.
func TestRPMUnpacks(t *testing.T) {
	t.Parallel()
	r := copyOf(t, newest)
	for _, path := range r.allRPMs() {
		list := r.asNobody("sh", "-ec", `dir=$(mktemp -d) && cd "$dir" && rpm2cpio "$1" >../archive && cpio --quiet -it <../archive && cpio --quiet -id <../archive && find . -type f | grep -q . && cd / && rm -r "$dir" /tmp/archive`, "sh", path)
		names := 0
		for line := range strings.Lines(list) {
			names++
			if name := strings.TrimSpace(line); !strings.HasPrefix(name, "./") && !strings.HasSuffix(path, ".src.rpm") || strings.HasPrefix(name, "/") {
				t.Errorf("%s has the name %q", path, name)
			}
		}
		if names < 2 {
			t.Errorf("%s has %d names", path, names)
		}
	}
	if changed := r.left(); len(changed) > 0 {
		t.Errorf("unpacking changed %q", changed)
	}
}

// Each exception in rpmlint's configuration is needed: one that is not would hide what
// comes later.
func TestRPMLint(t *testing.T) {
	t.Parallel()
	r := copyOf(t, newest)
	paths := r.allRPMs()
	config := r.read(r.bring("../../packaging/rpm/rpmlint.toml"))
	out, err := r.try(nil, "setpriv", slices.Concat(nobody, []string{"rpmlint", "--strict", "--config", "/tmp/rpmlint.toml"}, paths)...)
	if err != nil || !strings.Contains(out, " 0 errors, 0 warnings") {
		t.Errorf("%v\n%s", err, out)
	}
	r.write("/tmp/all.toml", config[:strings.Index(config, "Filters")], 0o644)
	out, err = r.try(nil, "setpriv", slices.Concat(nobody, []string{"rpmlint", "--config", "/tmp/all.toml"}, paths)...)
	if err == nil {
		t.Errorf("rpmlint finds nothing without the exceptions:\n%s", out)
	}
	filters := regexp.MustCompile(`(?m)^    "(.*)",$`).FindAllStringSubmatch(config, -1)
	if len(filters) == 0 {
		t.Error("no exceptions found in the configuration")
	}
	for _, filter := range filters {
		if !regexp.MustCompile(filter[1]).MatchString(out) {
			t.Errorf("rpmlint does not need the exception %q", filter[1])
		}
	}
}
