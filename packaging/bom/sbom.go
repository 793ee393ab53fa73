package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"
)

// A document is a bill of materials in CycloneDX 1.6:
// https://cyclonedx.org/docs/1.6/json/
type document struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber,omitempty"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp time.Time `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// writeSBOM writes the bill of materials of a package: the package has programs,
// each program has modules. The same input gives the same bytes.
func writeSBOM(w io.Writer, name, version string, at time.Time, programs []program) error {
	top := component{Type: "application", Ref: name, Name: name, Version: version,
		PURL: "pkg:github/eic-agent/eic-agent@v" + version}
	doc := document{
		Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: metadata{Timestamp: at, Component: top},
	}
	doc.Dependencies = []dependency{{Ref: name}}
	for _, p := range programs {
		sum := sha256.Sum256(p.content)
		c := component{Type: "application", Ref: "program:" + p.name, Name: p.name, Version: version,
			Hashes:     []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
			Properties: []property{{"goos", p.goos}, {"goarch", p.goarch}}}
		d := dependency{Ref: c.Ref, DependsOn: []string{stdlib(p).Ref}}
		for _, m := range p.modules {
			d.DependsOn = append(d.DependsOn, library(m).Ref)
		}
		doc.Components = append(doc.Components, c)
		doc.Dependencies[0].DependsOn = append(doc.Dependencies[0].DependsOn, c.Ref)
		doc.Dependencies = append(doc.Dependencies, d)
	}
	libraries := []component{stdlib(programs[0])}
	for _, p := range programs {
		if p.stdlib != programs[0].stdlib {
			return fmt.Errorf("%s is built with Go %s, %s with Go %s", programs[0].name, programs[0].stdlib, p.name, p.stdlib)
		}
	}
	for _, m := range modules(programs) {
		libraries = append(libraries, library(m))
	}
	for _, c := range libraries {
		doc.Components = append(doc.Components, c)
		doc.Dependencies = append(doc.Dependencies, dependency{Ref: c.Ref})
	}

	content, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	doc.Serial = serial(content)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(doc)
}

func stdlib(p program) component {
	return golang("std", "v"+p.stdlib)
}

func library(m *debug.Module) component {
	c := golang(m.Path, m.Version)
	// As in go.sum: SHA-256 over the list of the module's files.
	if m.Sum != "" {
		c.Properties = []property{{"go:sum", m.Sum}}
	}
	return c
}

func golang(path, version string) component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}

// serial is a UUID of version 8 (RFC 9562: vendor-specific) over what the
// document says, so that the same document has the same one.
func serial(content []byte) string {
	sum := sha256.Sum256(content)
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
