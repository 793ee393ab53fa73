// Package docs has the pages that tests hold the programs against.
package docs

import _ "embed"

// Events is events.md.
//
//go:embed events.md
var Events string
