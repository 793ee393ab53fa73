package reason

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestWords(t *testing.T) {
	t.Parallel()
	words := All()
	if len(words) != 32 {
		t.Errorf("%d words; a new one needs a vector, a line in the manual pages, and this number", len(words))
	}
	seen := make(map[Word]bool)
	run := false
	for _, w := range words {
		if w == "" || seen[w] || strings.Trim(string(w), "abcdefghijklmnopqrstuvwxyz-") != "" || strings.Contains(string(w), "unknown") {
			t.Errorf("the word %q is empty, twice there, or misspelt", w)
		}
		seen[w] = true
		hint := w.Hint()
		if hint == "" || strings.HasSuffix(hint, ".") || strings.ContainsFunc(hint, unicode.IsControl) {
			t.Errorf("the hint of %s is no part of a sentence: %q", w, hint)
		}
		if run && w.RefusesRecord() {
			t.Errorf("%s comes after words that end the run", w)
		}
		run = !w.RefusesRecord()
	}
	if !slices.Contains(words, BadSignature) || !BadSignature.RefusesRecord() || SignerRevoked.RefusesRecord() {
		t.Error("a bad signature refuses the record, a revoked signer ends the run")
	}
	for _, w := range []Word{"", "unknown", "Expired"} {
		if w.Hint() != "" || w.RefusesRecord() {
			t.Errorf("%q is on the list", w)
		}
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	err := New(Expired, "it is late")
	if err.Error() != "it is late" || Of(err) != Expired || Of(fmt.Errorf("so: %w", err)) != Expired {
		t.Errorf("the error is %v, for the reason %q", err, Of(err))
	}
	if w := Of(errors.New("another")); w != "" {
		t.Errorf("another error has the reason %q", w)
	}
	if w := Of(nil); w != "" {
		t.Errorf("no error has the reason %q", w)
	}
}
