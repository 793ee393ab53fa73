package pattern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

type pair struct{ pattern, name string }

// pairs returns n pairs of a pattern and a name for it, the same ones for a seed.
func pairs(seed uint64, n int) []pair {
	r := rand.New(rand.NewPCG(seed, 14))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	// Few letters, so that many pairs match.
	char := func() string {
		return pick("a", "a", "b", "b", "c", "d", "A", "B", "1", "2", "-", "_", ".", "@", "$", "^", "!", ":", "[", "]", " ", "%", "=", "\\", "\x01", "~")
	}
	member := func() string {
		switch r.IntN(12) {
		case 0:
			return "[:" + pick("alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit") + ":]"
		case 1, 2, 3:
			return pick("a", "b", "A", "1", ".", "!") + "-" + pick("b", "c", "z", "Z", "9", "a", "~", "-", `\d`)
		case 4:
			return `\` + char()
		}
		return char()
	}
	bracket := func() string {
		b := "[" + pick("", "", "", "!", "^", "!", "]", "!]", "-")
		for range 1 + r.IntN(3) {
			b += member()
		}
		return b + pick("]", "]", "]", "]", "-]", "]]", "")
	}
	list := make([]pair, n)
	for i := range list {
		var pattern, name strings.Builder
		for range r.IntN(6) {
			switch r.IntN(8) {
			case 0, 1:
				pattern.WriteString("*")
				for range r.IntN(3) {
					name.WriteString(char())
				}
			case 2:
				pattern.WriteString("?")
				name.WriteString(char())
			case 3, 4:
				pattern.WriteString(bracket())
				name.WriteString(char())
			case 5:
				c := char()
				pattern.WriteString(`\` + c)
				name.WriteString(c)
			default:
				c := char()
				pattern.WriteString(c)
				name.WriteString(c)
			}
		}
		if r.IntN(4) == 0 {
			name.WriteString(char())
		}
		list[i] = pair{pattern.String(), name.String()}
	}
	return list
}

// compare checks verdicts ('1' for a match) of another matcher on the patterns that
// Compile takes. excused are differences that are the other's.
func compare(t *testing.T, syntax Syntax, list []pair, verdicts []byte, excused func(pair) bool) {
	t.Helper()
	if len(verdicts) != len(list) {
		t.Fatalf("%d verdicts on %d pairs", len(verdicts), len(list))
	}
	matched, refused, differ, excuses := 0, 0, 0, 0
	for i, p := range list {
		compiled, err := Compile(syntax, p.pattern)
		if err != nil {
			refused++
			continue
		}
		got, want := compiled.Match(p.name), verdicts[i] == '1'
		if got {
			matched++
		}
		if got == want {
			continue
		}
		if excused != nil && excused(p) {
			excuses++
			continue
		}
		if differ++; differ < 20 {
			t.Errorf("pattern %q, name %q: %v, want %v", p.pattern, p.name, got, want)
		}
	}
	t.Logf("%d pairs: %d match, %d patterns refused, %d differ, %d excused", len(list), matched, refused, differ, excuses)
	if matched < len(list)/4 || refused > len(list)/4 || excuses > len(list)/30 {
		t.Error("the pairs say too little")
	}
}

const generated = 100_000

// TestLikeShells compares Text with case in dash and bash, in locale C. Where the two
// differ from fnmatch(3), Text follows that: dash (0.5.12) takes the ^ of [^...] for
// a member of the set, and bash (5.2) looks for the :] of a [: beyond the ] that ends
// the set.
func TestLikeShells(t *testing.T) {
	t.Parallel()
	list := pairs(1, generated)
	script := bytes.NewBufferString("m() { case $2 in $1) r=1;; *) r=0;; esac; printf %s $r; }\n")
	quote := strings.NewReplacer("'", `'\''`)
	for _, p := range list {
		fmt.Fprintf(script, "m '%s' '%s'\n", quote.Replace(p.pattern), quote.Replace(p.name))
	}
	excused := map[string]func(pair) bool{
		"dash": func(p pair) bool { return strings.Contains(p.pattern, "[^") },
		"bash": func(p pair) bool {
			_, rest, found := strings.Cut(p.pattern, "[:")
			return found && strings.Contains(rest, ":]") && !strings.HasPrefix(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"), ":]")
		},
	}
	for shell, excused := range excused {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(need.Program(t, shell))
			cmd.Env = []string{"LC_ALL=C"}
			cmd.Stdin = bytes.NewReader(script.Bytes())
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, Text, list, out, excused)
		})
	}
}

const fnmatch = `#include <fnmatch.h>
#include <stdio.h>
int main(int argc, char **argv) {
	static char p[256], n[256];
	int flags = argc > 1 ? FNM_PATHNAME : 0;
	while (fgets(p, sizeof p, stdin) && fgets(n, sizeof n, stdin)) {
		for (char *c = p; ; c++) if (*c == '\n') { *c = 0; break; }
		for (char *c = n; ; c++) if (*c == '\n') { *c = 0; break; }
		putchar(fnmatch(p, n, flags) == 0 ? '1' : '0');
	}
	return 0;
}
`

// TestLikeLibc compares Path and Text with fnmatch(3), in locale C. Path gets names
// and patterns with slashes; glibc (2.36) does not find an escaped slash after a *.
func TestLikeLibc(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, program := filepath.Join(dir, "fnmatch.c"), filepath.Join(dir, "fnmatch")
	if err := os.WriteFile(source, []byte(fnmatch), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(need.Program(t, "gcc"), "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, test := range []struct {
		name   string
		syntax Syntax
		args   []string
	}{{"text", Text, nil}, {"path", Path, []string{"path"}}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			list := pairs(2, generated)
			if test.syntax == Path {
				for i := range list {
					list[i].pattern = strings.ReplaceAll(list[i].pattern, "_", "/")
					list[i].name = strings.ReplaceAll(list[i].name, "_", "/")
				}
			}
			var in strings.Builder
			for _, p := range list {
				in.WriteString(p.pattern + "\n" + p.name + "\n")
			}
			cmd := exec.Command(program, test.args...)
			cmd.Env = []string{"LC_ALL=C"}
			cmd.Stdin = strings.NewReader(in.String())
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, test.syntax, list, out, func(p pair) bool { return strings.Contains(p.pattern, `\/`) && strings.Contains(p.pattern, "*") })
		})
	}
}

func TestPairsAreTheSame(t *testing.T) {
	t.Parallel()
	if !slices.Equal(pairs(1, 100), pairs(1, 100)) || slices.Equal(pairs(1, 100), pairs(2, 100)) {
		t.Error("the pairs do not depend on the seed alone")
	}
}
