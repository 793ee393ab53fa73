package audit

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

const catalogPath = "../../systemd/eic-agent.catalog"

// recordedKinds are the kinds that have a MESSAGE_ID.
func recordedKinds() []Kind {
	return []Kind{KeyProvided, RecordRefused, WouldRefuse, RunFailed, GateOpened, GateRefused, GateFailed, GateBrokenGlass, GateClosed, ChainFailed, SessionOpened, SessionClosed, SessionsFollowed}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	seen := make(map[string]Kind)
	for _, k := range recordedKinds() {
		id := k.messageID()
		if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
			t.Errorf("%s has the id %q", k, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s share an id", k, other)
		}
		seen[id] = k
	}
	if id := NothingToSay.messageID(); id != "" {
		t.Errorf("%s, which is never recorded, has the id %q", NothingToSay, id)
	}
}

func TestCatalogAgreesWithCode(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(catalogPath)
	if err != nil {
		t.Fatal(err)
	}
	var ids, want []string
	for _, k := range recordedKinds() {
		want = append(want, k.messageID())
	}
	known := fullFields()
	_, entries, _ := strings.Cut(string(data), "\n-- ")
	for entry := range strings.SplitSeq(entries, "\n-- ") {
		id, rest, _ := strings.Cut(entry, "\n")
		ids = append(ids, id)
		head, body, _ := strings.Cut(rest, "\n\n")
		lines := strings.Split(head, "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "Subject: ") ||
			!slices.Equal(lines[1:3], []string{
				"Defined-By: eic-agent",
				"Support: https://github.com/eic-agent/eic-agent",
			}) || !slices.Contains([]string{"Documentation: man:eic-authkeys(8)", "Documentation: man:eic-serial-getty(8)", "Documentation: man:eicctl-audit(8)"}, lines[3]) {
			t.Errorf("%s: head is %q", id, head)
		}
		if strings.TrimSpace(body) == "" {
			t.Errorf("%s: no text", id)
		}
		for _, m := range regexp.MustCompile(`@(.*?)@`).FindAllStringSubmatch(entry, -1) {
			if _, ok := known[m[1]]; !ok {
				t.Errorf("%s: the agent has no field %q", id, m[1])
			}
		}
	}
	if !slices.Equal(ids, want) {
		t.Errorf("entries for %q, want %q", ids, want)
	}
}

// TestCatalogCompiles has the real journalctl compile the catalog and list it.
func TestCatalogCompiles(t *testing.T) {
	t.Parallel()
	journalctl, err := exec.LookPath("journalctl")
	if err != nil {
		need.Missing(t, "needs journalctl: %v", err)
	}
	data, err := os.ReadFile(catalogPath)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	source := filepath.Join(root, "usr/lib/systemd/catalog")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "eic-agent.catalog"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	// The compiler complains and carries on.
	if out, err := exec.Command(journalctl, "--root="+root, "--update-catalog").CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("--update-catalog: %v: %s", err, out)
	}
	out, err := exec.Command(journalctl, "--root="+root, "--list-catalog").CombinedOutput()
	if err != nil {
		t.Fatalf("--list-catalog: %v: %s", err, out)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(recordedKinds()) {
		t.Errorf("listed are %q", got)
	}
	for _, k := range recordedKinds() {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, k.messageID()+" eic-agent: ") }) {
			t.Errorf("%s (%s) is not among %q", k, k.messageID(), got)
		}
	}
}
