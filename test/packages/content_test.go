package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the packages hold: mode and path. All of it belongs to root.
var agentFiles = []string{
	"0644 /etc/eic-agent/config.toml",
	"0755 /usr/bin/eic-authkeys",
	"0755 /usr/bin/eic-serial-getty",
	"0755 /usr/bin/eicctl",
	"0644 /usr/lib/systemd/catalog/eic-agent.catalog",
	"0644 /usr/lib/systemd/system/eic-serial-check.service",
	"0644 /usr/lib/systemd/system/eic-sessions.service",
	"0644 /usr/lib/sysusers.d/eic-agent.conf",
	"0644 /usr/lib/tmpfiles.d/eic-agent.conf",
	"0644 /usr/share/bash-completion/completions/eicctl",
	"0644 /usr/share/doc/eic-agent/examples/config.toml",
	"0644 /usr/share/fish/vendor_completions.d/eicctl.fish",
}

var emulatorFiles = []string{
	"0755 /usr/bin/eic-emulator",
	"0644 /usr/share/bash-completion/completions/eic-emulator",
	"0644 /usr/share/fish/vendor_completions.d/eic-emulator.fish",
}

// manuals lists the manual pages of package name: of the emulator its own, of the agent
// all others that there are.
func manuals(t *testing.T, name string) (files []string) {
	t.Helper()
	found, err := filepath.Glob("../../man/*.[1-8]")
	if err != nil || len(found) < 4 {
		t.Fatalf("manual pages: %q, %v", found, err)
	}
	for _, page := range found {
		page = filepath.Base(page)
		if (page == "eic-emulator.1") == (name == "eic-emulator") {
			files = append(files, "0644 /usr/share/man/man"+page[len(page)-1:]+"/"+page+".gz")
		}
	}
	return files
}

// examples lists those of package name: only the agent's has any.
func examples(t *testing.T, name string) (files []string) {
	t.Helper()
	if name != "eic-agent" {
		return nil
	}
	found, err := filepath.Glob("../../examples/*")
	if err != nil || len(found) == 0 {
		t.Fatalf("examples: %q, %v", found, err)
	}
	for _, file := range found {
		files = append(files, "0644 /usr/share/doc/eic-agent/examples/"+filepath.Base(file))
	}
	return files
}

// docs lists the documents of package name, as debhelper compresses them: of the emulator its own,
// of the agent all others that there are.
func docs(t *testing.T, name string) (files []string) {
	t.Helper()
	found, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(found) < 4 {
		t.Fatalf("documents: %q, %v", found, err)
	}
	for _, file := range found {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		document := filepath.Base(file)
		if (document == "emulator.md") != (name == "eic-emulator") {
			continue
		}
		if info.Size() > 4096 {
			document += ".gz"
		}
		files = append(files, "0644 /usr/share/doc/"+name+"/"+document)
	}
	return files
}

func debOnly(name string) []string {
	return []string{
		"0644 /usr/share/doc/" + name + "/changelog.Debian.gz",
		"0644 /usr/share/doc/" + name + "/changelog.gz",
		"0644 /usr/share/doc/" + name + "/copyright",
		"0644 /usr/share/doc/" + name + "/third-party-licenses.gz",
		"0644 /usr/share/lintian/overrides/" + name,
	}
}

func TestContents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		files, more []string
	}{
		{"eic-agent", agentFiles, []string{"0644 /usr/share/zsh/vendor-completions/_eicctl"}},
		{"eic-emulator", emulatorFiles, []string{"0644 /usr/share/zsh/vendor-completions/_eic-emulator"}},
	} {
		for _, arch := range arches() {
			file := fmt.Sprintf("%s/new/%s_%s-1_%s.deb", built, test.name, newVersion, arch)
			compare(t, file, inDeb(t, file), test.files, examples(t, test.name), manuals(t, test.name), docs(t, test.name), debOnly(test.name), test.more)
		}
	}
}

func compare(t *testing.T, file string, got []string, want ...[]string) {
	t.Helper()
	all := slices.Concat(want...)
	slices.Sort(all)
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("%s holds\n%s\nwant\n%s", filepath.Base(file), strings.Join(got, "\n"), strings.Join(all, "\n"))
	}
}

