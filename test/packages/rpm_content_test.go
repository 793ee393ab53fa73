package packages

import (
	"debug/buildinfo"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rpmDocs lists the documents in docs/ that package name holds.
func rpmDocs(t *testing.T, name string) (files []string) {
	t.Helper()
	found, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(found) < 4 {
		t.Fatalf("docs: %q, %v", found, err)
	}
	for _, doc := range found {
		doc = filepath.Base(doc)
		if (doc == "emulator.md") == (name == "eic-emulator") {
			files = append(files, "0644 /usr/share/doc/"+name+"/"+doc)
		}
	}
	return files
}

func rpmOnly(name string) []string {
	return []string{
		"0755 /usr/share/doc/" + name,
		"0644 /usr/share/doc/" + name + "/CHANGELOG.md",
		"0755 /usr/share/licenses/" + name,
		"0644 /usr/share/licenses/" + name + "/LICENSE",
		"0644 /usr/share/licenses/" + name + "/third-party-licenses",
	}
}

func TestRPMContents(t *testing.T) {
	t.Parallel()
	for _, arch := range rpmArches() {
		for name, files := range map[string][]string{
			"eic-agent": slices.Concat(agentFiles, rpmDocs(t, "eic-agent"), []string{
				"0644 /usr/share/zsh/site-functions/_eicctl", "0755 /etc/eic-agent", "0755 /usr/share/doc/eic-agent/examples"}),
			"eic-emulator": append(slices.DeleteFunc(slices.Clone(emulatorFiles), func(f string) bool { return strings.Contains(f, "/doc/") }),
				append(rpmDocs(t, "eic-emulator"), "0644 /usr/share/zsh/site-functions/_eic-emulator")...),
		} {
			file := rpmFile(name, newVersion, arch)
			compare(t, file, inRPM(t, file), files, examples(t, name), manuals(t, name), rpmOnly(name))
		}
	}
	file := rpmFile("eic-agent-selinux", newVersion, "noarch")
	compare(t, file, inRPM(t, file), []string{"0755 /usr/share/licenses/eic-agent-selinux", "0644 /usr/share/licenses/eic-agent-selinux/LICENSE", "0644 /usr/share/selinux/packages/eic_agent.cil"})
}

// queryRPM asks the file of a package, with a database of its own: where the host has none,
// rpm 4.20 makes one there.
func queryRPM(t *testing.T, args ...string) string {
	t.Helper()
	return string(output(t, "rpm", append([]string{"--dbpath", t.TempDir(), "-qp"}, args...)...))
}

// inRPM lists the files of a package. Each belongs to root and has a class, which says what
// it holds.
func inRPM(t *testing.T, file string) (files []string) {
	t.Helper()
	text := queryRPM(t, "--queryformat", `[%{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES} %{FILECLASS}\n]`, file)
	for line := range strings.Lines(text) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(words) != 4 || words[3] == "(none)" {
			t.Errorf("%s: no class: %s", file, line)
		}
		if words[1] != "root:root" {
			t.Errorf("%s: %s belongs to %s", file, words[2], words[1])
		}
		if strings.HasPrefix(words[2], "/usr/bin/") && !strings.Contains(words[3], "ELF 64-bit LSB executable") {
			t.Errorf("%s: %s is of the class %q", file, words[2], words[3])
		}
		files = append(files, words[0][len(words[0])-4:]+" "+words[2])
	}
	return files
}

// The rpm of Amazon Linux 2 is 4.11: it knows no newer format. The administrator's
// configuration, documents and licenses are marked.
func TestRPMHeaders(t *testing.T) {
	t.Parallel()
	known := []string{"CompressedFileNames", "FileDigests", "PayloadFilesHavePrefix", "PayloadIsXz", "TildeInVersions"}
	for _, file := range []string{rpm("eic-agent", newVersion), rpmFile("eic-agent-selinux", newVersion, "noarch"), rpm("eic-emulator", newVersion)} {
		for line := range strings.Lines(queryRPM(t, "--requires", file)) {
			if feature, is := strings.CutPrefix(line, "rpmlib("); is && !slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(feature, k+")") }) {
				t.Errorf("%s needs %s", filepath.Base(file), line)
			}
			// Of rpm 4.19 and later, from sysusers.d.
			if strings.HasPrefix(line, "user(") || strings.HasPrefix(line, "group(") {
				t.Errorf("%s needs %s", filepath.Base(file), line)
			}
		}
	}
	flags := queryRPM(t, "--queryformat", "[%{FILEFLAGS:fflags} %{FILENAMES}\n]", rpm("eic-agent", newVersion))
	for _, want := range []string{"cn /etc/eic-agent/config.toml", "l /usr/share/licenses/eic-agent/LICENSE", "l /usr/share/licenses/eic-agent/third-party-licenses", "d /usr/share/doc/eic-agent/install.md", "d /usr/share/man/man8/eicctl.8.gz"} {
		if !strings.Contains("\n"+flags, "\n"+want+"\n") {
			t.Errorf("no %q in the flags\n%s", want, flags)
		}
	}
}

// What is linked into the programs of a package is what the package says it has bundled.
func TestRPMBundled(t *testing.T) {
	t.Parallel()
	r := copyOf(t, newest)
	for name, programs := range map[string][]string{"eic-agent": {"eic-authkeys", "eic-serial-getty", "eicctl"}, "eic-emulator": {"eic-emulator"}} {
		for _, arch := range rpmArches() {
			file := rpmFile(name, newVersion, arch)
			r.run("sh", "-ec", `rm -rf /tmp/x; mkdir /tmp/x; cd /tmp/x; rpm2cpio "$1" | cpio --quiet -id`, "sh", r.bring(file))
			var linked []string
			for _, program := range programs {
				info, err := buildinfo.ReadFile(r.dir + "/tmp/x/usr/bin/" + program)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range info.Deps {
					linked = append(linked, fmt.Sprintf("bundled(golang(%s)) = %s", m.Path, strings.ReplaceAll(m.Version[1:], "-", "~")))
				}
			}
			slices.Sort(linked)
			linked = slices.Compact(linked)
			var provided []string
			for line := range strings.Lines(queryRPM(t, "--provides", file)) {
				if strings.HasPrefix(line, "bundled(") {
					provided = append(provided, strings.TrimSpace(line))
				}
			}
			if len(linked) == 0 || !slices.Equal(provided, linked) {
				t.Errorf("%s provides\n%s\nand links\n%s", filepath.Base(file), strings.Join(provided, "\n"), strings.Join(linked, "\n"))
			}
		}
	}
}
