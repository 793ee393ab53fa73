// Make makes the roots of Debian releases that tests run in, those named or all. With
// -newcomer it makes that of test/fresh for the named release, and prints where it is.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"

	"github.com/eic-agent/eic-agent/test/release"
)

func main() {
	newcomer := flag.String("newcomer", "", "")
	flag.Parse()
	if *newcomer != "" {
		dir, err := release.Newcomer(*newcomer).Root(os.Stderr)
		exit(err)
		fmt.Println(dir)
		return
	}
	names := flag.Args()
	if len(names) == 0 {
		names = release.Names
	}
	exit(makeAll(names))
}

// makeAll makes the roots of the named releases, three at once: mmdebstrap
// waits for the mirror between its steps.
func makeAll(names []string) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error
	free := make(chan struct{}, 3)
	for _, name := range names {
		for _, recipe := range []release.Recipe{release.Packaging(name), release.RPM(name), release.Host(name), release.Userdb(name), release.Lintian(name)} {
			if recipe.Suite == "" {
				continue
			}
			wait.Go(func() {
				free <- struct{}{}
				defer func() { <-free }()
				_, err := recipe.Root(os.Stdout)
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
			})
		}
	}
	wait.Wait()
	return failed
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
