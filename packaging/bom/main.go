// Bom says what the programs of a package are made of, from the build information
// that Go writes into each: as a bill of materials, and with the licenses; and of the files
// of a release, how they were built.
package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

const usage = `Usage: bom sbom --name NAME --version VERSION --time SECONDS PROGRAM...
       bom licenses PROGRAM...
       bom provenance --version VERSION --commit COMMIT FILE...

sbom prints a CycloneDX bill of materials for the package NAME that holds the
programs; SECONDS is the time of the source, in Unix seconds.
licenses prints the license of every module that is linked into the programs, and
of Go.
provenance prints an in-toto statement with SLSA provenance for the files.
`

var errUsage = errors.New("usage error")

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "bom:", err)
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
	}
	os.Exit(1)
}

// run writes nothing unless all went well.
func run(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("bom "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	name := flags.String("name", "", "")
	version := flags.String("version", "", "")
	commit := flags.String("commit", "", "")
	seconds := flags.Int64("time", 0, "")
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	var out bytes.Buffer
	var programs []program
	err := errUsage
	switch {
	case args[0] == "sbom" && *name != "" && *version != "" && *seconds > 0:
		if programs, err = read(flags.Args()); err == nil {
			err = writeSBOM(&out, *name, *version, time.Unix(*seconds, 0).UTC(), programs)
		}
	case args[0] == "licenses":
		if programs, err = read(flags.Args()); err == nil {
			err = writeLicenses(&out, modules(programs))
		}
	case args[0] == "provenance" && *version != "" && *commit != "" && flags.NArg() > 0:
		err = writeProvenance(&out, *version, *commit, flags.Args())
	}
	if err != nil {
		return err
	}
	_, err = stdout.Write(out.Bytes())
	return err
}

// A program is a Go executable.
type program struct {
	name    string
	content []byte
	goos    string
	goarch  string
	stdlib  string // the version of Go, without the word
	modules []*debug.Module
}

func read(files []string) ([]program, error) {
	if len(files) == 0 {
		return nil, errors.New("no program is named")
	}
	var programs []program
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		info, err := buildinfo.Read(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("%s: %v", file, err)
		}
		p := program{name: filepath.Base(file), content: content, stdlib: strings.TrimPrefix(info.GoVersion, "go")}
		for _, s := range info.Settings {
			switch s.Key {
			case "GOOS":
				p.goos = s.Value
			case "GOARCH":
				p.goarch = s.Value
			}
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			p.modules = append(p.modules, m)
		}
		programs = append(programs, p)
	}
	slices.SortFunc(programs, func(a, b program) int { return strings.Compare(a.name, b.name) })
	return programs, nil
}

// modules are those of all programs, each once, in the order of their paths.
func modules(programs []program) []*debug.Module {
	var all []*debug.Module
	for _, p := range programs {
		all = append(all, p.modules...)
	}
	slices.SortFunc(all, func(a, b *debug.Module) int { return strings.Compare(a.Path+"@"+a.Version, b.Path+"@"+b.Version) })
	return slices.CompactFunc(all, func(a, b *debug.Module) bool { return a.Path == b.Path && a.Version == b.Version })
}
