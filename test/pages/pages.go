// Package pages reads the commands of the project's pages, so that tests run them as a
// reader would.
package pages

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Section returns a section of a page in Markdown.
func Section(t testing.TB, page, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(read(t, page), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// Indented returns the lines of a text in Markdown that are indented, as commands are.
func Indented(text string) []string {
	var lines []string
	for _, match := range regexp.MustCompile(`(?m)^    (.*)$`).FindAllStringSubmatch(text, -1) {
		lines = append(lines, match[1])
	}
	return lines
}

// Literal returns the lines that a page shows as they are to be typed: a manual page in its
// displays, another one indented or in a block of sh.
func Literal(t testing.TB, page string) []string {
	t.Helper()
	text := read(t, page)
	if strings.HasSuffix(page, ".md") {
		for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(text, -1) {
			text += "\n    " + strings.ReplaceAll(block[1], "\n", "\n    ") + "\n"
		}
		return Indented(text)
	}
	var lines []string
	display := false
	for line := range strings.Lines(text) {
		line = unescape.Replace(strings.TrimSuffix(line, "\n"))
		if one, found := strings.CutPrefix(line, ".Dl "); found {
			lines = append(lines, regexp.MustCompile(`^"(.*)"$`).ReplaceAllString(one, "$1"))
		} else if strings.HasPrefix(line, ".Bd ") || line == ".Ed" {
			display = line != ".Ed"
		} else if display {
			lines = append(lines, line)
		}
	}
	return lines
}

var unescape = strings.NewReplacer(`\e`, `\`, `\(dq`, `"`, `\(aq`, `'`)

// Commands joins the lines of each command, and leaves out prompts, comments, and what does not
// begin like one.
func Commands(lines []string, begin *regexp.Regexp) []string {
	var commands []string
	begun := ""
	for _, line := range lines {
		if begun == "" {
			if line = prompt.ReplaceAllString(line, ""); !begin.MatchString(line) {
				continue
			}
		}
		line = begun + line
		if begun = ""; strings.HasSuffix(line, `\`) || strings.HasSuffix(line, "|") {
			begun = line + "\n"
			continue
		}
		commands = append(commands, comment.ReplaceAllString(line, ""))
	}
	return commands
}

var (
	prompt  = regexp.MustCompile(`^\s*(\$ )?`)
	comment = regexp.MustCompile(`\s+#( .*)?$`)
)

func read(t testing.TB, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
