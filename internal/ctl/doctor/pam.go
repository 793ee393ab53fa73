package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxIncludes bounds files of PAM that include each other.
const maxIncludes = 8

// A pamLine is a line of a file of pam.d(5) for the account stage.
type pamLine struct {
	module    string // pam_access.so
	arguments []string
	place     string
}

// accountStage returns the lines by which PAM decides whether an account may log in, those of
// included files in their place.
func accountStage(dirs []string, service string, depth int) (list []pamLine) {
	if depth > maxIncludes {
		return nil
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, service)
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		const joined = "\x00" // where a line was continued
		next := 1
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", joined)) {
			number := next
			next += 1 + strings.Count(line, joined)
			line, _, _ = strings.Cut(strings.ReplaceAll(line, joined, " "), "#")
			kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if kind == "@include" {
				list = append(list, accountStage(dirs, strings.TrimSpace(rest), depth+1)...)
				continue
			}
			fields := strings.Fields(line)
			if len(fields) < 3 || strings.ToLower(strings.TrimPrefix(fields[0], "-")) != "account" {
				continue
			}
			// Between brackets a control has blanks.
			fields = fields[1:]
			if strings.HasPrefix(fields[0], "[") {
				end := slices.IndexFunc(fields, func(word string) bool { return strings.HasSuffix(word, "]") })
				fields = fields[max(end, 0):]
			}
			switch {
			case len(fields) < 2:
			case fields[0] == "include" || fields[0] == "substack":
				list = append(list, accountStage(dirs, fields[1], depth+1)...)
			default:
				list = append(list, pamLine{filepath.Base(fields[1]), fields[2:], fmt.Sprintf("%s line %d", path, number)})
			}
		}
		return list
	}
	return nil
}

// rules are the files of modules that keep accounts out by rules of the administrator, and
// the argument that names another file.
var rules = map[string]struct{ argument, file string }{
	"pam_access.so":   {"accessfile=", "/etc/security/access.conf"},
	"pam_time.so":     {"conffile=", "/etc/security/time.conf"},
	"pam_listfile.so": {"file=", ""},
}

// checkPAM names modules of PAM whose rules it does not apply: whether these let the user in
// is unknown.
func checkPAM(e *exam, f *findings) {
	if e.server().value("usepam") != "yes" {
		return
	}
	for _, line := range accountStage([]string{"/etc/pam.d", "/usr/lib/pam.d"}, "sshd", 0) {
		of, ok := rules[line.module]
		if !ok {
			continue
		}
		for _, argument := range line.arguments {
			if file, ok := strings.CutPrefix(argument, of.argument); ok {
				of.file = file
			}
		}
		if hasRules(of.file) {
			f.unknown("user-pam", "whether PAM lets %s in is unknown: %s (%s) goes by %s", e.User, line.module, line.place, of.file)
		}
	}
}

// hasRules reports whether a file has lines that are no comments. Of one that cannot be
// read that is not known, and it may.
func hasRules(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return !os.IsNotExist(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return true
		}
	}
	return false
}
