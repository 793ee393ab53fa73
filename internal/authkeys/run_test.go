package authkeys

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// sealed is a file system of which nothing may be read.
type sealed struct{}

func (sealed) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// A world is a host and a metadata service for which everything is right, until
// a test changes one thing. It is a vector, and counts what is asked for.
type world struct {
	vector
	config  *config.Config
	root    fs.FS
	filter  fingerprint.Filter
	entries map[string][]byte
	faults  map[string]error // instead of an entry
	rootErr error

	mu      sync.Mutex
	asked   []string
	rooted  int
	blocked string // the path that is answered only when the context ends
}

const (
	board     = "sys/devices/virtual/dmi/id/board_asset_tag"
	xen       = "sys/hypervisor/uuid"
	otherID   = "i-0fedcba9876543210"
	okVector  = "record-ok"
	keysOfOne = keysPath + "ec2-user/"
)

func newWorld(t testing.TB, name string) *world {
	t.Helper()
	v := readVector(t, name)
	return &world{
		vector:  v,
		config:  config.Default(),
		root:    fstest.MapFS{board: {Data: []byte(v.Instance + "\n")}},
		entries: v.metadata().entries,
		faults:  make(map[string]error),
	}
}

func (w *world) Get(ctx context.Context, path string, limit int) ([]byte, error) {
	w.mu.Lock()
	w.asked = append(w.asked, path)
	body, ok := w.entries[path]
	fault := w.faults[path]
	w.mu.Unlock()
	switch {
	case path == w.blocked:
		<-ctx.Done()
		return nil, reason.New(reason.IMDSUnreachable, "the context ended")
	case fault != nil:
		return nil, fault
	case !ok:
		return nil, imds.ErrNotFound
	case len(body) > limit:
		return nil, imds.TooLarge{Err: reason.New(reason.IMDSError, "too large"), Beginning: body[:limit]}
	}
	return body, nil
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Now
}

func (w *world) run(t testing.TB) (Answer, error) {
	t.Helper()
	agent := &Agent{Now: w.clock, Config: w.config, Metadata: w, Root: w.root, SSHDPID: 4711, Roots: func() (*x509.CertPool, error) {
		w.rooted++
		if w.rootErr != nil {
			return nil, w.rootErr
		}
		return w.Pool(), nil
	}}
	answer, err := agent.Run(t.Context(), w.User, w.filter)
	if err != nil && len(answer.Lines) > 0 {
		t.Errorf("there are lines with the error: %q", answer.Lines)
	}
	if err != nil && reason.Of(err) == "" {
		t.Errorf("the error has no reason: %v", err)
	}
	for _, e := range answer.Events {
		if e.SSHDPID != 4711 || e.User != w.User {
			t.Errorf("an event names sshd %d and user %q", e.SSHDPID, e.User)
		}
	}
	return answer, err
}

