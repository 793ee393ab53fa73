// Package sshlog understands what sshd logs: the messages of OpenSSH 7.4 to 10.6,
// and those of the PAM modules that run in its processes.
package sshlog

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Meaning is what a message says about a connection.
type Meaning int

const (
	// Other is everything that is not one of the others.
	Other Meaning = iota
	// Connected: a connection begins.
	Connected
	// KeyRefused: sshd refused a key by its own limits, and asked nobody whether
	// the user has it.
	KeyRefused
	// UserRefused: sshd shuts the user out, and asks nobody for keys.
	UserRefused
	// CommandFailed: the answer of the AuthorizedKeysCommand was not used.
	CommandFailed
	// Queried: the client asked whether it may use the key.
	Queried
	// Failed: an attempt failed.
	Failed
	// OptionsRefused: the key's options, or what the key has to prove, were not met.
	OptionsRefused
	// Partial: the client passed one of several methods.
	Partial
	// AccountRefused: the client proved who it is, and its account was refused.
	AccountRefused
	// Accepted: the client is in.
	Accepted
	// SessionFailed: the client was in, and its session could not begin.
	SessionFailed
	// Opened: a session has begun.
	Opened
	// GaveUp: the connection ended before anybody was in.
	GaveUp
	// Closed: a session has ended.
	Closed
	// Dropped: sshd did not serve a connection.
	Dropped
)

// A Message is a record of sshd, taken apart. Fields that it does not have are "".
type Message struct {
	Meaning Meaning
	// Advice is what to do about it, "" for nothing.
	Advice string

	Method      string // publickey, password, ...
	User        string
	Address     string
	Port        string
	KeyType     string // ED25519, RSA, ..., with -CERT for a certificate; of a refusal also ssh-rsa
	Fingerprint string
	PID         uint64 // of the process that the listener speaks of
	// Limit is the keyword of sshd's configuration by which the listener drops
	// connections: LimitPenalties, LimitStartups.
	Limit string
	// Startups is how many logins were under way when a connection was dropped.
	Startups int
	// Lasts is how long a penalty that is in force lasts; Address is the client that it
	// is for, or its network where PerSourceNetBlockSize makes it one's.
	Lasts time.Duration
	Known bool // the message is in the table
}

// The limits by which sshd's listener drops connections.
const (
	LimitPenalties = "PerSourcePenalties"
	LimitStartups  = "MaxStartups"
)

// Parse takes a message apart.
func Parse(text string) Message {
	core := strings.TrimSuffix(text, " [preauth]")
	preauth := core != text
	core = strings.TrimPrefix(strings.TrimPrefix(core, "error: "), "fatal: ")
	if m, ok := parseLogin(core); ok {
		return m
	}
	if m, ok := lookUp(core, preauth); ok {
		return m
	}
	// Many messages begin with the name of a function.
	if name, rest, ok := strings.Cut(core, ": "); ok && isFunction(name) {
		if m, ok := lookUp(rest, preauth); ok {
			return m
		}
	}
	return Message{}
}

func lookUp(text string, preauth bool) (Message, bool) {
	if text == "" {
		return Message{}, false
	}
	for _, e := range entries()[text[0]] {
		if m, ok := e.parse(text, preauth); ok {
			return m, true
		}
	}
	return Message{}, false
}

