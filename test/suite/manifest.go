package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watched are the directories whose files no test may change.
var watched = []string{"bin", "boot", "etc", "lib", "lib32", "lib64", "opt", "sbin", "srv", "usr", "var"}

// unwatched are those below them that change by themselves, and why.
var unwatched = map[string]string{
	"var/cache/eic-agent-test": "the roots that tests run in are kept there",
	"var/log":                  "the host's own daemons write there",
	"var/tmp":                  "where TMPDIR may be",
	"var/lib/systemd":          "the host's own systemd keeps its clock, timers and random seed there",
	"var/lib/private":          "the state of the host's own services",
	"var/lib/containerd":       "the containers that run beside this, or that this runs in",
	"var/lib/docker":           "the containers that run beside this, or that this runs in",
	"var/lib/dhcp":             "the lease of the host's address",
	"var/spool":                "the host's own mail and jobs",
}

// A manifest tells of each file what a change of it changes.
type manifest map[string]string

// takeManifest describes the watched files below root. It follows no link and leaves
// out other file systems that are mounted there.
func takeManifest(root string) (manifest, error) {
	m := make(manifest)
	for _, dir := range watched {
		top := filepath.Join(root, dir)
		var device uint64
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			rel, relErr := filepath.Rel(root, path)
			if relErr != nil {
				return relErr
			}
			if unwatched[rel] != "" {
				return fs.SkipDir
			}
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(path, &st)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return &os.PathError{Op: "stat", Path: path, Err: err}
			}
			if path == top {
				device = st.Dev
			} else if st.Dev != device && entry.IsDir() {
				return fs.SkipDir
			}
			m[rel] = describe(&st)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func describe(st *unix.Stat_t) string {
	changed := time.Unix(st.Mtim.Unix()).UTC().Format("2006-01-02 15:04:05.000000000")
	return fmt.Sprintf("mode %o, owner %d:%d, %d bytes, %s", st.Mode, st.Uid, st.Gid, st.Size, changed)
}

// changes tells what is different in a later manifest.
func (m manifest) changes(later manifest) []string {
	var texts []string
	for path, now := range later {
		switch before, found := m[path]; {
		case !found:
			texts = append(texts, "/"+path+" is new")
		case before != now:
			texts = append(texts, fmt.Sprintf("/%s was %s, is %s", path, before, now))
		}
	}
	for path := range m {
		if _, found := later[path]; !found {
			texts = append(texts, "/"+path+" is gone")
		}
	}
	slices.SortFunc(texts, strings.Compare)
	return texts
}
