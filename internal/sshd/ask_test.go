package sshd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/need"
)

// real returns a Server with a configuration for the host's own sshd. DIR in the text
// is the directory of the file.
func real(t *testing.T, text string, files map[string]string) *Server {
	t.Helper()
	need.Root(t)
	dir := t.TempDir()
	all := map[string]string{"sshd_config": text}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		path := filepath.Join(dir, name)
		text = strings.ReplaceAll(text, "DIR", dir)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return &Server{Root: "/", Program: need.Program(t, "/usr/sbin/sshd"), ConfigFile: dir + "/sshd_config"}
}

// Every criterion of sshd_config(5) that this sshd takes is judged by sshd itself.
func TestMatchCriteria(t *testing.T) {
	t.Parallel()
	conn := Connection{User: "root", Host: "client.example", Addr: "10.1.2.3", LocalAddr: "10.9.9.9", LocalPort: 2222, RDomain: "blue"}
	for criteria, holds := range map[string]bool{
		"User root":                        true,
		"User alice,ro?t":                  true,
		"User *,!root":                     false,
		"User alice":                       false,
		"Group root":                       true,
		"Group nogroup":                    false,
		"Host *.example":                   true,
		"Host 10.1.2.3":                    false,
		"LocalAddress 10.9.0.0/16":         true,
		"LocalAddress 10.8.0.0/16":         false,
		"LocalPort 2222":                   true,
		"LocalPort 22":                     false,
		"RDomain blue":                     true,
		"RDomain red":                      false,
		"Address 10.1.0.0/16":              true,
		"Address 10.1.2.?":                 true,
		"Address 10.2.0.0/16":              false,
		"All":                              true,
		"User root Address 10.0.0.0/8":     true,
		"User root Address 11.0.0.0/8":     false,
		"user root localport 2222 host *e": true,
		"Invalid-User":                     false,
		"Version OpenSSH_*":                true, // since 10.0
		"Version OpenSSH_1.*":              false,
	} {
		t.Run(criteria, func(t *testing.T) {
			t.Parallel()
			s := real(t, "AuthorizedKeysCommand /global\nAuthorizedKeysCommandUser root\nMatch "+criteria+"\n\tAuthorizedKeysCommand /inside %u\n", nil)
			e, err := s.Effective(t.Context(), conn)
			if IsBroken(err) && (criteria == "Invalid-User" || strings.HasPrefix(criteria, "Version ")) { // since OpenSSH 9.9 and 10.0
				return
			}
			want, line := "/global", 1
			if holds {
				want, line = "/inside %u", 4
			}
			if err != nil || e.Command != want || e.CommandFrom.Line != line || e.User != "root" || e.UserFrom.Line != 2 || e.How != "sshd -T" {
				t.Errorf("got %+v, %v, want %s of line %d", e, err, want, line)
			}
			outside, block, err := s.OutsideMatch(t.Context(), must(s.Config()), conn)
			if err != nil || outside == holds || holds && block.Line != 3 {
				t.Errorf("outside: %v, %+v, %v", outside, block, err)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// For the zero Connection counts what counts for everybody, whatever blocks there are
// for somebody.
func TestAnybody(t *testing.T) {
	t.Parallel()
	s := real(t, "Include DIR/d/*.conf\nMatch LocalPort 2222\nAuthorizedKeysCommand /port\nMatch LocalAddress 10.0.0.1\nAuthorizedKeysCommand /address\nMatch RDomain x\nAuthorizedKeysCommand /domain\nMatch User root\nAuthorizedKeysCommand /root\n",
		map[string]string{"d/10.conf": "# none\nAUTHORIZEDKEYSCOMMAND = /usr/bin/eic-authkeys %u \n", "d/20.conf": "AuthorizedKeysCommand /later\nauthorizedkeyscommanduser root\n"})
	e, err := s.Effective(t.Context(), Connection{})
	if err != nil || e.Owner != OwnerAgent || filepath.Base(e.CommandFrom.File) != "10.conf" || e.CommandFrom.Line != 2 || filepath.Base(e.UserFrom.File) != "20.conf" {
		t.Errorf("got %+v, %v", e, err)
	}
	s.Options = []Setting{{Keyword: KeywordCommand, Value: "/of/the/command/line %u", Option: "process 1"}}
	if e, err = s.Effective(t.Context(), Connection{}); err != nil || e.Command != "/of/the/command/line %u" || e.CommandFrom.Option != "process 1" {
		t.Errorf("with -o: %+v, %v", e, err)
	}
	if e, err = s.Effective(t.Context(), Connection{LocalPort: 2222}); err != nil || e.Command != "/port" || e.CommandFrom.Line != 3 {
		t.Errorf("at another port: %+v, %v", e, err)
	}
}

// A block for all groups holds for everybody who exists.
func TestAnybodysGroup(t *testing.T) {
	t.Parallel()
	for criteria, want := range map[string]string{
		"Group *": "/groups", "group=*,!root": "/groups", "Group nosuch": "/global", "Group nosuch,!*": "/global",
		"Group * User nobody": "/global", "User nosuch,nobody": "/global", "LocalPort 9 Group *": "/global",
	} {
		s := real(t, "AuthorizedKeysCommand /global\nAuthorizedKeysCommandUser root\nMatch "+criteria+"\nAuthorizedKeysCommand /groups\n", nil)
		if e, err := s.Effective(t.Context(), Connection{}); err != nil || e.Command != want {
			t.Errorf("%s: %q, %v, want %q", criteria, e.Command, err, want)
		}
	}
	s := real(t, "AuthorizedKeysCommand /global\nAuthorizedKeysCommandUser root\nMatch Group *,!root\nAuthorizedKeysCommand /groups\n", nil)
	last := Sample{}
	for _, one := range must(s.Survey(t.Context())) {
		last = one
	}
	if last.For != "user=root" || last.Effective.Command != "/global" {
		t.Errorf("of the excepted group: %+v", last)
	}
}

// What counts at the lowest port comes first, in whatever order the kernel lists the
// sockets; what counts at the others, and for whom a block excepts, is asked, too.
func TestSurveyEverywhere(t *testing.T) {
	t.Parallel()
	at := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2222"), netip.MustParseAddrPort("127.0.0.1:2223"), netip.MustParseAddrPort("127.0.0.2:2222")}
	const text = "AuthorizedKeysCommand /global\nAuthorizedKeysCommandUser root\nMatch LocalPort 2223\nAuthorizedKeysCommand /port\nMatch LocalAddress 127.0.0.2\nAuthorizedKeysCommand /address\nMatch User *,!alice,!b*\nAuthorizedKeysCommand /most\n"
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		s := real(t, text, nil)
		s.Listeners = []Listener{{PID: os.Getpid()}}
		for _, i := range order {
			s.Listeners[0].Endpoints = append(s.Listeners[0].Endpoints, at[i])
		}
		var got []string
		for _, one := range must(s.Survey(t.Context())) {
			got = append(got, fmt.Sprint(one.For, " ", one.Effective.Command))
			if one.Err != nil {
				t.Error(one.For, one.Err)
			}
		}
		want := []string{
			"anybody /most", "anybody at 127.0.0.2 port 2222 /address", "anybody at 127.0.0.1 port 2223 /port",
			"Match LocalPort 2223 /port", "Match LocalAddress 127.0.0.2 /address", "Match User *,!alice,!b* /most", "user=alice /global", "user=b /global",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", order, got, want)
		}
	}
}

// Other keywords are found in the same way.
func TestPlace(t *testing.T) {
	t.Parallel()
	s := real(t, "LogLevel INFO\nMatch User root\n\tInclude DIR/in.conf\n\tPubkeyAuthentication no\nMatch all\nX11Forwarding yes\n", map[string]string{"in.conf": "LogLevel ERROR\nMatch Address 10.0.0.0/8\nLogLevel QUIET\n"})
	config := must(s.Config())
	for _, c := range []struct {
		keyword, value, file string
		conn                 Connection
		line                 int
	}{
		{"LogLevel", "INFO", "sshd_config", Connection{User: "nobody"}, 1},
		{"loglevel", "ERROR", "in.conf", Connection{User: "root", Addr: "10.0.0.1"}, 1},
		{"PubkeyAuthentication", "no", "sshd_config", Connection{User: "root"}, 4},
		{"X11Forwarding", "yes", "sshd_config", Connection{}, 6},
		{"PubkeyAuthentication", "yes", ".", Connection{}, 0},
		{"MaxAuthTries", "6", ".", Connection{}, 0},
	} {
		values, _, err := s.Ask(t.Context(), c.conn)
		if err != nil || values.Get(c.keyword) != c.value {
			t.Errorf("%s of %+v: %q, %v, want %q", c.keyword, c.conn, values.Get(c.keyword), err, c.value)
		}
		set, err := s.Place(t.Context(), config, c.keyword, c.conn)
		if err != nil || filepath.Base(set.File) != c.file || set.Line != c.line {
			t.Errorf("%s of %+v: %+v, %v, want %s line %d", c.keyword, c.conn, set, err, c.file, c.line)
		}
	}
}

// A configuration is broken if sshd -t says so, and not if a question is refused.
func TestBroken(t *testing.T) {
	t.Parallel()
	s := real(t, "NoSuchKeyword yes\n", nil)
	if _, err := s.Effective(t.Context(), Connection{}); !IsBroken(err) || !strings.Contains(err.Error(), "NoSuchKeyword") {
		t.Errorf("%v", err)
	}
	s = real(t, "Port 22\n", nil)
	if _, err := s.Effective(t.Context(), Connection{User: "a,lport=2222"}); !isUnknown(err) {
		t.Errorf("%v", err)
	}
	// Without host keys it is asked all the same.
	s = real(t, "HostKey /nonexistent\nAuthorizedKeysCommand none\n", nil)
	if e, err := s.Effective(t.Context(), Connection{}); err != nil || e.Owner != OwnerNone || e.CommandFrom.Line != 2 {
		t.Errorf("%+v, %v", e, err)
	}
}

// stub is a Server whose sshd is a shell script. Tests that run one are not parallel:
// a program that another test starts might hold the script open for writing.
func stub(t *testing.T, script string) *Server {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/sshd", []byte("#!/bin/sh\n"+script+"\n"), 0o755), os.WriteFile(dir+"/config", []byte("Port 22\nMatch User x\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return &Server{Root: "/", Program: dir + "/sshd", ConfigFile: dir + "/config"}
}

// What versions of sshd do otherwise.
func TestVersionsOfAnswers(t *testing.T) {
	need.Root(t)
	privsep := t.TempDir() + "/sshd"
	const good = "echo authorizedkeyscommand /x; echo authorizedkeyscommanduser y\n"
	for name, c := range map[string]struct {
		script string
		err    func(error) bool
	}{
		"mixed case":                  {"echo 'AuthorizedKeysCommandUser y'; echo 'AUTHORIZEDKEYSCOMMAND  /x '", nil},
		"no rdomain before 7.8":       {"case \"$*\" in *rdomain*) echo 'Invalid test mode specification rdomain=' >&2; exit 1;; esac\n" + good, nil},
		"a directory is missing":      {"[ -d " + privsep + " ] || { echo 'Missing privilege separation directory: " + privsep + "' >&2; exit 255; }\n" + good, nil},
		"host keys are missing":       {"case \"$*\" in *' -h '*) ;; *) echo 'sshd: no hostkeys available -- exiting.' >&2; exit 1;; esac\n" + good, nil},
		"a directory, of a quiet one": {"[ -d " + privsep + "3 ] || { case \"$*\" in *' -d') printf 'debug1: sshd version\\r\\nMissing privilege separation directory: %s\\r\\n' " + privsep + "3 >&2;; esac; exit 255; }\n" + good, nil},
		"both are missing":            {"[ -d " + privsep + "2 ] || { echo 'Missing privilege separation directory: " + privsep + "2' >&2; exit 255; }\ncase \"$*\" in *' -h '*) ;; *) echo 'sshd: no hostkeys available -- exiting.' >&2; exit 1;; esac\n" + good, nil},
		"-C is refused":               {"case \"$*\" in *' -C '*) echo 'Config test connection parameter (-C) provided without test mode (-T)' >&2; exit 1;; esac\n" + good, isUnknown},
		"-t is refused too":           {"echo 'bad configuration' >&2; exit 255", IsBroken},
		"nothing is printed":          {"exit 0", isUnknown},
		"a signal":                    {"kill -9 $$", isUnknown},
		"a directory of another way":  {"echo 'Missing privilege separation directory: x' >&2; exit 255", IsBroken},
	} {
		e, err := stub(t, c.script).Effective(t.Context(), Connection{})
		switch {
		case c.err == nil && (err != nil || e.Command != "/x" || e.User != "y"):
			t.Errorf("%s: %+v, %v", name, e, err)
		case c.err != nil && !c.err(err):
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(privsep + "*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// An sshd that answers -G alone is believed where no Match block matters.
	s := stub(t, "case \"$*\" in *' -T '*) exit 1;; esac\n"+good)
	if err := os.WriteFile(s.ConfigFile, []byte("Port 22\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Effective(t.Context(), Connection{}); err != nil || e.Command != "/x" || e.How != "sshd -G" {
		t.Errorf("-G: %+v, %v", e, err)
	}
}

// A host that is too slow says nothing against the configuration.
func TestSlow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := stub(t, "exec sleep 60").Effective(ctx, Connection{}); !isUnknown(err) {
		t.Errorf("got %v", err)
	}
}

// A dump means the same in whatever case and order.
func TestDumps(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	keywords := map[string][]string{"PubkeyAcceptedAlgorithms": {"ssh-ed25519"}, "RequiredRSASize": {"1024"}, "AllowUsers": {"a b", "c@10.0.0.0/8"}, "AuthorizedKeysCommand": {"/Usr/Bin/X %u"}, "LogLevel": {"INFO"}, "ListenAddress": {"0.0.0.0:22", "[::]:22"}}
	for range 200 {
		var lines []string
		for k, list := range keywords {
			var group string
			for _, v := range list {
				word := []byte(k)
				for i, c := range word {
					switch r.IntN(3) {
					case 0:
						word[i] = strings.ToUpper(string(c))[0]
					case 1:
						word[i] = strings.ToLower(string(c))[0]
					}
				}
				group += string(word) + strings.Repeat(" ", 1+r.IntN(2)) + v + "\n"
			}
			lines = append(lines, group)
		}
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		values := parseValues(strings.Join(lines, ""))
		for k, want := range keywords {
			if got := values.All(strings.ToUpper(k)); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s: %q, want %q in %q", k, got, want, lines)
			}
		}
	}
	values := parseValues("pubkeyacceptedkeytypes x\n")
	if values.Get("PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes") != "x" || values.Get("none") != "" || values.All("none") != nil {
		t.Errorf("%v", values)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	s := &Server{at: []endpoint{{anyServer, 22}}}
	fields, err := s.fields(t.Context(), Connection{User: "al=ice", Addr: "2001:db8::1"})
	if got := spec(fields); err != nil || got != "user=al=ice,host=2001:db8::1,addr=2001:db8::1,laddr=192.0.2.2,lport=22,rdomain=" {
		t.Errorf("%q, %v", got, err)
	}
}

func isUnknown(err error) bool {
	_, ok := errors.AsType[*UnknownError](err)
	return ok
}