// inDeb lists the files of a package. Directories have to be root's, 0755.
func inDeb(t *testing.T, file string) (files []string) {
	t.Helper()
	archive := tar.NewReader(bytes.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", file)))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: %s belongs to %d:%d", file, h.Name, h.Uid, h.Gid)
		}
		switch {
		case h.Typeflag == tar.TypeReg:
			files = append(files, fmt.Sprintf("%04o %s", h.Mode, strings.TrimPrefix(h.Name, ".")))
		case h.Typeflag != tar.TypeDir || h.Mode != 0o755:
			t.Errorf("%s: %s is of kind %c, mode %o", file, h.Name, h.Typeflag, h.Mode)
		}
	}
}

// Every program has a manual page, and knows its version.
func TestPrograms(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	r.run("dpkg", "-i", r.bring(deb("eic-agent", newVersion)), r.bring(deb("eic-emulator", newVersion)))
	for _, line := range slices.Concat(agentFiles, emulatorFiles) {
		mode, path, _ := strings.Cut(line, " ")
		if mode != "0755" {
			continue
		}
		program := filepath.Base(path)
		if got, want := r.run(path, "--version"), program+" "+newVersion+"\n"; got != want {
			t.Errorf("%s --version: %q, want %q", program, got, want)
		}
		page := "/usr/share/man/man8/" + program + ".8.gz"
		if program == "eic-emulator" {
			page = "/usr/share/man/man1/eic-emulator.1.gz"
		}
		if text := r.run("man", "--warnings", page); !strings.Contains(text, program) {
			t.Errorf("%s says: %.200q", page, text)
		}
		if !strings.Contains(r.run("zcat", "/usr/share/doc/eic-agent/third-party-licenses.gz"), "github.com/spf13/cobra") {
			t.Error("the license of cobra is missing")
		}
	}
	for _, program := range []string{"eicctl", "eic-emulator"} {
		r.run("bash", "-n", "/usr/share/bash-completion/completions/"+program)
	}
	// What the completion of each shell asks the program.
	if got := r.run("eicctl", "__complete", "finger"); !strings.HasPrefix(got, "fingerprint\t") {
		t.Errorf("completing finger: %q", got)
	}
	if got := r.run("eic-emulator", "__complete", "serve", "--ready"); !strings.HasPrefix(got, "--ready-file\t") {
		t.Errorf("completing --ready: %q", got)
	}
}

// Eicctl writes to the configuration, and dpkg stops an upgrade to ask where the text
// in the package is another than in the one before. So it stays this one for ever.
func TestConfigurationStays(t *testing.T) {
	t.Parallel()
	const want = "59e3c8dcfaba88356ad2fd21a269f56af3d2d01ba7f8315fe94fba2103bcec45"
	if got := fmt.Sprintf("%x", sum(t, "../../packaging/config.toml")); got != want {
		t.Errorf("packaging/config.toml has the SHA-256 %s; leave it as it is, and change the example", got)
	}
	if got := string(output(t, "dpkg-deb", "--info", deb("eic-agent", newVersion), "conffiles")); got != "/etc/eic-agent/config.toml\n" {
		t.Errorf("conffiles: %q", got)
	}
}

// The two programs that wait for a person to log in are small: a login reads them
// from a disk that may be cold.
func TestSize(t *testing.T) {
	t.Parallel()
	const most = 9 << 20
	found := 0
	archive := tar.NewReader(bytes.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", deb("eic-agent", newVersion))))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(h.Name)
		if name != "eic-authkeys" && name != "eic-serial-getty" {
			continue
		}
		found++
		if h.Size >= most {
			t.Errorf("%s has %d bytes, more than %d", name, h.Size, most)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		program, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if program.Section(".symtab") != nil || program.Section(".debug_info") != nil {
			t.Errorf("%s is not stripped", name)
		}
	}
	if found != 2 {
		t.Errorf("%d of the two programs are in the package", found)
	}
}

func TestReproducible(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]int{"*.deb": 2 * len(arches()), "*.rpm": 2 + 2*len(arches()), "*.cdx.json": 2 * len(arches()), "*.dsc": 1, "*.debian.tar.xz": 1, "*.tar.gz": 2} {
		if found, err := filepath.Glob(built + "/new/" + pattern); err != nil || len(found) != want {
			t.Errorf("built %q, %v; want %d of %s", found, err, want, pattern)
		}
	}
	again, err := filepath.Glob(built + "/again/*")
	if err != nil || len(again) != 12 {
		t.Fatalf("built again %q, %v", again, err)
	}
	for _, file := range again {
		once := filepath.Join(built, "new", filepath.Base(file))
		if sum(t, file) != sum(t, once) {
			t.Errorf("%s differs when it is built a second time:\n%s", filepath.Base(file), firstDifference(t, once, file))
		}
	}
}