func (a Answer) count(kind audit.Kind) int {
	n := 0
	for _, e := range a.Events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// TestRequests says what is asked for in each case: one group of requests after
// the other, each group in any order.
func TestRequests(t *testing.T) {
	t.Parallel()
	keys := []string{keysOfOne}
	chain := []string{chainPath, "placement/region", "services/domain"}
	chainAndID := append(slices.Clone(chain), "instance-id")
	listing := []string{staplePath}
	usual := newWorld(t, okVector).staplePaths()
	sha256Named := newWorld(t, "staple-sha256-names").staplePaths()
	other, err := fingerprint.ParseFilter("SHA256:" + strings.Repeat("A", 43))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		vector  string
		change  func(w *world)
		want    [][]string
		granted bool
		roots   int
	}{
		"granted":                      {okVector, func(*world) {}, [][]string{keys, chain, usual}, true, 1},
		"granted, attest = imds":       {okVector, func(w *world) { w.config.Instance.Attest = config.AttestIMDS }, [][]string{keys, chainAndID, usual}, true, 1},
		"granted on Xen":               {okVector, func(w *world) { w.root = fstest.MapFS{xen: {Data: []byte("ec2e1916\n")}} }, [][]string{keys, chainAndID, usual}, true, 1},
		"granted, SHA-256 names":       {"staple-sha256-names", func(*world) {}, [][]string{keys, chain, usual, listing, sha256Named}, true, 1},
		"attest = imds needs no board": {okVector, func(w *world) { w.config.Instance.Attest = config.AttestIMDS; w.root = fstest.MapFS{} }, [][]string{keys, chainAndID, usual}, true, 1},
		"two keys":                     {"two-keys", func(*world) {}, [][]string{keys, chain, usual}, true, 1},
		"nothing pushed":               {okVector, func(w *world) { delete(w.entries, keysOfOne) }, [][]string{keys}, false, 0},
		"an empty answer":              {okVector, func(w *world) { w.entries[keysOfOne] = nil }, [][]string{keys}, false, 0},
		"nothing matching":             {okVector, func(w *world) { w.filter = other }, [][]string{keys}, false, 0},
		"only expired":                 {okVector, func(w *world) { w.Now = w.Now.Add(time.Hour) }, [][]string{keys}, false, 0},
		"only too long":                {okVector, func(w *world) { w.Now = w.Now.Add(-time.Hour) }, [][]string{keys}, false, 0},
		"user denied":                  {okVector, func(w *world) { w.config.Users.Deny = []string{"ec2-*"} }, [][]string{keys}, false, 0},
		"user not allowed":             {okVector, func(w *world) { w.config.Users.Allow = []string{"root"} }, [][]string{keys}, false, 0},
		"user denied, attest = imds":   {okVector, func(w *world) { w.config.Instance.Attest = config.AttestIMDS; w.config.Users.Deny = []string{"*"} }, [][]string{keys}, false, 0},
		"another instance":             {okVector, func(w *world) { w.root = fstest.MapFS{board: {Data: []byte(otherID)}} }, [][]string{keys}, false, 0},
		"another instance, attest = imds": {okVector, func(w *world) {
			w.config.Instance.Attest = config.AttestIMDS
			w.entries["instance-id"] = []byte(otherID)
		}, [][]string{keys, chainAndID, usual}, false, 1},
		"key type not allowed":      {okVector, func(w *world) { w.config.Keys.Types = []string{"ssh-rsa"} }, [][]string{keys}, false, 0},
		"junk":                      {okVector, func(w *world) { w.entries[keysOfOne] = []byte("<html>") }, [][]string{keys}, false, 0},
		"an untrusted chain":        {okVector, func(w *world) { w.entries[chainPath] = []byte("<html>") }, [][]string{keys, chain}, false, 1},
		"another region":            {okVector, func(w *world) { w.entries["placement/region"] = []byte("eu-west-1") }, [][]string{keys, chain}, false, 1},
		"roots that cannot be read": {okVector, func(w *world) { w.rootErr = reason.New(reason.Config, "no roots") }, [][]string{keys}, false, 1},
		"no staples":                {"staple-none", func(*world) {}, [][]string{keys, chain, usual, listing}, false, 1},
		"a stale staple":            {"staple-stale-by-a-second", func(*world) {}, [][]string{keys, chain, newWorld(t, "staple-stale-by-a-second").staplePaths(), listing}, false, 1},
		"no listing":                {"staple-sha256-names", func(w *world) { delete(w.entries, staplePath) }, [][]string{keys, chain, usual, listing}, false, 1},
		"not EC2":                   {okVector, func(w *world) { w.root = fstest.MapFS{} }, nil, false, 0},
		"another cloud": {okVector, func(w *world) {
			w.root = fstest.MapFS{board: {Data: []byte("7783-7084-3265-9085-8269-3286-77")}, xen: {Data: []byte("d0e1916e")}}
		}, nil, false, 0},
		"no user":                 {okVector, func(w *world) { w.User = "" }, nil, false, 0},
		"a user with a slash":     {okVector, func(w *world) { w.User = "../ec2-user" }, nil, false, 0},
		"a user of digits":        {okVector, func(w *world) { w.User = "1000" }, nil, false, 0},
		"a user with a query":     {okVector, func(w *world) { w.User = "ec2-user?" }, nil, false, 0},
		"a user that is too long": {okVector, func(w *world) { w.User = strings.Repeat("a", 33) }, nil, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.vector)
			test.change(w)
			answer, err := w.run(t)
			if granted := len(answer.Lines) > 0; granted != test.granted || granted && err != nil {
				t.Errorf("granted: %v, %v, want %v", granted, err, test.granted)
			}
			asked := w.asked
			for _, group := range test.want {
				n := min(len(group), len(asked))
				got := slices.Sorted(slices.Values(asked[:n]))
				if want := slices.Sorted(slices.Values(group)); !slices.Equal(got, want) {
					t.Errorf("asked for %q, want %q", got, want)
				}
				asked = asked[n:]
			}
			if len(asked) > 0 {
				t.Errorf("asked for %q as well", asked)
			}
			if w.rooted != test.roots {
				t.Errorf("the roots were read %d times, want %d", w.rooted, test.roots)
			}
		})
	}
}

