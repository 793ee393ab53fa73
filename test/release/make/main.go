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
		if _, err := release.Host(name).Root(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
