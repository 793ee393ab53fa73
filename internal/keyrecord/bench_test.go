package keyrecord

import (
	"testing"

	"github.com/eic-agent/eic-agent/internal/signer"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// The second call of a login proves one record, with the signer that is proved.
func BenchmarkProve(b *testing.B) {
	v := vectors.Read(b, "record-ok")
	chain, err := signer.Verify(v.Chain.Data, signer.Trust{Roots: v.Pool()}, v.Region, v.Domain, v.Now)
	if err != nil {
		b.Fatal(err)
	}
	var staples [][]byte
	for _, s := range v.Staples {
		staples = append(staples, s.File.Data)
	}
	by, err := chain.Prove(staples, v.Now)
	if err != nil {
		b.Fatal(err)
	}
	t := terms()
	t.Now, t.Instance = v.Now, v.Instance
	b.ReportAllocs()
	for b.Loop() {
		for r := range Records(v.Body) {
			if _, err := r.Prove(by, t); err != nil {
				b.Fatal(err)
			}
		}
	}
}
