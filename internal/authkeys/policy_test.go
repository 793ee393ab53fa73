package authkeys

import (
	"slices"
	"testing"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/test/eventspage"
	"github.com/eic-agent/eic-agent/test/vectors"
)

func isPolicy(word reason.Word) bool {
	return word == reason.UserDenied || word == reason.CallerNotMapped
}

// Without enforcement every key that [users] alone refuses is granted and recorded, and
// no other verdict changes.
func TestNotEnforced(t *testing.T) {
	t.Parallel()
	spared, kept := 0, 0
	page, err := eventspage.Read()
	if err != nil {
		t.Fatal(err)
	}
	recorded := make(map[string]map[string]bool) // fields of each event
	for _, v := range vectors.All(t) {
		w := newWorld(t, v.Name)
		cfg, err := config.Parse([]byte(v.Config))
		if err != nil {
			t.Fatal(err)
		}
		w.config = cfg
		if w.filter, err = fingerprint.ParseFilter(v.Fingerprint); err != nil {
			t.Fatal(err)
		}
		before, beforeErr := w.run(t)
		trial := *cfg
		trial.Users.Enforce = false
		w.config = &trial
		after, afterErr := w.run(t)
		if v.Name == "users-denied" && len(before.Lines) > 0 {
			t.Fatal("the policy is not enforced by default")
		}

		for _, e := range slices.Concat(before.Events, after.Events) {
			if e.Kind == audit.NothingToSay {
				continue
			}
			fields := make(map[string]string)
			for _, f := range audit.Encode(e) {
				fields[f.Key] = f.String
			}
			if err := page.Check("eic-authkeys", fields); err != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
			kind := fields["EIC_EVENT"]
			if recorded[kind] == nil {
				recorded[kind] = make(map[string]bool)
			}
			for name := range fields {
				recorded[kind][name] = true
			}
		}
		var would, policed []reason.Word
		for _, e := range after.Events {
			if e.Kind == audit.WouldRefuse {
				would = append(would, e.Reason)
				if e.User != w.User || e.Fingerprint == "" || e.Instance == "" {
					t.Errorf("%s: %+v", v.Name, e)
				}
			}
			if e.Kind == audit.RecordRefused && isPolicy(e.Reason) {
				t.Errorf("%s: %s is enforced", v.Name, e.Reason)
			}
		}
		for _, e := range before.Events {
			if e.Kind == audit.WouldRefuse {
				t.Errorf("%s: would-refuse under enforcement", v.Name)
			}
			if e.Kind == audit.RecordRefused && isPolicy(e.Reason) {
				policed = append(policed, e.Reason)
			}
		}
		switch {
		case len(policed) == 0:
			if string(before.Lines) != string(after.Lines) || reason.Of(beforeErr) != reason.Of(afterErr) || len(would) > 0 {
				t.Errorf("%s: %q, %v became %q, %v; would refuse %v", v.Name, before.Lines, beforeErr, after.Lines, afterErr, would)
			}
			kept++
		case len(after.Lines) > 0:
			if !slices.Equal(would, policed) {
				t.Errorf("%s: would refuse %v, and did refuse %v", v.Name, would, policed)
			}
			spared++
		case len(would) > 0:
			t.Errorf("%s: would-refuse without a grant", v.Name)
		}
	}
	// The page has no field that is never recorded. EIC_PORT is the serial console's, and no
	// vector has [users] against an RSA key.
	for _, kind := range []audit.Kind{audit.KeyProvided, audit.RecordRefused, audit.WouldRefuse} {
		for _, field := range page.Events[string(kind)].Fields {
			if !recorded[string(kind)][field] && (kind != audit.WouldRefuse || field != "EIC_PORT" && field != "EIC_KEY_BITS") {
				t.Errorf("docs/events.md has %s of %s, which no vector makes", field, kind)
			}
		}
	}
	if spared < 5 || kept < 100 {
		t.Errorf("only %d keys were granted without enforcement, %d vectors are as before", spared, kept)
	}
}

