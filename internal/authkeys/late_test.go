package authkeys

import (
	"bytes"
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// A delayed service moves the clock with an answer.
type delayed struct {
	*world
	path string
	by   time.Duration
}

func (d *delayed) Get(ctx context.Context, path string, limit int) ([]byte, error) {
	if path == d.path {
		d.mu.Lock()
		d.Now = d.Now.Add(d.by)
		d.mu.Unlock()
	}
	return d.world.Get(ctx, path, limit)
}

// A key that expires while the metadata service takes its time is not granted: the
// record of the vector has 45 seconds.
func TestExpiresWhileAsking(t *testing.T) {
	t.Parallel()
	for _, path := range []string{keysOfOne, chainPath} {
		for by, want := range map[time.Duration]reason.Word{44 * time.Second: "", 45 * time.Second: reason.Expired} {
			w := newWorld(t, okVector)
			agent := w.agent()
			agent.Metadata = &delayed{w, path, by}
			answer, err := agent.Run(t.Context(), w.User, w.filter)
			if err != nil || (len(answer.Lines) > 0) != (want == "") {
				t.Errorf("%s takes %v: printed %q, %v", path, by, answer.Lines, err)
			}
			if want != "" && (answer.count(audit.RecordRefused) != 1 || answer.Events[0].Reason != want) {
				t.Errorf("%s takes %v: the events are %v", path, by, answer.Events)
			}
		}
	}
}

// A staple that is not answered costs no login where another one proves the same.
func TestHangingStaple(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"another-name", ""} {
		w := newWorld(t, okVector)
		w.config.IMDS.Timeout.Duration = time.Second
		usual := w.staplePaths()[0]
		w.blocked = usual
		if other != "" {
			w.entries[staplePath+other] = w.entries[usual]
			w.entries[staplePath] = append(w.entries[staplePath], other+"\n"...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		answer, err := w.agent().Run(ctx, w.User, w.filter)
		if ctx.Err() != nil {
			t.Errorf("beside %q: it took all of its time", other)
		}
		cancel()
		if granted := len(answer.Lines) > 0; granted != (other != "") || granted != (err == nil) {
			t.Errorf("beside %q: printed %q, %v", other, answer.Lines, err)
		}
	}
}

// While the signer is replaced, the service has records of both. What an earlier
// run proved vouches for those of the old one, also on the next call.
func TestRotation(t *testing.T) {
	t.Parallel()
	old, rotated := readVector(t, "record-ok"), readVector(t, "chain-rotated")
	key := readVector(t, "key-rsa2048")
	for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
		c := newCached(t, attest)
		c.agent.Roots = func() (*x509.CertPool, error) { return old.Pool(), nil }
		c.agent.Cache.StoreSigner(signerOf(old.Vector, old.Instance))
		c.metadata.entries = rotated.metadata().entries
		body := slices.Concat(key.Body, []byte("\n"), rotated.Body)
		c.metadata.entries[keysPath+"alice/"] = body
		want := key.Output[0] + "\n" + rotated.Output[0] + "\n"
		for call := range 2 {
			c.reopen(t)
			answer, err := c.agent.Run(t.Context(), "alice", fingerprint.Filter{})
			if err != nil || string(answer.Lines) != want || answer.count(audit.RecordRefused) != 0 {
				t.Errorf("%s: call %d printed %q, %v, %v", attest, call+1, answer.Lines, answer.Events, err)
			}
		}
		// The new signer cannot be fetched: the old one's records are granted.
		c.reopen(t)
		c.metadata.entries[chainPath] = []byte("broken")
		c.agent.Cache.StoreSigner(signerOf(old.Vector, old.Instance))
		c.agent.Cache.StoreSigner(signerOf(old.Vector, old.Instance))
		// A forged record neither opens anything nor costs the others.
		forged := bytes.Replace(rotated.Body, []byte("alice"), []byte("mallo"), 1)
		c.metadata.entries[keysPath+"alice/"] = slices.Concat(forged, []byte("\n"), key.Body)
		answer, err := c.agent.Run(t.Context(), "alice", fingerprint.Filter{})
		if attest == config.AttestAuto && (err != nil || string(answer.Lines) != key.Output[0]+"\n") {
			t.Errorf("%s: beside a forged record, with a broken chain: printed %q, %v", attest, answer.Lines, err)
		}
		if strings.Contains(string(answer.Lines), rotated.Output[0]) {
			t.Errorf("%s: the forged record is granted", attest)
		}
	}
}

// Where more is served than is read, what was read is judged, and the record that was
// cut is none.
func TestMoreThanIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, okVector)
	good := w.Body
	line := "ssh-ed25519 AAAA " + strings.Repeat("x", 200) + "\n\n"
	junk := []byte(strings.Repeat(line, maxKeys/len(line)+1))
	const first, last, beyond = "first", "cut off in its signature", "beyond"
	for name, body := range map[string][]byte{
		first:  slices.Concat(good, junk),
		last:   slices.Concat(bytes.Repeat([]byte("\n"), maxKeys-len(good)+20), good),
		beyond: slices.Concat(junk, []byte("\n"), good),
	} {
		w := newWorld(t, okVector)
		w.entries[keysOfOne] = body
		answer, err := w.run(t)
		if granted := len(answer.Lines) > 0; granted != (name == first) || granted != (err == nil) {
			t.Errorf("%s: printed %q, %v", name, answer.Lines, err)
		}
		if name != first && reason.Of(err) != reason.IMDSError {
			t.Errorf("%s: %v", name, err)
		}
		cut := slices.ContainsFunc(answer.Events, func(e audit.Event) bool { return e.Reason == reason.OverLimit && e.Kind == audit.RecordRefused })
		if name == last && len(answer.Events) != 1 {
			t.Errorf("the record that was cut is judged: %v", answer.Events)
		}
		if !cut {
			t.Errorf("%s: no event says that there was more", name)
		}
		if in := w.agent().Inspect(t.Context(), w.User); (in.Granted() > 0) != (name == first) || (in.Err == nil) != (name == first) {
			t.Errorf("%s: the inspection grants %d, %v", name, in.Granted(), in.Err)
		} else if in.Limit != maxKeys {
			t.Errorf("%s: the inspection says that %d bytes were read", name, in.Limit)
		}
	}
}

// What a record is cut to is never taken for a record, and nothing else is lost.
func TestWhole(t *testing.T) {
	t.Parallel()
	body := slices.Concat(readVector(t, "record-ok").Body, readVector(t, "key-rsa2048").Body)
	first := len(readVector(t, "record-ok").Body)
	for n := range len(body) + 1 {
		whole := keyrecord.Whole(body[:n])
		records := 0
		for range keyrecord.Records(whole) {
			records++
		}
		want := 0
		if n >= first {
			want++
		}
		if n == len(body) {
			want++
		}
		if records != want || !bytes.HasPrefix(body, whole) {
			t.Fatalf("of %d bytes %d records are whole, want %d", n, records, want)
		}
	}
}
