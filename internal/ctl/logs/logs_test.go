package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a root of files; a content that begins with "->" is a link.
func write(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestJournald(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, ""},
		{"defaults", map[string]string{"etc/systemd/journald.conf": "[Journal]\n#MaxLevelStore=warning\nStorage=auto\nMaxLevelStore=info\n"}, ""},
		{"no storage", map[string]string{"etc/systemd/journald.conf": "[Journal]\nStorage = none\n"}, "journal-storage /etc/systemd/journald.conf line 2"},
		{"a level by name", map[string]string{"usr/lib/systemd/journald.conf": "[Journal]\n\nMaxLevelStore=warning"}, "journal-level /usr/lib/systemd/journald.conf line 3"},
		{"a level by number", map[string]string{"etc/systemd/journald.conf": "[Journal]\nMaxLevelStore=5"}, "journal-level /etc/systemd/journald.conf line 2"},
		{"debug by number", map[string]string{"etc/systemd/journald.conf": "[Journal]\nMaxLevelStore=7"}, ""},
		{"another section", map[string]string{"etc/systemd/journald.conf": "[Other]\nStorage=none"}, ""},
		{"another file counts more", map[string]string{"etc/systemd/journald.conf": "[Journal]\n", "usr/lib/systemd/journald.conf": "[Journal]\nStorage=none"}, ""},
		{"a drop-in", map[string]string{"etc/systemd/journald.conf": "[Journal]\nStorage=auto", "run/systemd/journald.conf.d/x.conf": "[Journal]\nStorage=none"}, "journal-storage /run/systemd/journald.conf.d/x.conf line 2"},
		{"a later drop-in", map[string]string{"etc/systemd/journald.conf.d/a.conf": "[Journal]\nStorage=none", "usr/lib/systemd/journald.conf.d/b.conf": "[Journal]\nStorage=volatile"}, ""},
		{"a drop-in of one name", map[string]string{"etc/systemd/journald.conf.d/a.conf": "[Journal]\n", "usr/lib/systemd/journald.conf.d/a.conf": "[Journal]\nStorage=none"}, ""},
		{"what journald does not know", map[string]string{"etc/systemd/journald.conf": "[Journal]\nMaxLevelStore=err\nMaxLevelStore=\nMaxLevelStore=INFO\nStorage=NONE\n"}, "journal-level /etc/systemd/journald.conf line 2"},
		{"syslog(3) is journald's", map[string]string{"run/systemd/journal/socket": "", "dev/log": "->/run/systemd/journal/dev-log"}, ""},
		{"syslog(3) is another's", map[string]string{"run/systemd/journal/socket": "", "dev/log": ""}, "dev-log /dev/log"},
		{"there is no journald", map[string]string{"dev/log": ""}, ""},
	} {
		got := ""
		for _, g := range Journald(write(t, c.files)) {
			at := g.What[strings.Index(g.What, "/"):]
			if i := strings.Index(at, " is another"); i > 0 {
				at = at[:i]
			} else {
				at = at[:strings.Index(at, " has journald")]
			}
			got += g.ID + " " + at
			if g.Fix == "" {
				t.Errorf("%s: no fix", c.name)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
