// Make makes the roots of Debian releases that tests run in, those named or all. With
// -newcomer it makes that of test/fresh for the named release, and prints where it is.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/eic-agent/eic-agent/test/release"
)

func main() {
	newcomer := flag.String("newcomer", "", "")
	flag.Parse()
	if *newcomer != "" {
		fmt.Println(root(release.Newcomer(*newcomer), os.Stderr))
		return
	}
	names := flag.Args()
	if len(names) == 0 {
		names = release.Names
	}
	for _, name := range names {
		for _, recipe := range []release.Recipe{release.Host(name), release.Userdb(name), release.Packaging(name), release.RPM(name), release.Lintian(name)} {
			if recipe.Suite != "" {
				root(recipe, os.Stdout)
			}
		}
	}
}

func root(recipe release.Recipe, log io.Writer) string {
	dir, err := recipe.Root(log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return dir
}
