// Make makes the roots of Debian releases that tests run in, those named or all.
package main

import (
	"fmt"
	"os"

	"github.com/eic-agent/eic-agent/test/release"
)

func main() {
	names := os.Args[1:]
	if len(names) == 0 {
		names = release.Names
	}
	for _, name := range names {
		for _, recipe := range []release.Recipe{release.Host(name), release.Userdb(name), release.Packaging(name)} {
			if recipe.Suite == "" {
				continue
			}
			if _, err := recipe.Root(os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}
