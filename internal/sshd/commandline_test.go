package sshd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

func TestListeners(t *testing.T) {
	t.Parallel()
	for cmdline, want := range map[string]string{ // options, -f, flags
		"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups": "[]  []",
		"sshd: /usr/sbin/sshd -D -f /etc/x -o AuthorizedKeysCommand /usr/share/eic %u %f -o AuthorizedKeysCommandUser ec2 -p 22 -o Port=2222 -4 [listener] 1 of 10-100 startups\x00\x00": "[authorizedkeyscommand=/usr/share/eic %u %f authorizedkeyscommanduser=ec2 port=2222] /etc/x [-p 22 -4]",
		"/usr/sbin/sshd\x00-D\x00-f\x00/etc/y\x00-oAuthorizedKeysCommand=/usr/share/eic %u %f\x00-o\x00AuthorizedKeysCommandUser ec2\x00":                                                "[authorizedkeyscommand=/usr/share/eic %u %f authorizedkeyscommanduser=ec2] /etc/y []",
		"sshd: /usr/sbin/sshd -oAUTHORIZEDKEYSCOMMAND=/x --config /y %u -oauthorizedkeyscommanduser=nobody -Dddf/etc/z [listener] 0 of 10-100 startups":                                  "[authorizedkeyscommand=/x --config /y %u authorizedkeyscommanduser=nobody] /etc/z []",
		"sshd: /usr/sbin/sshd -Do AuthorizedKeysCommand=/x -p2222 -h /key -46q [listener] 0 of 10-100 startups":                                                                          "[authorizedkeyscommand=/x] [-p 2222 -h /key -4 -6 -q]",
		"sshd-second: /usr/sbin/sshd-second -o DenyUsers\\t=\\tbob\\\\x [listener] 0 of 10-100 startups":                                                                                 `[denyusers=bob\x]  []`,
		"sshd: alice [priv]": "",
		"sshd-session: /usr/sbin/sshd [listener] 0 of 10-100 startups": "",
		"sshd: alice@pts/0":                    "",
		"sshd: alice -D [listener] 0":          "",
		"/usr/sbin/sshd\x00-T\x00":             "",
		"/usr/sbin/sshd\x00-DR\x00":            "",
		"/usr/sbin/sshd\x00-i\x00":             "",
		"/usr/sbin/sshd\x00-f\x00-R\x00-t\x00": "",
		"vi\x00/etc/ssh/sshd_config\x00":       "",
		"sshd-session: alice [priv]":           "",
		"":                                     "",
	} {
		l, ok := parseListener([]byte(cmdline))
		got := ""
		if ok {
			got = describe(l.line)
		}
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%q: %s, want %s", cmdline, got, want)
		}
	}
}

func describe(c CommandLine) string {
	var options []string
	for _, o := range c.Options {
		options = append(options, o.Keyword+"="+o.Value)
	}
	return fmt.Sprintf("%v %v %v", options, c.Config, c.Flags)
}

// Command lines in every spelling say to sshd -T what they say here.
func TestCommandLinesAsSSHD(t *testing.T) {
	t.Parallel()
	need.Root(t)
	program := need.Program(t, "/usr/sbin/sshd")
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("LogLevel VERBOSE\nPidFile /run/"+name+".pid\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(3, 5))
	spell := func(keyword string) string {
		word := []byte(keyword)
		for i := range word {
			if r.IntN(2) == 0 {
				word[i] = strings.ToLower(string(word[i]))[0]
			} else {
				word[i] = strings.ToUpper(string(word[i]))[0]
			}
		}
		return string(word)
	}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	option := func() string {
		pair := pick("AuthorizedKeysCommand|/bin/x %u --deep /y", "AuthorizedKeysCommand|/bin/z", "AuthorizedKeysCommandUser|nobody", "AuthorizedKeysCommandUser|root", "LogLevel|ERROR", "MaxAuthTries|3")
		keyword, value, _ := strings.Cut(pair, "|")
		text := spell(keyword) + pick("=", " ", "  ", " = ", "= ") + value
		return pick("-o|"+text, "-o"+text, "-Do|"+text, "-4eo"+text, "-qo|"+text) // "|" parts words
	}
	for range 60 {
		words := []string{program}
		add := func(text string) { words = append(words, strings.Split(text, "|")...) }
		for range r.IntN(4) {
			switch r.IntN(4) {
			case 0:
				add(pick("-f|"+dir+"/a", "-f"+dir+"/b", "-Df"+dir+"/a"))
			case 1:
				add(pick("-p|2222", "-p2022", "-ep|44", "-g|30", "-g90"))
			default:
				add(option())
			}
		}
		add("-oAuthorizedKeysCommandUser=root")
		if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, dir) }) {
			add("-f|" + dir + "/b")
		}
		c := parseCommandLine(words)
		if c.Config == "" || c.single {
			t.Fatalf("%q: %+v", words, c)
		}
		// The last -f counts.
		want, err := (&Server{Root: "/", Program: program}).run(t.Context(), dir+"/b", nil, append(slices.Clone(words[1:]), "-T")...)
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		for name, c := range map[string]CommandLine{"words": c, "title": parseTitle(strings.Join(words, " ")), "words of the title": parseCommandLine(parseTitle(strings.Join(words, " ")).Words)} {
			s := &Server{Root: "/", Program: program, ConfigFile: c.Config, Options: c.Options, flags: c.Flags}
			values, _, err := s.Ask(t.Context(), Connection{})
			if err != nil {
				t.Fatalf("%s of %q: %v", name, words, err)
			}
			for keyword, list := range parseValues(want) {
				if !slices.Equal(list, values[keyword]) {
					t.Errorf("%s of %q: %s is %q, sshd says %q", name, words, keyword, values[keyword], list)
				}
			}
		}
	}
}