// Nothing is granted unproved, enforced or not.
func TestNotEnforcedIsProved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "map-forged-caller")
	cfg, err := config.Parse([]byte(w.Config))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Users.Enforce = false
	w.config = cfg
	answer, err := w.run(t)
	if len(answer.Lines) > 0 || err != nil || answer.count(audit.WouldRefuse) > 0 || answer.count(audit.RecordRefused) != 1 {
		t.Errorf("printed %q, %v, %+v", answer.Lines, err, answer.Events)
	}
}

// The second call of a login, which the cache answers, is recorded as the first.
func TestNotEnforcedFromCache(t *testing.T) {
	t.Parallel()
	c := newCached(t, config.AttestAuto)
	const user = "alice"
	filter := c.filters[user]
	c.agent.Config.Users.Deny = []string{"*"}
	c.agent.Config.Users.Enforce = false
	for range 2 {
		answer, err := c.agent.Run(t.Context(), user, filter)
		if err != nil || len(answer.Lines) == 0 || answer.count(audit.WouldRefuse) != 1 || answer.count(audit.KeyProvided) != 1 {
			t.Errorf("printed %q, %v, %+v", answer.Lines, err, answer.Events)
		}
	}
}

// Inspect and Prove grant what Run grants.
func TestNotEnforcedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, okVector)
	w.config.Users.Deny = []string{"*"}
	for _, enforce := range []bool{true, false} {
		w.config.Users.Enforce = enforce
		want := 1
		if enforce {
			want = 0
		}
		in := w.agent().Inspect(t.Context(), w.User)
		proof, err := w.agent().Prove(t.Context(), w.User, w.Instance)
		if in.Granted() != want || len(proof.Keys) != want || err != nil {
			t.Errorf("enforce = %v: Inspect grants %d, Prove %d, %v", enforce, in.Granted(), len(proof.Keys), err)
		}
		if r := in.Records[0]; r.User.Fault == nil || r.Enforced != enforce {
			t.Errorf("enforce = %v: %+v", enforce, r)
		}
		for _, key := range proof.Keys {
			if e, ok := w.agent().WouldRefuse(w.User, key); !ok || e.Reason != reason.UserDenied || e.Kind != audit.WouldRefuse {
				t.Errorf("%+v, %v", e, ok)
			}
		}
	}
}

// Decide comes to the verdict of Run for what Run records of each vector.
func TestDecideAsRun(t *testing.T) {
	t.Parallel()
	configured := []reason.Word{reason.LifetimeTooLong, reason.KeyType, reason.KeyTooShort, reason.UserDenied, reason.CallerNotMapped}
	compared := make(map[reason.Word]int)
	for _, v := range vectors.All(t) {
		w := newWorld(t, v.Name)
		cfg, err := config.Parse([]byte(v.Config))
		if err != nil {
			t.Fatal(err)
		}
		for _, enforce := range []bool{true, false} {
			cfg.Users.Enforce = enforce
			w.config = cfg
			answer, _ := w.run(t)
			for _, e := range answer.Events {
				if e.Kind != audit.KeyProvided && !(e.Kind == audit.RecordRefused && slices.Contains(configured, e.Reason)) || e.KeyType == "" {
					continue
				}
				push := Push{
					Facts: keyrecord.Facts{Expires: e.Expires.Unix(), Type: e.KeyType, Bits: e.KeyBits},
					User:  e.User, Caller: e.Caller, Decided: w.Now,
				}
				would, err := w.agent().Decide(push)
				if reason.Of(err) != e.Reason || (err == nil) != (e.Kind == audit.KeyProvided) {
					t.Errorf("%s: Run says %q of %+v, Decide %v", v.Name, e.Reason, push, err)
				}
				if recorded := answer.count(audit.WouldRefuse) > 0; err == nil && recorded != (would != "") {
					t.Errorf("%s: Run records would-refuse: %v, Decide says %q", v.Name, recorded, would)
				}
				compared[e.Reason]++
			}
		}
	}
	for _, word := range append(configured, "") {
		if compared[word] == 0 {
			t.Errorf("nothing is compared for %q", word)
		}
	}
}
