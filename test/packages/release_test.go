package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A release is made only from what everybody can check out, with notes, and when
// govulncheck had its database and found nothing.
func TestRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	checkout := filepath.Join(dir, "checkout")
	// What is here, committed or not, is what is tried.
	shell(t, "../..", `git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
		[ ! -e "$file" ] || printf '%s\0' "$file"; done | tar --create --null --files-from=- | (mkdir "$1" && tar --extract --directory="$1")`, checkout)
	shell(t, checkout, `git init -q && git add -A && git -c user.name=t -c user.email=t@example.com commit -qm one`)

	database := filepath.Join(dir, "database")
	for name, text := range map[string]string{"db": `{"modified":"2026-01-01T00:00:00Z"}`, "modules": "[]", "vulns": "[]"} {
		if err := os.MkdirAll(database+"/index", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(database+"/index/"+name+".json", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shell(t, dir, `ssh-keygen -q -t ed25519 -N '' -f key; echo "releases@eic-agent $(cat key.pub)" >allowed_signers`)
	release := func(database, version string) (string, error) {
		cmd := exec.Command("make", "release", "VERSION="+version)
		cmd.Dir = checkout
		cmd.Env = append(os.Environ(), "ARCHES=amd64", "GOVULNDB="+database, "EIC_RELEASE_KEY="+dir+"/key")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	commit := `git -c user.name=t -c user.email=t@example.com commit -qam two && git tag -f v7.8.9`
	for _, step := range []struct{ script, database, version, want string }{
		{"", database, "", "no version is named"},
		{"", database, "7.8.9", "there is no tag v7.8.9"},
		{"", database, "7.8.9~rc1", "there is no tag v7.8.9-rc1"},
		{"git tag v7.8.9", database, "7.8.9", `nothing under "## 7.8.9"`},
		{`printf '\n## 7.8.90\n\n- other\n\n## 7.8.9 - 2026-01-01\n\n' >>CHANGELOG.md`, database, "7.8.9", "not committed"},
		{commit, database, "7.8.9", `nothing under "## 7.8.9"`},
		{`printf -- '- a change\n' >>CHANGELOG.md && ` + commit, "file://" + dir + "/none", "7.8.9", "govulncheck found something, or could not reach"},
		{"touch stray", "file://" + database, "7.8.9", "not committed"},
		{`rm stray && git -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m three`, database, "7.8.9", "is not what is checked out"},
	} {
		if step.script != "" {
			shell(t, checkout, step.script)
		}
		out, err := release(step.database, step.version)
		if err == nil || !strings.Contains(out, step.want) {
			t.Errorf("after %q: %v\n%s\nwant %q", step.script, err, out, step.want)
		}
		if _, err := os.Stat(checkout + "/dist"); err == nil {
			t.Fatalf("after %q: dist/ was made", step.script)
		}
	}
	shell(t, checkout, "git checkout -q v7.8.9")
	if out, err := release("file://"+database, "7.8.9"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shell(t, checkout+"/dist", `
		# As docs/install.md has it.
		ssh-keygen -Y verify -f ../../allowed_signers -I releases@eic-agent -n file -s SHA256SUMS.sig <SHA256SUMS
		sha256sum --check --strict --quiet SHA256SUMS
		[ "$(wc -l <SHA256SUMS)" = "$(($(ls | wc -l) - 2))" ]
		ls eic-agent_7.8.9-1_amd64.deb eic-agent-7.8.9-1.x86_64.rpm eic-agent-7.8.9-1.src.rpm eic-agent-7.8.9.tar.gz eic-emulator_7.8.9-1_amd64.deb eic-agent_7.8.9_amd64.cdx.json
		[ "$(cat NOTES-7.8.9.md)" = "- a change" ]
		# Every file but itself is a subject of the provenance.
		sed -n 's/.*"sha256": "\(.*\)"/\1/p' eic-agent_7.8.9.intoto.json | sort >../../subjects
		grep -v ' eic-agent_7.8.9.intoto.json$' SHA256SUMS | cut -d' ' -f1 | sort | cmp - ../../subjects
		grep -q "\"gitCommit\": \"$(git rev-parse HEAD)\"" eic-agent_7.8.9.intoto.json
		! sed 's/^0/1/; s/^1/0/; s/^./f/' SHA256SUMS | ssh-keygen -Y verify -f ../../allowed_signers -I releases@eic-agent -n file -s SHA256SUMS.sig 2>/dev/null`)
	shell(t, checkout, `
		git -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m four
		git tag v7.9.0-rc1
		[ "$(packaging/version)" = '7.9.0~rc1' ]`)
}

func shell(t *testing.T, dir, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("bash", append([]string{"-eu", "-o", "pipefail", "-c", script, "bash"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
