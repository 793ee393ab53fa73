package config

import (
	"strings"
	"testing"
)

func TestPermits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		deny, allow string // words
		permitted   string
		refused     string
	}{
		{"", "", "root ec2-user a i-0123456789abcdef0.port0", ""},
		{"root", "", "ec2-user roots ROOT toor", "root"},
		{"root admin", "", "ec2-user", "root admin"},
		{"r*", "", "ec2-user a-r", "root r rr"},
		{"?", "", "ab", "a b"},
		{"[a-c]x", "", "dx a ax2", "ax bx cx"},
		{"[^a]*", "", "a ab", "b ba"},
		{"*", "", "", "root a"},
		{`a\b`, "", "a", "ab"},
		{"[!d]*", "", "daemon d", "root r"},
		{"", "[!r]*", "daemon", "root r"},
		{"[[:lower:]]*", "", "Root 1a", "root"},
		{"", "[![:digit:]]*", "root", "1a"},
		{"[]r]*", "", "a", "root"},
		{`[\r-]*`, "", "a", "root"},
		{"[!]r]*", "", "root", "a"},
		{"", "ec2-user", "ec2-user", "root ec2-use ec2-user2 EC2-USER"},
		{"", "a* b", "a ab b", "bb c"},
		{"root", "*", "a", "root"},
		{"root", "root", "", "root a"},
		{"*", "root", "", "root a"},
		{"a*", "ab", "", "a ab b"},
		{"*.port*", "", "root", "i-0123456789abcdef0.port0"},
		// check refuses what is not a pattern. It lets nobody in.
		{"[", "", "", "root ["},
		{"%wheel", "", "", "root"},
		{"", "[", "", "root ["},
	} {
		u := Users{Deny: strings.Fields(test.deny), Allow: strings.Fields(test.allow)}
		for _, user := range strings.Fields(test.permitted) {
			if !u.Permits(user) {
				t.Errorf("deny %q, allow %q: %q is refused", test.deny, test.allow, user)
			}
		}
		for _, user := range strings.Fields(test.refused) {
			if u.Permits(user) {
				t.Errorf("deny %q, allow %q: %q is permitted", test.deny, test.allow, user)
			}
		}
	}
}

func TestPermitsCaller(t *testing.T) {
	t.Parallel()
	const alice, bob = "arn:aws:sts::123456789012:assumed-role/dba/alice", "arn:aws:iam::123456789012:user/bob"
	u := Users{Map: []UserMap{
		{"arn:aws:sts::*:assumed-role/dba/*", []string{"postgres", "pg-*"}},
		{bob, []string{"*"}},
	}}
	for _, test := range []struct {
		caller, user string
		want         bool
	}{
		{alice, "postgres", true}, {alice, "pg-1", true}, {alice, "root", false}, {alice, "", false},
		{bob, "root", true}, {bob, "postgres", true},
		{"arn:aws:iam::123456789012:user/bobby", "root", false}, {"", "postgres", false}, {"", "root", false}, {"*", "root", false},
	} {
		if got := u.PermitsCaller(test.caller, test.user); got != test.want {
			t.Errorf("PermitsCaller(%q, %q) = %v, want %v", test.caller, test.user, got, test.want)
		}
	}
	for _, caller := range []string{"", alice, "anything"} {
		if !new(Users).PermitsCaller(caller, "root") {
			t.Errorf("without a row %q is refused", caller)
		}
	}
	everybody := Users{Map: []UserMap{{"arn:*:*:*:*:*", []string{"*"}}}}
	if everybody.PermitsCaller("", "root") || !everybody.PermitsCaller(alice, "root") {
		t.Error("a row for everybody is for everybody with a name")
	}
}

// The patterns match as those of IAM's ArnLike: *, ? and nothing else in each
// part by itself.
func TestMaps(t *testing.T) {
	t.Parallel()
	var u Users
	if !u.Maps("postgres") {
		t.Error("without rows there is nobody who may push")
	}
	u.Map = []UserMap{{Caller: "arn:aws:iam::1:user/a", Users: []string{"root"}}, {Caller: "arn:aws:iam::1:user/b", Users: []string{"post*"}}}
	for user, want := range map[string]bool{"postgres": true, "root": true, "alice": false} {
		if got := u.Maps(user); got != want {
			t.Errorf("Maps(%q) = %v", user, got)
		}
	}
}