// rpmbuild makes the same packages of the source package, without a network and without packaging/build-rpm.
func TestRPMRebuilds(t *testing.T) {
	t.Parallel()
	for _, file := range []string{rpm("eic-agent", newVersion), rpm("eic-emulator", newVersion)} {
		found, err := filepath.Glob(built + "/rebuilt/RPMS/*/" + filepath.Base(file))
		if err != nil || len(found) != 1 {
			t.Fatalf("rebuilt %q, %v", found, err)
		}
		if sum(t, found[0]) != sum(t, file) {
			t.Errorf("%s differs when it is built from the source package:\n%s", filepath.Base(file), firstDifference(t, file, found[0]))
		}
	}
}

// debian/copyright has a paragraph for every vendored module, with the license that the module's file is, and no other.
func TestCopyright(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../packaging/deb/copyright")
	if err != nil {
		t.Fatal(err)
	}
	// The last paragraph that matches a file counts.
	type paragraph struct {
		files   *regexp.Regexp
		license string
		used    bool
	}
	var paragraphs []*paragraph
	for _, match := range regexp.MustCompile(`(?m)^Files: (.*(?:\n .*)*)\nCopyright: .*(?:\n .*)*\nLicense: (.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, pattern := range strings.Fields(match[1]) {
			if pattern != "*" {
				paragraphs = append(paragraphs, &paragraph{regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$"), match[2], false})
			}
		}
	}
	if len(paragraphs) < 5 {
		t.Fatalf("%d patterns were found", len(paragraphs))
	}
	begins := map[string]string{
		"Apache-2.0": "Apache License", "BSD-3-Clause": "Neither the name of", "Expat": "Permission is hereby granted, free of charge", "ISC": "Permission to use, copy, modify, and",
	}
	file, err := os.Open(built + "/new/eic-agent-" + newVersion + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(z)
	licenses := 0
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !strings.HasPrefix(name, "vendor/") || name == "vendor/modules.txt" {
			continue
		}
		var of *paragraph
		for _, p := range paragraphs {
			if p.files.MatchString(name) {
				of = p
			}
		}
		if of == nil {
			t.Errorf("no paragraph is for %s", name)
			continue
		}
		of.used = true
		if base, _, _ := strings.Cut(filepath.Base(name), "."); base == "LICENSE" {
			licenses++
			content, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			if begin := begins[of.license]; begin == "" || !strings.Contains(strings.Join(strings.Fields(string(content)), " "), begin) {
				t.Errorf("%s is not the license %q", name, of.license)
			}
		}
	}
	if licenses < 5 {
		t.Errorf("%d files with licenses are in the tarball", licenses)
	}
	for _, p := range paragraphs {
		if !p.used {
			t.Errorf("%s matches nothing that is vendored", p.files)
		}
	}
}

func sum(t *testing.T, file string) [32]byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

func firstDifference(t *testing.T, a, b string) string {
	out, _ := exec.Command("cmp", a, b).CombinedOutput()
	return string(out)
}

func TestBillOfMaterials(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(built + "/new/eic-agent_" + newVersion + "_amd64.cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Components []struct {
			Name, Version string
			Hashes        []struct{ Alg, Content string }
		}
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		t.Fatal(err)
	}
	// The programs in it are those of the package.
	programs := 0
	archive := tar.NewReader(bytes.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", deb("eic-agent", newVersion))))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o755 || h.Typeflag != tar.TypeReg {
			continue
		}
		program, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		programs++
		want := fmt.Sprintf("%x", sha256.Sum256(program))
		if !slices.ContainsFunc(bom.Components, func(c struct {
			Name, Version string
			Hashes        []struct{ Alg, Content string }
		}) bool {
			return c.Name == filepath.Base(h.Name) && c.Version == newVersion && len(c.Hashes) == 1 && c.Hashes[0].Content == want
		}) {
			t.Errorf("the bill of materials has no %s with SHA-256 %s", h.Name, want)
		}
	}
	if programs < 2 {
		t.Errorf("the package has %d programs", programs)
	}
}

// What is compressed is so in the same way everywhere.
func TestCompressedWithoutName(t *testing.T) {
	t.Parallel()
	archive := tar.NewReader(bytes.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", deb("eic-agent", newVersion))))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".gz") {
			continue
		}
		z, err := gzip.NewReader(archive)
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		if z.Name != "" || !z.ModTime.IsZero() {
			t.Errorf("%s keeps the name %q and the time %v", h.Name, z.Name, z.ModTime)
		}
	}
}

func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}
