package releases

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sessions"
	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
	"github.com/eic-agent/eic-agent/test/release"
)

const (
	atOnce     = 10
	verdictsOn = "/etc/ssh/sshd_config.d/00-verdicts.conf"
)

// sample is how many logins each release gets, and in how many trials records are dropped.
func sample() (logins, trials int) {
	if need.Each() {
		return 200, 40
	}
	return 5 * len(ways), 15
}

// A way is how a login goes. Its user is of that name, or with a "v" after it where
// sshd's LogLevel is VERBOSE.
type way struct {
	name string
	// truth is what came of the key; "" means that the whole journal says it.
	truth sessions.Cause
	dial  func(*login) error
}

var ways = []way{
	{"unused", sessions.CauseNotOffered, func(l *login) error { return nil }},
	{"narrow", sessions.CauseNotAsked, func(l *login) error { return l.try(l.signer) }},
	{"refused", sessions.CauseRefused, func(l *login) error { return l.try(l.signer) }},
	{"public", sessions.CauseNotSigned, func(l *login) error { return l.try(silent{l.signer}) }},
	{"wrong", sessions.CauseSignatureRefused, func(l *login) error { return l.try(forger{l.signer, newSigner(l.h.t)}) }},
	{"two", sessions.CauseFurtherMethod, func(l *login) error { return l.try(l.signer) }},
	{"both", sessions.CauseOneOfSeveral, func(l *login) error { return l.try(l.signer, l.h.other) }},
	{"other", sessions.CauseOtherWay, func(l *login) error { return l.try(forger{l.signer, newSigner(l.h.t)}, l.h.other) }},
	{"expired", sessions.CauseAccount, func(l *login) error { return l.try(l.signer) }},
	{"good", sessions.CauseLetIn, func(l *login) error { return l.try(l.signer) }},
	{"atonce", sessions.CauseLetIn, func(l *login) error { return l.try(l.signer) }},
	{"cut", "", func(l *login) error { return l.try(l.signer) }},
}

// A login is one with a key of its own.
type login struct {
	h           *verdictHost
	way         way
	user        string
	signer      ssh.Signer
	fingerprint string
	request     string
	cut         int // after so many bytes from the client the connection ends
	truth       sessions.Cause
}

type verdictHost struct {
	*host
	other ssh.Signer // in authorized_keys of users both and other
}

func newSigner(t *testing.T) ssh.Signer {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A silent signer has only the public half.
type silent struct{ ssh.Signer }

func (silent) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return nil, errors.New("there is no private half")
}

// A forger signs with another key.
type forger struct {
	ssh.Signer
	other ssh.Signer
}

func (f forger) Sign(r io.Reader, data []byte) (*ssh.Signature, error) { return f.other.Sign(r, data) }

// try logs in with these keys and has a command run.
func (l *login) try(signers ...ssh.Signer) error {
	conn, err := l.h.Dial("127.0.0.1:22")
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if l.cut > 0 {
		conn = &cutConn{conn, l.cut}
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "127.0.0.1:22", &ssh.ClientConfig{
		User: l.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return nil // it is in, which is what counts
	}
	session.Run("true")
	return nil
}

// A cutConn ends after some bytes that the client sent.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.Conn.Write(b[:c.left])
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	c.left -= len(b)
	return c.Conn.Write(b)
}

// verdicts logs in many times in every way at once, and shows that audit and explain
// never say what is not so, also where records are missing.
func verdicts(h *host) {
	v := &verdictHost{host: h, other: newSigner(h.t)}
	v.furnish()
	logins, trials := sample()
	all := v.run(logins)
	records := v.records()
	v.whole(all, records)
	v.dropped(all, records, trials)
}

func (v *verdictHost) furnish() {
	v.install(newVersion)
	v.write("/etc/eic-agent/config.d/10-verdicts.toml", "[users]\ndeny = [\"refused*\"]\n")
	config := "MaxStartups 1000\n"
	if _, err := v.Run("sh", "-c", "sshd -T -o PerSourcePenalties=no"); err == nil {
		config += "PerSourcePenalties no\n"
	}
	config += "Match User *v\n LogLevel VERBOSE\n" +
		"Match User narrow*\n PubkeyAcceptedKeyTypes ecdsa-sha2-nistp256\n" +
		"Match User two*\n AuthenticationMethods publickey,keyboard-interactive\n KbdInteractiveAuthentication yes\n" +
		"Match User both*\n AuthenticationMethods publickey,publickey\n" +
		"Match all\n"
	v.write(verdictsOn, config)
	for _, w := range ways {
		for _, user := range []string{w.name, w.name + "v"} {
			args := []string{"--create-home", "--shell", "/bin/sh"}
			switch w.name {
			case "expired":
				args = append(args, "--expiredate", "2020-01-01")
			case "atonce":
				args = []string{"--create-home", "--shell", "/usr/sbin/nologin"}
			}
			v.must("useradd", append(args, user)...)
			if w.name == "both" || w.name == "other" {
				v.write("/home/"+user+"/.ssh/authorized_keys", string(ssh.MarshalAuthorizedKey(v.other.PublicKey())))
				v.must("chown", "-R", user+":", "/home/"+user+"/.ssh")
			}
		}
	}
	v.must("eicctl", "sshd", "enable")
	v.must("systemctl", "restart", "ssh.service")
}