// TestNumberOfRequests states the numbers that a login may cost.
func TestNumberOfRequests(t *testing.T) {
	t.Parallel()
	for want, change := range map[int]func(w *world){
		1: func(w *world) { delete(w.entries, keysOfOne) },
		6: func(*world) {},
		7: func(w *world) { w.config.Instance.Attest = config.AttestIMDS },
	} {
		w := newWorld(t, okVector)
		change(w)
		w.run(t)
		if len(w.asked) != want || w.asked[0] != keysOfOne {
			t.Errorf("%d requests, want %d with the keys first: %q", len(w.asked), want, w.asked)
		}
	}
}

// A staple that is not needed costs nothing, whatever becomes of it.
func TestOtherStaplesFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "staple-sha256-names")
	w.entries[staplePath] = append([]byte("BROKEN\nLARGE\nMISSING\n"), w.entries[staplePath]...)
	w.faults[staplePath+"BROKEN"] = reason.New(reason.IMDSError, "fault")
	w.entries[staplePath+"LARGE"] = make([]byte, maxStaple+1)
	if answer, err := w.run(t); err != nil || string(answer.Lines) != w.Output[0]+"\n" {
		t.Errorf("printed %q, %v", answer.Lines, err)
	}
}

// Each request may fail, and the run then ends in its reason. An answer that is
// too large is judged by the client; here, that each has its bound.
func TestRequestsFail(t *testing.T) {
	t.Parallel()
	good := newWorld(t, okVector)
	named := newWorld(t, "staple-sha256-names")
	unreachable, fault := reason.New(reason.IMDSUnreachable, "unreachable"), reason.New(reason.IMDSError, "fault")
	for _, test := range []struct {
		vector, path string
		limit        int
		missing      reason.Word // where the entry is not there
	}{
		{okVector, keysOfOne, 1536 << 10, ""},
		{okVector, chainPath, 64 << 10, reason.IMDSError},
		{okVector, "placement/region", 1 << 10, reason.IMDSError},
		{okVector, "services/domain", 1 << 10, reason.IMDSError},
		{okVector, "instance-id", 1 << 10, reason.IMDSError},
		{okVector, good.staplePaths()[0], 8 << 10, reason.StapleMissing},
		{okVector, good.staplePaths()[1], 8 << 10, reason.StapleMissing},
		{"staple-sha256-names", staplePath, 64 << 10, reason.StapleMissing},
		{"staple-sha256-names", named.staplePaths()[0], 8 << 10, reason.StapleMissing},
		{"staple-sha256-names", named.staplePaths()[1], 8 << 10, reason.StapleMissing},
	} {
		t.Run(test.vector+" "+test.path, func(t *testing.T) {
			t.Parallel()
			for name, c := range map[string]struct {
				change func(w *world)
				want   reason.Word
			}{
				"unreachable": {func(w *world) { w.faults[test.path] = unreachable }, reason.IMDSUnreachable},
				"fault":       {func(w *world) { w.faults[test.path] = fault }, reason.IMDSError},
				"too large":   {func(w *world) { w.entries[test.path] = bytes.Repeat([]byte("\n"), test.limit+1) }, reason.IMDSError},
				"missing":     {func(w *world) { delete(w.entries, test.path) }, test.missing},
			} {
				w := newWorld(t, test.vector)
				w.config.Instance.Attest = config.AttestIMDS
				c.change(w)
				answer, err := w.run(t)
				if reason.Of(err) != c.want || (err == nil) != (c.want == "") || len(answer.Lines) > 0 {
					t.Errorf("%s: %q, %v, want %q", name, answer.Lines, err, c.want)
				}
				if answer.count(audit.KeyProvided) > 0 {
					t.Errorf("%s: an event says that a key was provided", name)
				}
				if !slices.Contains(w.asked, test.path) {
					t.Errorf("%s: it was not asked for", name)
				}
			}
		})
	}
}

