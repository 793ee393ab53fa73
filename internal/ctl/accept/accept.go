// Package accept determines whether sshd lets a user log in with a key: it compares both
// with the limits that sshd applies to that connection. It asks sshd, and reads the
// configuration only to name the line that sets a limit.
package accept

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/sshd"
)

// A Status is the effect of a Limit.
type Status string

// The effects of a limit.
const (
	Refuses Status = "refuses" // sshd does not let the key or the user in
	Unknown Status = "unknown" // that depends on what is not known here
	Note    Status = "note"    // the key is accepted, and sshd asks for more
)

// A Limit is something in sshd's configuration that a key or a user does not pass.
type Limit struct {
	ID     string `json:"id"` // of the finding of eicctl doctor
	Status Status `json:"status"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
	// Command says that the fix is one: for a shell of root on this host.
	Command bool `json:"fix_is_command,omitempty"`
}

// An Access is what sshd uses for a connection.
type Access struct {
	// KeyOptions are those that every key comes with: [keys] options.
	KeyOptions string

	server *sshd.Server
	values sshd.Values
	conn   sshd.Connection
	list   *revokedList // of revokedKeys; nil until it is read
}

// New returns the access for what sshd has been asked.
func New(server *sshd.Server, effective sshd.Effective) *Access {
	return &Access{server: server, values: effective.Values, conn: effective.Connection}
}

// Ask asks the sshd of this host about a user who comes from an address, or from any
// where addr is "". The error is sshd.ErrNotInstalled, or that of sshd.Server.Ask.
func Ask(ctx context.Context, user, addr string) (*Access, error) {
	server, err := sshd.Find(ctx, "/")
	if err != nil {
		return nil, err
	}
	values, conn, _, err := server.AskNamed(ctx, sshd.Connection{User: user, Addr: addr})
	if err != nil {
		return nil, err
	}
	return &Access{server: server, values: values, conn: conn}, nil
}

// User returns what keeps the user out whatever the key.
func (a *Access) User(ctx context.Context) []Limit {
	var limits []Limit
	add := func(limit *Limit) {
		if limit != nil {
			limits = append(limits, *limit)
		}
	}
	groups := groupNames(ctx, a.conn.User)
	add(a.denyUsers(ctx))
	if len(limits) == 0 {
		add(a.allowUsers(ctx))
	}
	if list := a.values.All("denygroups"); matchesAny(list, groups) {
		add(a.refuses(ctx, "user-deny-groups", a.without(ctx, "DenyGroups", func(word string) bool { return matchesAny([]string{word}, groups) }),
			"DenyGroups", "keeps %s out: DenyGroups is %s", a.conn.User, strings.Join(list, " ")))
	} else if list := a.values.All("allowgroups"); len(list) > 0 && !matchesAny(list, groups) {
		fix := ""
		if len(groups) > 0 {
			fix = a.add(ctx, "AllowGroups", groups[0], list)
		}
		add(a.refuses(ctx, "user-allow-groups", fix, "AllowGroups", "does not let %s in: AllowGroups is %s, and %s is in %s", a.conn.User, strings.Join(list, " "), a.conn.User, strings.Join(groups, " ")))
	}
	permit := a.values.Get("permitrootlogin")
	limited := permit != "yes" && isRoot(ctx, a.conn.User)
	if limited && (permit == "no" || permit == "forced-commands-only" && !strings.Contains(strings.ToLower(a.KeyOptions), "command=")) {
		add(a.refuses(ctx, "root-login-off", a.change(ctx, "PermitRootLogin", "prohibit-password"), "PermitRootLogin", "lets root in with no key: PermitRootLogin is %s", permit))
	}
	if off := a.PubkeyAuthentication(ctx); off != nil {
		add(off)
	} else {
		add(a.methods(ctx, limited))
	}
	// ssh asks for the method none first, which counts as no failure, but with 0 ends the connection.
	if a.values.Get("maxauthtries") == "0" {
		add(a.refuses(ctx, "max-auth-tries", a.change(ctx, "MaxAuthTries", "6"), "MaxAuthTries", "ends every connection before it tries a key: MaxAuthTries is 0"))
	}
	if a.values.Get("maxsessions") == "0" {
		add(a.refuses(ctx, "max-sessions", a.change(ctx, "MaxSessions", "10"), "MaxSessions", "opens no session, and permits forwarding only: MaxSessions is 0"))
	}
	return append(limits, a.keyOptions(time.Now())...)
}

// PubkeyAuthentication is the limit of an sshd that takes no keys, or nil.
func (a *Access) PubkeyAuthentication(ctx context.Context) *Limit {
	if a.values.Get("pubkeyauthentication") != "no" {
		return nil
	}
	return a.refuses(ctx, "pubkey-authentication-off", a.change(ctx, "PubkeyAuthentication", "yes"), "PubkeyAuthentication", "takes no keys: PubkeyAuthentication is no")
}

// refuses makes a limit, with the line that sets it. The text follows "sshd ". A
// value in it may be a long list, behind which the line would be cut off.
func (a *Access) refuses(ctx context.Context, id, fix, keyword, format string, args ...any) *Limit {
	const most = 200
	text := fmt.Sprintf(format, args...)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return &Limit{id, Refuses, "sshd " + text + a.from(ctx, keyword), fix, isCommand(fix)}
}

// isCommand tells the commands that this package makes from advice.
func isCommand(fix string) bool { return strings.HasPrefix(fix, "sed -i ") }

// Set returns commands that set a keyword for the connection, where it is set now.
func (a *Access) Set(ctx context.Context, keyword, value string) Limit {
	fix := a.change(ctx, keyword, value)
	return Limit{Fix: fix, Command: isCommand(fix)}
}

// from names the line that sets a keyword, as the rest of a sentence.
func (a *Access) from(ctx context.Context, keyword string) string {
	place := a.place(ctx, keyword)
	if place.IsZero() {
		return ""
	}
	return " (" + place.Place() + ")"
}

// denyUsers and allowUsers do what sshd does with the lists.
func (a *Access) denyUsers(ctx context.Context) *Limit {
	list := a.values.All("denyusers")
	matches := func(word string) bool { yes, _ := a.matchUser(word); return yes }
	switch {
	case slices.ContainsFunc(list, matches):
		return a.refuses(ctx, "user-deny-users", a.without(ctx, "DenyUsers", matches), "DenyUsers", "keeps %s out: DenyUsers is %s", a.conn.User, strings.Join(list, " "))
	case slices.ContainsFunc(list, func(word string) bool { _, perhaps := a.matchUser(word); return perhaps }):
		return &Limit{"user-access", Unknown, fmt.Sprintf("from where %s may come: DenyUsers of sshd is %s%s", a.conn.User, strings.Join(list, " "), a.from(ctx, "DenyUsers")), "", false}
	}
	return nil
}

func (a *Access) allowUsers(ctx context.Context) *Limit {
	list := a.values.All("allowusers")
	switch {
	case len(list) == 0, slices.ContainsFunc(list, func(word string) bool { yes, _ := a.matchUser(word); return yes }):
		return nil
	case slices.ContainsFunc(list, func(word string) bool { _, perhaps := a.matchUser(word); return perhaps }):
		return &Limit{"user-access", Unknown, fmt.Sprintf("from where %s may come: AllowUsers of sshd is %s%s", a.conn.User, strings.Join(list, " "), a.from(ctx, "AllowUsers")), "", false}
	}
	return a.refuses(ctx, "user-allow-users", a.add(ctx, "AllowUsers", a.conn.User, list), "AllowUsers",
		"does not let %s in: AllowUsers is %s", a.conn.User, strings.Join(list, " "))
}

// matchUser reports whether a word of AllowUsers or DenyUsers matches the user, or may:
// one with a host, where it is not known where the user comes from.
func (a *Access) matchUser(word string) (yes, perhaps bool) {
	name, host := word, ""
	at := strings.LastIndexByte(word, '@') // as sshd cuts it
	if at >= 0 {
		name, host = word[:at], word[at+1:]
	}
	switch {
	case !sshd.MatchList([]string{name}, a.conn.User):
		return false, false
	case at < 0:
		return true, false
	case a.conn.Addr == "":
		return false, true
	}
	return matchHost(host, a.conn), false
}

func words(lines []string) []string { return strings.Fields(strings.Join(lines, " ")) }

// matchesAny does what sshd does with lists of groups: each word is a pattern of its
// own, and none denies.
func matchesAny(patterns, names []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return sshd.MatchList([]string{p}, name) })
	})
}

// groupNames returns the names of the groups of an account, the primary one first.
func groupNames(ctx context.Context, user string) []string {
	// Names of groups of a domain have blanks.
	out, err := hostcmd.Output(ctx, "id", "-Gnz", "--", user)
	if err == nil {
		return strings.FieldsFunc(out, func(c rune) bool { return c == 0 || c == '\n' })
	}
	if out, err = hostcmd.Output(ctx, "id", "-Gn", "--", user); err != nil {
		return nil
	}
	return strings.Fields(out)
}

func isRoot(ctx context.Context, user string) bool {
	out, err := hostcmd.Output(ctx, "id", "-u", "--", user)
	return err == nil && strings.TrimSpace(out) == "0"
}

// methods looks at AuthenticationMethods: lists of methods, each of which has to be
// gone through in its order. limited says that the user is root and has no password
// here: PermitRootLogin is not yes.
func (a *Access) methods(ctx context.Context, limited bool) *Limit {
	value := strings.Join(words(a.values.All("authenticationmethods")), " ")
	if value == "" || value == "any" {
		return nil
	}
	off := a.disabled
	if limited {
		off = func(method string) bool {
			return a.disabled(method) || slices.Contains([]string{"password", "keyboard-interactive"}, name(method))
		}
	}
	var further []string
	for _, list := range strings.Fields(value) {
		methods := strings.Split(list, ",")
		at := slices.IndexFunc(methods, func(m string) bool { return name(m) == "publickey" })
		switch {
		case at < 0 || slices.ContainsFunc(methods, off):
			// sshd leaves out lists with a method that is turned off.
		case len(methods) == 1:
			return nil
		default:
			further = append(further, strings.Join(slices.Delete(slices.Clone(methods), at, at+1), " and "))
		}
	}
	if len(further) == 0 {
		return a.refuses(ctx, "authentication-methods", a.change(ctx, "AuthenticationMethods", value+" publickey"), "AuthenticationMethods",
			"has no way in with a key for %s: AuthenticationMethods is %s, and a list with a method that is turned off does not count", a.conn.User, value)
	}
	return &Limit{"authentication-methods", Note, fmt.Sprintf("sshd accepts a key of %s and then asks for more (%s): AuthenticationMethods is %s%s",
		a.conn.User, strings.Join(further, ", or "), value, a.from(ctx, "AuthenticationMethods")), "", false}
}

// name returns a method without its submethod, such as keyboard-interactive:pam.
func name(method string) string {
	method, _, _ = strings.Cut(method, ":")
	return method
}

// disabled reports whether sshd has a method turned off.
func (a *Access) disabled(method string) bool {
	keywords := map[string][]string{
		"publickey": {"pubkeyauthentication"}, "password": {"passwordauthentication"}, "hostbased": {"hostbasedauthentication"},
		"keyboard-interactive": {"kbdinteractiveauthentication", "challengeresponseauthentication"}, "gssapi-with-mic": {"gssapiauthentication"},
	}
	list := keywords[name(method)]
	return list == nil || a.values.Get(list...) != "yes"
}