func (v *verdictHost) run(logins int) []*login {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	var all []*login
	for i := range logins {
		w := ways[i%len(ways)]
		l := &login{h: v, way: w, user: w.name, signer: newSigner(v.t), truth: w.truth}
		if random.IntN(2) == 0 {
			l.user += "v"
		}
		if w.name == "cut" {
			l.cut = 1 + random.IntN(4500)
		}
		l.fingerprint = ssh.FingerprintSHA256(l.signer.PublicKey())
		all = append(all, l)
	}
	slots := make(chan bool, atOnce)
	var wait sync.WaitGroup
	for _, l := range all {
		slots <- true
		wait.Go(func() {
			defer func() { <-slots }()
			pushed, err := v.aws.Push(instance, l.user, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(l.signer.PublicKey()))), emulator.DefaultCallerARN)
			if err != nil {
				v.t.Error(err)
				return
			}
			l.request = pushed.Request
			err = l.way.dial(l)
			in := slices.Contains([]sessions.Cause{sessions.CauseLetIn, sessions.CauseOneOfSeveral, sessions.CauseOtherWay, sessions.CauseNotOffered}, l.truth)
			if l.way.name != "cut" && (err == nil) != in {
				v.t.Errorf("%s: %v", l.user, err)
			}
		})
	}
	wait.Wait()
	return all
}

// records returns what is in the journal when all connections are over.
func (v *verdictHost) records() (records []*journal.Record) {
	v.t.Helper()
	if err := release.Await("all connections are over", func() (bool, error) {
		out, err := v.Run("pgrep", "--count", "sshd|eic-authkeys")
		return strings.TrimSpace(out) == "1", err
	}); err != nil {
		v.t.Fatal(err)
	}
	v.must("journalctl", "--sync")
	out := v.must("journalctl", "--output=export", "SYSLOG_IDENTIFIER=eic-authkeys", "SYSLOG_IDENTIFIER=sshd", "SYSLOG_IDENTIFIER=sshd-session", "SYSLOG_IDENTIFIER=sshd-auth")
	if err := journal.Decode(strings.NewReader(out), func(r *journal.Record) error { records = append(records, r.Clone()); return nil }); err != nil {
		v.t.Fatal(err)
	}
	return records
}

func (v *verdictHost) trust() journal.Trust {
	var uid uint64
	if _, err := fmt.Sscan(v.must("id", "-u", "eic-agent"), &uid); err != nil {
		v.t.Fatal(err)
	}
	return journal.Trust{UIDs: []uint64{uid}}
}

// settle finds out what became of the logins that were cut off.
func (v *verdictHost) settle(all []*login, records []*journal.Record) {
	for _, l := range all {
		if l.truth != "" {
			continue
		}
		l.truth = sessions.CauseNotOffered
		for _, r := range records {
			switch {
			case r.Text("EIC_FINGERPRINT") == l.fingerprint && l.truth == sessions.CauseNotOffered:
				l.truth = sessions.CauseNotSigned
			case strings.HasPrefix(r.Text("MESSAGE"), "Accepted publickey ") && strings.HasSuffix(r.Text("MESSAGE"), l.fingerprint):
				l.truth = sessions.CauseLetIn
			}
		}
	}
}

// whole shows that a whole journal gives every login.
func (v *verdictHost) whole(all []*login, records []*journal.Record) {
	v.settle(all, records)
	for _, l := range all {
		a := v.explain(l, records)
		if why := l.wrongAnswer(a); why != "" {
			v.t.Errorf("%s, %s: %s\n%s", l.user, l.truth, why, a.Text())
		}
		kind, causes := "", a.Causes
		if len(a.Decisions) > 0 {
			kind, causes = a.Decisions[0].Decision, a.Decisions[0].Causes
		}
		verbose := strings.HasSuffix(l.user, "v")
		want, first, alone := "", l.truth, false
		switch l.truth {
		case sessions.CauseNotOffered:
		case sessions.CauseNotAsked:
			first = sessions.CauseNotOffered
			if !slices.ContainsFunc(a.Before, func(b sessions.Barred) bool { return strings.Contains(b.SSHD, "in PubkeyAccepted") }) {
				v.t.Errorf("%s: sshd is not quoted\n%s", l.user, a.Text())
			}
		case sessions.CauseRefused:
			want, alone = sessions.DecidedRefused, true
		case sessions.CauseNotSigned, sessions.CauseSignatureRefused:
			want = sessions.DecidedUnused
		case sessions.CauseFurtherMethod:
			want, alone = sessions.DecidedUnused, verbose
			if !verbose {
				first = sessions.CauseSignatureRefused
			}
		case sessions.CauseAccount:
			want, alone = sessions.DecidedUnused, true
		case sessions.CauseOneOfSeveral:
			want, alone = sessions.DecidedUnknown, verbose
			if !verbose {
				first = sessions.CauseOtherWay
			}
		case sessions.CauseOtherWay:
			want = sessions.DecidedUnknown
		case sessions.CauseLetIn:
			want, alone = sessions.DecidedSession, true
			if causes[0] == sessions.CauseEndedAtOnce {
				first = causes[0]
			}
		}
		if kind != want || causes[0] != first || alone && len(causes) > 1 {
			v.t.Errorf("%s, %s: %s of %v\n%s", l.user, l.truth, kind, causes, a.Text())
		}
	}
}