// What fails first ends the requests that went out with it.
func TestRequestsEndTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, okVector)
	w.blocked = chainPath
	w.faults["services/domain"] = reason.New(reason.IMDSError, "the first fault")
	answer, err := w.run(t)
	if reason.Of(err) != reason.IMDSError || err.Error() != "the first fault" || len(answer.Lines) > 0 {
		t.Errorf("%q, %v", answer.Lines, err)
	}
}

func TestInstanceIDOfIMDS(t *testing.T) {
	t.Parallel()
	id := newWorld(t, okVector).Instance
	for served, want := range map[string]string{
		id: "granted", id + "\n": "granted", " " + id + "\n": "granted",
		otherID:             "refused",
		"":                  "fault",
		"\n":                "fault",
		"i-":                "fault",
		"unknown":           "fault",
		"<html>":            "fault",
		id + "\x00":         "fault",
		id + "\n" + id:      "fault",
		strings.ToUpper(id): "fault",
		strings.Repeat("i-0123456789abcdef0", 50): "fault",
	} {
		for _, onXen := range []bool{false, true} {
			w := newWorld(t, okVector)
			if onXen {
				w.root = fstest.MapFS{xen: {Data: []byte("ec2e1916-9099-7caf-fd21-012345abcdef\n")}}
			} else {
				w.config.Instance.Attest = config.AttestIMDS
			}
			w.entries["instance-id"] = []byte(served)
			answer, err := w.run(t)
			got := "fault"
			switch {
			case err == nil && len(answer.Lines) > 0:
				got = "granted"
			case err == nil && answer.count(audit.RecordRefused) == 1 && answer.Events[0].Reason == reason.WrongInstance:
				got = "refused"
			case reason.Of(err) != reason.IMDSError || strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 300:
				got = fmt.Sprintf("%q", err)
			}
			if got != want {
				t.Errorf("instance-id %q (Xen: %v): %s, want %s", served, onXen, got, want)
			}
		}
	}
}

// An event for each record that was refused without the chain comes along with
// the error of a chain that is not proved.
func TestUnprovableChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "staple-revoked")
	expired := newWorld(t, "timestamp-a-second-ago").entries[keysOfOne]
	w.entries[keysOfOne] = slices.Concat(expired, []byte("\n"), w.entries[keysOfOne])
	answer, err := w.run(t)
	if reason.Of(err) != reason.SignerRevoked || len(answer.Lines) > 0 || len(answer.Events) != 1 || answer.Events[0].Reason != reason.Expired {
		t.Errorf("%+v, %v", answer, err)
	}
	w = newWorld(t, okVector)
	w.rootErr = reason.New(reason.Config, "no roots")
	if answer, err = w.run(t); !errors.Is(err, w.rootErr) || len(answer.Events) > 0 {
		t.Errorf("without roots: %+v, %v", answer, err)
	}
}

// A thousand records that are refused cost some events and a summary, and not
// the good key among them.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	good := newWorld(t, okVector).entries[keysOfOne]
	id := newWorld(t, okVector).Instance
	foreign := bytes.ReplaceAll(good, []byte(id), []byte(otherID))
	forged := bytes.ReplaceAll(good, []byte("/dba/alice"), []byte("/dba/mallory"))
	for name, test := range map[string]struct {
		bad    []byte
		reason reason.Word
	}{
		"foreign":   {foreign, reason.WrongInstance},
		"forged":    {forged, reason.BadSignature},
		"malformed": {[]byte("#\n"), reason.Malformed},
	} {
		for _, n := range []int{1, maxReports, maxReports + 1, 1000} {
			for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
				w := newWorld(t, okVector)
				w.config.Instance.Attest = attest
				w.entries[keysOfOne] = slices.Concat(numbered(test.bad, 0, n/2), good, []byte("\n"), numbered(test.bad, n/2, n))
				answer, err := w.run(t)
				if err != nil || string(answer.Lines) != w.Output[0]+"\n" || answer.count(audit.KeyProvided) != 1 {
					t.Errorf("%s: the good key among %d is not granted: %q, %v", name, n, answer.Lines, err)
				}
				refused := answer.count(audit.RecordRefused)
				if want := min(n, maxReports+1); refused != want || len(answer.Events) != want+1 {
					t.Errorf("%s: %d records give %d events, %d of them refusals, want %d", name, n, len(answer.Events), refused, want)
				}
				for _, e := range answer.Events {
					if e.Kind == audit.RecordRefused && e.Reason != test.reason {
						t.Errorf("%s: an event has the reason %q: %s", name, e.Reason, e.Message)
					}
				}
				summary := fmt.Sprintf("refused %d more records", n-maxReports)
				if last := answer.Events[len(answer.Events)-1]; strings.HasPrefix(last.Message, summary) != (n > maxReports) {
					t.Errorf("%s: after %d records the last event is %q", name, n, last.Message)
				}
			}
		}
	}
}