func isFunction(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// parseRemote reads what sshd calls the remote end: `[authenticating |invalid ]user
// USER ADDRESS port PORT`, and `ADDRESS port PORT` before a client has named a user
// and in OpenSSH 7.4, which says that of an end after the login, too.
func (m *Message) parseRemote(text string, preauth bool) {
	meaning := Closed
	switch {
	case strings.HasPrefix(text, "user "):
	case strings.HasPrefix(text, "authenticating user "), strings.HasPrefix(text, "invalid user "):
		meaning = GaveUp
	case preauth:
		meaning = GaveUp
	default:
		meaning = Other
	}
	m.Meaning = meaning
	words := strings.Fields(text)
	if n := len(words); n >= 3 && words[n-2] == "port" {
		m.Address, m.Port = words[n-3], words[n-1]
		if n >= 5 {
			m.User = words[n-4]
		}
	}
}

// loginFormat is that of auth_log in auth.c.
const loginFormat = "%s %s%s%s for %s%.100s from %.200s port %d ssh2%s%s"

// parseLogin reads `Accepted METHOD for [invalid user ]USER from ADDRESS port PORT
// ssh2[: TYPE FINGERPRINT[ ID ...]]`. A user's name can have blanks in it; the first
// " from " ends it.
func parseLogin(text string) (Message, bool) {
	verb, rest, _ := strings.Cut(text, " ")
	meaning, ok := map[string]Meaning{"Accepted": Accepted, "Partial": Partial, "Failed": Failed, "Postponed": Queried}[verb]
	if !ok {
		return Message{}, false
	}
	method, rest, ok1 := strings.Cut(rest, " for ")
	user, rest, ok2 := strings.Cut(rest, " from ")
	address, rest, ok3 := strings.Cut(rest, " port ")
	port, rest, ok4 := strings.Cut(rest, " ssh2")
	if !ok1 || !ok2 || !ok3 || !ok4 || strings.Contains(method, " ") {
		return Message{}, false
	}
	m := Message{Meaning: meaning, Method: method, User: user, Address: address, Port: port, Known: true}
	if name, invalid := strings.CutPrefix(user, "invalid user "); invalid {
		m.User = name
	}
	if method == "publickey" {
		if key := strings.Fields(strings.TrimPrefix(rest, ":")); len(key) >= 2 {
			m.KeyType, m.Fingerprint = key[0], key[1]
		}
	}
	return m, true
}

// An entry is a message that sshd can log.
type entry struct {
	// format is sshd's own, for printf(3), as in the program.
	format string
	// source has the strings of the program, parted by "|", where the format is a
	// special case of a more general one.
	source  string
	meaning Meaning
	// fields name what each conversion of the format stands for: user, address,
	// port, type, fingerprint, pid, remote, client and seconds (of a penalty), startups
	// and cause (of a drop), or "-".
	fields string
	advice string
	limit  string // Message.Limit, where cause does not say it
	// module is the PAM module that logs it, "" for sshd itself.
	module string

	prefix  string // what the message begins with
	fixed   string // the longest part without a conversion
	pattern *regexp.Regexp
}

// entries has the table, in its order, by the first byte of a message.
var entries = sync.OnceValue(func() *[256][]*entry {
	var byFirst [256][]*entry
	for _, e := range table {
		e.compile()
		for first := range byFirst {
			if e.prefix == "" || int(e.prefix[0]) == first {
				byFirst[first] = append(byFirst[first], e)
			}
		}
	}
	return &byFirst
})

var conversion = regexp.MustCompile(`%[-0-9.]*l*z?[a-z]`)

func (e *entry) compile() {
	var b strings.Builder
	b.WriteString("(?s)^")
	if e.module != "" {
		b.WriteString(regexp.QuoteMeta(e.module) + `\(sshd:[a-z]+\): `)
	}
	rest := strings.TrimRight(e.format, " ") // as journald does
	e.prefix, _, _ = strings.Cut(rest, "%")
	if e.module != "" {
		e.prefix = e.module + "(sshd:"
	}
	for rest != "" {
		at := conversion.FindStringIndex(rest)
		if at == nil {
			at = []int{len(rest), len(rest)}
		}
		if at[0] > len(e.fixed) {
			e.fixed = rest[:at[0]]
		}
		b.WriteString(regexp.QuoteMeta(rest[:at[0]]))
		switch verb := rest[at[0]:at[1]]; {
		case verb == "":
		case strings.HasSuffix(verb, "s"):
			b.WriteString("(.*?)")
		default:
			b.WriteString("(-?[0-9.]+)")
		}
		rest = rest[at[1]:]
	}
	b.WriteString(" *$")
	e.pattern = regexp.MustCompile(b.String())
}

func (e *entry) parse(text string, preauth bool) (m Message, ok bool) {
	if !strings.HasPrefix(text, e.prefix) || !strings.Contains(text, e.fixed) {
		return m, false
	}
	values := e.pattern.FindStringSubmatch(text)
	if values == nil {
		return m, false
	}
	m.Meaning, m.Advice, m.Limit, m.Known = e.meaning, e.advice, e.limit, true
	for i, field := range strings.Fields(e.fields) {
		if i+1 >= len(values) {
			break
		}
		value := values[i+1]
		switch field {
		case "remote":
			m.parseRemote(value, preauth)
		case "user":
			m.User, _, _ = strings.Cut(value, "(uid=")
		case "address":
			m.Address = value
		case "port":
			m.Port = value
		case "type":
			m.KeyType = value
		case "fingerprint":
			m.Fingerprint = value
		case "pid":
			m.PID, _ = strconv.ParseUint(value, 10, 32)
		case "client":
			m.Address = strings.TrimSuffix(strings.TrimSuffix(value, "/32"), "/128")
		case "startups":
			m.Startups, _ = strconv.Atoi(value)
		case "seconds":
			seconds, _ := strconv.ParseFloat(value, 64)
			m.Lasts = time.Duration(seconds * float64(time.Second))
		case "cause":
			m.cause(value)
		}
	}
	if slices.Contains(values, "deferred") { // a penalty that is not in force yet
		m.Lasts = 0
	}
	return m, true
}

// cause reads why the listener dropped a connection: "past MaxStartups" before OpenSSH 9.8,
// then "past Maxstartups", since 10.0 "Maxstartups"; else the reason of a penalty.
func (m *Message) cause(text string) {
	switch {
	case strings.HasSuffix(strings.ToLower(text), "maxstartups"):
		m.Limit, m.Advice = LimitStartups, adviceStartups
	case strings.HasPrefix(text, "penalty: "), text == "too many penalised addresses", text == LimitPenalties:
		m.Limit, m.Advice = LimitPenalties, advicePenalty
	}
}
