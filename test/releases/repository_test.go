package releases

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// makeRepositories makes repositories for apt in dir, signed with a key made for it: that of each
// version has the packages of those before, too.
func makeRepositories(dir string) error {
	cmd := exec.Command("sh", "-euc", `
		export GNUPGHOME="$1/gnupg"
		mkdir -m 700 "$GNUPGHOME"
		trap 'gpgconf --kill all' EXIT
		gpg --quiet --batch --passphrase '' --quick-generate-key packages@example.com rsa3072 sign never
		"$2" "$1/$3" "$1/apt-$3" packages@example.com
		cp -r "$1/apt-$3" "$1/apt-$4"
		"$2" "$1/$4" "$1/apt-$4" packages@example.com`, "sh", dir, "../../packaging/deb/repository", oldVersion, newVersion)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the repository: %w\n%s", err, out)
	}
	return nil
}

// publish puts the repository of that version where the host looks for it.
func (h *host) publish(version string) {
	h.t.Helper()
	source := os.DirFS(filepath.Join(built, "apt-"+version))
	h.must("rm", "-rf", "/srv/apt")
	err := fs.WalkDir(source, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(source, path)
		if err == nil {
			h.write("/srv/apt/"+path, string(content))
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.apt("update")
}

// useRepository makes the repository the only one that the host knows.
func (h *host) useRepository() {
	h.t.Helper()
	h.must("sh", "-c", "rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(built, "apt-"+oldVersion, name))
		if err != nil {
			h.t.Fatal(err)
		}
		return string(content)
	}
	h.write("/etc/apt/keyrings/eic-agent.gpg", read("eic-agent.gpg"))
	h.write("/etc/apt/sources.list.d/eic-agent.sources", strings.ReplaceAll(read("eic-agent.sources"), "https://packages.example.com", "file:///srv"))
	h.publish(oldVersion)
}

func (h *host) apt(args ...string) string {
	h.t.Helper()
	return h.must("env", append([]string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "--yes", "--quiet=2"}, args...)...)
}
