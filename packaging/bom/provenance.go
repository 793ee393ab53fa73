package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const repository = "git+https://github.com/eic-agent/eic-agent"

// A statement says of files how they were built: an in-toto statement with SLSA provenance.
// https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     provenance `json:"predicate"`
}

type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

type provenance struct {
	BuildDefinition struct {
		BuildType            string            `json:"buildType"`
		ExternalParameters   map[string]string `json:"externalParameters"`
		ResolvedDependencies []resource        `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// writeProvenance states that `make release` made the files from that commit, with the Go that built
// this program. It has no times and no names of machines: the same input gives the same bytes.
// It is not signed; SHA256SUMS covers it.
func writeProvenance(w io.Writer, version, commit string, files []string) error {
	s := statement{Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1"}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		s.Subject = append(s.Subject, resource{Name: filepath.Base(file), Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}})
	}
	build := &s.Predicate.BuildDefinition
	build.BuildType = "https://github.com/eic-agent/eic-agent/blob/main/docs/install.md#what-can-be-checked"
	build.ExternalParameters = map[string]string{"command": "make release", "VERSION": version}
	// Git takes no ~ in a tag.
	source := repository + "@refs/tags/v" + strings.ReplaceAll(version, "~", "-")
	build.ResolvedDependencies = []resource{
		{URI: source, Digest: map[string]string{"gitCommit": commit}},
		{URI: "pkg:golang/std@v" + strings.TrimPrefix(runtime.Version(), "go")},
	}
	s.Predicate.RunDetails.Builder.ID = "https://github.com/eic-agent/eic-agent/blob/main/packaging/release"
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}
