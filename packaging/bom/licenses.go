package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// writeLicenses writes the license files of Go and of the modules, which their terms
// want to go along with a program. A module without one is an error.
func writeLicenses(w io.Writer, modules []*debug.Module) error {
	goroot, err := exec.Command(goCommand(), "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("asking Go where it is: %v", err)
	}
	dir := strings.TrimSpace(string(goroot))
	if _, err := os.Stat(filepath.Join(dir, "LICENSE")); errors.Is(err, fs.ErrNotExist) {
		// Distributions put it elsewhere. What the library vendors of Go's own modules has the same.
		dir = filepath.Join(dir, "src/vendor/golang.org/x/crypto")
	}
	if err := writeFolder(w, "the Go standard library", dir); err != nil {
		return err
	}
	for _, m := range modules {
		dir, err := folder(m)
		if err != nil {
			return err
		}
		if err := writeFolder(w, m.Path+" "+m.Version, dir); err != nil {
			return err
		}
	}
	return nil
}

func goCommand() string {
	if command := os.Getenv("GO"); command != "" {
		return command
	}
	return "go"
}

// folder returns where the source of the module is: in vendor, where there is one, or
// where Go downloads it if it is missing.
func folder(m *debug.Module) (string, error) {
	if _, err := os.Stat("vendor/modules.txt"); err == nil {
		return filepath.Join("vendor", m.Path), nil
	}
	out, err := exec.Command(goCommand(), "mod", "download", "-json", m.Path+"@"+m.Version).Output()
	if err != nil {
		return "", fmt.Errorf("downloading %s@%s: %v", m.Path, m.Version, err)
	}
	var downloaded struct{ Dir string }
	err = json.Unmarshal(out, &downloaded)
	return downloaded.Dir, err
}

func writeFolder(w io.Writer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var files []string
	for _, e := range entries {
		base, _, _ := strings.Cut(strings.ToUpper(e.Name()), ".")
		if e.Type().IsRegular() && slices.Contains([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"}, base) {
			files = append(files, e.Name())
		}
	}
	if !slices.ContainsFunc(files, func(f string) bool { return !strings.HasPrefix(f, "NOTICE") && !strings.HasPrefix(f, "PATENTS") }) {
		return fmt.Errorf("%s: no license in %s", name, dir)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "==== %s: %s\n\n%s\n\n", name, file, strings.TrimSpace(string(text)))
	}
	return nil
}
