package signer

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/test/vectors"
)

const vectorDir = "../../test/vectors"

// A vector is what one of test/vectors says of the signer. What the records in it
// come to is tested with the pipeline.
type vector struct {
	vectors.Vector
	trust   Trust
	chain   []byte
	staples [][]byte
}

// signerVectors returns those that differ in what concerns the signer.
func signerVectors(t testing.TB) []vector {
	t.Helper()
	var all []vector
	seen := make(map[string]bool)
	for _, v := range vectors.All(t) {
		v := newVector(v)
		files := []string{v.Region, v.Domain, v.Roots.Name, v.Chain.Name, strings.Join(v.trust.Domains, " "), v.trust.ClockSkew.String()}
		for _, s := range v.Staples {
			files = append(files, s.File.Name)
		}
		key := strings.Join(files, "\n")
		if !seen[key] {
			all = append(all, v)
		}
		seen[key] = true
	}
	if len(all) < 100 {
		t.Fatalf("only %d vectors are about the signer", len(all))
	}
	return all
}

func newVector(from vectors.Vector) vector {
	v := vector{Vector: from, trust: Trust{Roots: from.Pool(), ClockSkew: time.Minute}, chain: from.Chain.Data}
	for _, s := range from.Staples {
		v.staples = append(v.staples, s.File.Data)
	}
	for line := range strings.Lines(from.Config) {
		if list, ok := strings.CutPrefix(line, "domains = "); ok {
			json.Unmarshal([]byte(list), &v.trust.Domains)
		}
		if strings.TrimSpace(line) == `clock_skew = "0s"` {
			v.trust.ClockSkew = 0
		}
	}
	return v
}
