package main

import (
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]bool{
		"/tmp": true, "/var/tmp/a-b_c.d": true,
		"": false, "/tmp/a b": false, "/tmp/a,b": false, "/tmp/ü": false, "/" + strings.Repeat("a", 40): false,
	} {
		if plain.MatchString(dir) != want {
			t.Errorf("%q: plain is %v", dir, !want)
		}
	}
}