// dropped shows that an incomplete journal gives no wrong verdict.
func (v *verdictHost) dropped(all []*login, records []*journal.Record, trials int) {
	const asked = 10 // logins that explain is asked about in each trial
	random := mathrand.New(mathrand.NewPCG(3, 4))
	certain, several, silent := 0, 0, 0
	for trial := range trials {
		p := []float64{0.02, 0.1, 0.3, 0.6, 0.9}[trial%5]
		left := slices.DeleteFunc(slices.Clone(records), func(*journal.Record) bool { return random.Float64() < p })
		report, err := sessions.Join(slices.Values(left), v.trust(), sessions.Options{}, time.Now().Add(time.Hour))
		if err != nil {
			v.t.Fatal(err)
		}
		for _, l := range all {
			why, causes := l.wrongReport(report)
			switch {
			case why != "":
				v.t.Errorf("%.0f%% dropped, %s, %s: audit: %s", p*100, l.user, l.truth, why)
			case causes == 0:
				silent++
			case causes == 1:
				certain++
			default:
				several++
			}
		}
		for range asked {
			l := all[random.IntN(len(all))]
			a := v.explain(l, left)
			if why := l.wrongAnswer(a); why != "" {
				v.t.Errorf("%.0f%% dropped, %s, %s: explain: %s\n%s", p*100, l.user, l.truth, why, a.Text())
			}
		}
	}
	v.t.Logf("%s: %d records of %d logins; of %d verdicts with records dropped %d were certain, %d one of several, %d had no record", v.suite, len(records), len(all), trials*len(all), certain, several, silent)
}

func (v *verdictHost) explain(l *login, records []*journal.Record) *sessions.Answer {
	subject, err := sessions.ParseSubject(l.fingerprint)
	if err != nil {
		v.t.Fatal(err)
	}
	report, err := sessions.Join(slices.Values(records), v.trust(), sessions.Options{Wanted: subject.Wanted, Transcript: true}, time.Now().Add(time.Hour))
	if err != nil {
		v.t.Fatal(err)
	}
	return report.Explain(subject)
}

// wrongReport says what is not so in a report, and how many causes it leaves for the
// login, 0 where it does not have it.
func (l *login) wrongReport(r *sessions.Report) (why string, causes int) {
	for _, s := range r.Sessions {
		if s.Fingerprint == l.fingerprint {
			causes = 1
			if why := l.wrong(sessions.DecidedSession, []sessions.Cause{sessions.CauseLetIn}); why != "" || s.Request != l.request || s.User != l.user {
				return fmt.Sprintf("%s, session %+v", why, s), causes
			}
		}
	}
	for kind, offers := range map[string][]*sessions.Offer{sessions.DecidedUnused: r.Unused, sessions.DecidedUnknown: r.Unknown} {
		for _, o := range offers {
			if o.Fingerprint == l.fingerprint {
				causes = len(o.Causes)
				if why := l.wrong(kind, o.Causes); why != "" {
					return why, causes
				}
			}
		}
	}
	for _, o := range r.Refusals {
		if o.Fingerprint == l.fingerprint {
			causes = 1
			if why := l.wrong(sessions.DecidedRefused, []sessions.Cause{sessions.CauseRefused}); why != "" {
				return why, causes
			}
		}
	}
	return "", causes
}

// wrongAnswer says what is not so in an answer.
func (l *login) wrongAnswer(a *sessions.Answer) string {
	for _, d := range a.Decisions {
		if why := l.wrong(d.Decision, d.Causes); why != "" {
			return why
		}
	}
	if l.truth == sessions.CauseNotOffered && slices.ContainsFunc(a.Before, func(b sessions.Barred) bool { return b.Certain }) {
		return "a client is said to have offered it"
	}
	if len(a.Decisions) == 0 && !slices.Contains(a.Causes, l.truth) && !slices.Contains(a.Causes, sessions.CauseRecordMissing) {
		return fmt.Sprintf("no decision because of %v", a.Causes)
	}
	return ""
}

func (l *login) wrong(kind string, causes []sessions.Cause) string {
	in := l.truth == sessions.CauseLetIn
	part := in || l.truth == sessions.CauseOneOfSeveral
	ended := in && (slices.Contains(causes, sessions.CauseEndedAtOnce) || slices.Contains(causes, sessions.CauseSessionFailed))
	switch {
	case kind == sessions.DecidedSession && !in,
		kind == sessions.DecidedUnused && part,
		!slices.Contains(causes, l.truth) && !ended:
		return fmt.Sprintf("%s of %v", kind, causes)
	}
	return ""
}
