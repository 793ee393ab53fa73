// Package version tells which build of the agent this is.
package version

import "runtime/debug"

// linked is the version of the package that this build is for: packaging/build has
// the linker set it.
var linked string

// String returns the version of the package that the program is from. For a build
// outside a package it is from the build information: the version of the module, or
// "devel" and the revision for a build from a checkout.
func String() string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
