package signer

import (
	"testing"

	"github.com/eic-agent/eic-agent/test/vectors"
)

// A login proves one chain, with the built-in roots replaced.
func BenchmarkProve(b *testing.B) {
	v := newVector(vectors.Read(b, "record-ok"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proved(v, v.chain, v.staples); err != nil {
			b.Fatal(err)
		}
	}
}

// The built-in roots are read by each run that proves a chain.
func BenchmarkAmazonRoots(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		amazonRoots()
	}
}