// numbered returns different records: the same record is counted once.
func numbered(record []byte, from, to int) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "#Number=%d\n%s\n", i, record)
	}
	return b.Bytes()
}

// A record that is served many times is one push; a key that was pushed many
// times is reported some times and then counted.
func TestGrantsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, okVector)
	w.entries[keysOfOne] = bytes.Repeat(append(slices.Clone(w.entries[keysOfOne]), '\n'), 1000)
	answer, err := w.run(t)
	if err != nil || string(answer.Lines) != w.Output[0]+"\n" || len(answer.Events) != 1 {
		t.Errorf("one record a thousand times: printed %q, %d events, %v", answer.Lines, len(answer.Events), err)
	}
	r := &run{Agent: &Agent{Config: config.Default()}}
	for range 1000 {
		r.grant(keyrecord.Key{})
	}
	events := r.finish()
	if len(events) != maxReports+1 || !strings.Contains(events[maxReports].Message, "990 more times") || events[maxReports].Kind != audit.KeyProvided {
		t.Errorf("a thousand pushes give %d events, the last is %+v", len(events), events[len(events)-1])
	}
}

// Where the chain is not proved the refusals are summed up as well.
func TestRefusalsAreBoundedWithAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "staple-revoked")
	w.entries[keysOfOne] = slices.Concat(numbered([]byte("#\n"), 0, 1000), w.entries[keysOfOne])
	answer, err := w.run(t)
	if reason.Of(err) != reason.SignerRevoked || answer.count(audit.RecordRefused) != maxReports+1 {
		t.Errorf("%d events, %v", len(answer.Events), err)
	}
}

// sshd reads the Z; what the host's time zone is does not matter.
func TestExpiryTimeIsUTC(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	expires := time.Date(2026, 11, 25, 9, 0, 1, 0, time.FixedZone("", 9*60*60))
	writeLine(&b, keyrecord.Key{}, expires, "", true)
	if want := `expiry-time="20261125000000Z"`; !strings.HasPrefix(b.String(), want) {
		t.Errorf("wrote %q, want %s", b.String(), want)
	}
}

func TestListed(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("NAME\n", 100)
	for listing, want := range map[string][]string{
		"":                                 nil,
		"\n\n":                             nil,
		"A\nB":                             {"A", "B"},
		"A\r\nB\r\n":                       {"A", "B"},
		"a.der b_c-9":                      {"a.der", "b_c-9"},
		"../x\n/x\nx/\nx/y\n.\n..\n...\nA": {"A"},
		"x?y\nx#y\nx%2fy\nx\\y\nx;y\n\u00e4\nA\x00\nB": {"B"},
		strings.Repeat("x", maxStapleName):             {strings.Repeat("x", maxStapleName)},
		strings.Repeat("x", maxStapleName+1):           nil,
		"A\nTRIED\nB":                                  {"A", "B"},
		many:                                           {"NAME"},
	} {
		if got := listed([]byte(listing), []string{"TRIED"}); !slices.Equal(got, want) {
			t.Errorf("listed(%.60q) = %q, want %q", listing, got, want)
		}
	}
}

// Beside the two that are needed, junk is listed: it is read up to the bound.
func TestStaplesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "staple-sha256-names")
	var listing strings.Builder
	for _, path := range w.staplePaths() {
		fmt.Fprintln(&listing, strings.TrimPrefix(path, staplePath))
	}
	for i := range 100 {
		fmt.Fprintf(&listing, "JUNK%d\n", i)
	}
	w.entries[staplePath] = []byte(listing.String())
	answer, err := w.run(t)
	if err != nil || len(answer.Lines) == 0 {
		t.Errorf("not granted: %v", err)
	}
	if want := 1 + 3 + 2 + 1 + maxStaples; len(w.asked) != want {
		t.Errorf("%d requests, want %d", len(w.asked), want)
	}
}
