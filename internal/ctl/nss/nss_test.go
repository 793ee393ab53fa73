package nss

import (
	"errors"
	"testing"
)

func TestOf(t *testing.T) {
	t.Parallel()
	const lines = "root:x:0\nalice:x:1\nalic:x:2"
	for name, want := range map[string]string{"alice": "alice:x:1", "alic": "alic:x:2", "ali": "", "x": ""} {
		if got := of(lines, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	if got, err := Name(t.Context(), "root"); err != nil || got != "root" {
		t.Errorf("root is %q, %v", got, err)
	}
	// 0 is root's id, and no name of it.
	for _, name := range []string{"0", "", "no/such", "a\nroot", "eic-nobody-has-this-name"} {
		if got, err := Passwd(t.Context(), name); !errors.Is(err, ErrNone) || got != "" {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
}