func TestMatchARN(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, matches, others string // words
	}{
		{"arn:aws:iam::123456789012:user/bob", "arn:aws:iam::123456789012:user/bob",
			"arn:aws:iam::123456789012:user/Bob arn:aws:iam::123456789012:user/bo arn:aws:iam::123456789012:user/bob/x arn:aws:iam::12345678901:user/bob ARN:aws:iam::123456789012:user/bob xarn:aws:iam::123456789012:user/bob"},
		{"arn:aws:iam::123456789012:user/*", "arn:aws:iam::123456789012:user/bob arn:aws:iam::123456789012:user/path/to/bob arn:aws:iam::123456789012:user/ arn:aws:iam::123456789012:user/a:b",
			"arn:aws:iam::123456789012:role/bob arn:aws:iam::123456789013:user/bob arn:aws:iam::123456789012:user arn:aws-cn:iam::123456789012:user/bob"},
		{"arn:aws:sts::*:assumed-role/dba/*", "arn:aws:sts::123456789012:assumed-role/dba/alice arn:aws:sts:::assumed-role/dba/x/y",
			"arn:aws:sts::123456789012:assumed-role/dbadmin/alice arn:aws:sts::1:2:assumed-role/dba/alice arn:aws:sts:eu:123456789012:assumed-role/dba/alice arn:aws:sts::123456789012:assumed-role/x/assumed-role/dba/alice"},
		{"arn:aws:sts::123456789012:assumed-role/*/alice", "arn:aws:sts::123456789012:assumed-role/dba/alice arn:aws:sts::123456789012:assumed-role/a/b/alice", "arn:aws:sts::123456789012:assumed-role/alice arn:aws:sts::123456789012:assumed-role/dba/alice2"},
		{"arn:aws:iam::123456789012:user/b?b", "arn:aws:iam::123456789012:user/bob arn:aws:iam::123456789012:user/b/b", "arn:aws:iam::123456789012:user/bb arn:aws:iam::123456789012:user/boob"},
		{"arn:*:*:*:*:*", "arn:aws:iam::1:user/x arn:::::", "arn:aws:iam::1 arn:aws:iam: arn"},
		// No wildcard reaches over a colon into the next part.
		{"arn:aws:*:user/x", "", "arn:aws:iam::123456789012:user/x"},
		{"arn:*:user/x:a:b:c", "", "arn:aws:iam::123456789012:user/x arn:aws:user/x:iam:a:b:c"},
		{"arn:aws:iam*::123456789012:user/x", "arn:aws:iam::123456789012:user/x", "arn:aws:iam:x:123456789012:user/x arn:aws:iam:::123456789012:user/x"},
		{"arn:aws:iam::1?:user/x", "arn:aws:iam::12:user/x", "arn:aws:iam::1:user/x arn:aws:iam::1::user/x"},
		{"arn:aws:iam::*:root", "arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/root arn:aws:iam::123456789012:x:root"},
		{"arn:aws:sts::1:federated-user/[a-b]", "arn:aws:sts::1:federated-user/a", "arn:aws:sts::1:federated-user/c"},
		{"", "", "arn:aws:iam::1:user/x a"},
		{"*", "", "* arn:aws:iam::1:user/x"},
		{"arn:aws:sts::[[:digit:]]*:assumed-role/[!d]*/*", "arn:aws:sts::1:assumed-role/ops/x", "arn:aws:sts::x:assumed-role/ops/x arn:aws:sts::1:assumed-role/dba/x"},
		{"arn:aws:iam::1:user/[!/]*", "arn:aws:iam::1:user/x/y", "arn:aws:iam::1:user//x"},
	} {
		for _, arn := range strings.Fields(test.matches) {
			if !MatchCaller(test.pattern, arn) {
				t.Errorf("%q does not match %q", test.pattern, arn)
			}
		}
		for _, arn := range strings.Fields(test.others) {
			if MatchCaller(test.pattern, arn) {
				t.Errorf("%q matches %q", test.pattern, arn)
			}
		}
	}
	for _, pattern := range []string{"arn:aws:iam::1:user/x", "arn:*:*:*:*:*"} {
		if MatchCaller(pattern, "") {
			t.Errorf("%q matches nobody's name", pattern)
		}
	}
}

// like is ArnLike's matching of one part, by trying every end of a *.
func like(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '*':
		return like(pattern[1:], text) || text != "" && like(pattern, text[1:])
	case text == "" || pattern[0] != '?' && pattern[0] != text[0]:
		return false
	}
	return like(pattern[1:], text[1:])
}

// FuzzMatchARN compares MatchCaller with a plain reading of what AWS documents for
// ArnLike.
func FuzzMatchARN(f *testing.F) {
	f.Add("arn:aws:sts::*:assumed-role/dba/*", "arn:aws:sts::123456789012:assumed-role/dba/alice")
	f.Add("arn:*:*:*:*:*", "arn:aws:iam::1:user/a:b")
	f.Add("arn:aws:iam::1?:user/x*y?", "arn:aws:iam::1::user/x/yy")
	f.Fuzz(func(t *testing.T, pattern, arn string) {
		// Shell patterns have more than IAM's.
		if len(pattern) > 60 || len(arn) > 60 || strings.Count(pattern, "*") > 8 || strings.ContainsAny(pattern, "[\\") {
			return
		}
		want := true
		patterns, parts := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
		if len(patterns) != len(parts) || !strings.HasPrefix(pattern, "arn:") || len(parts) < 6 {
			want = false
		}
		for i := range min(len(patterns), len(parts)) {
			want = want && like(patterns[i], parts[i])
		}
		if got := MatchCaller(pattern, arn); got != want {
			t.Errorf("MatchCaller(%q, %q) = %v, want %v", pattern, arn, got, want)
		}
	})
}
