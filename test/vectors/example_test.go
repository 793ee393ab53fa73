package vectors_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/signer"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// exampleT stands for the *testing.T of a test.
type exampleT struct{ testing.TB }

func (exampleT) Helper()                   {}
func (exampleT) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }
func (exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// A vector has everything that decides on a record: the chain and its OCSP staples prove
// the signer, and the signer proves the record.
func ExampleRead() {
	v := vectors.Read(exampleT{}, "record-ok") // in a test its *testing.T
	chain, err := signer.Verify(v.Chain.Data, signer.Trust{Roots: v.Pool()}, v.Region, v.Domain, v.Now)
	if err != nil {
		fmt.Println(err)
		return
	}
	var staples [][]byte
	for _, s := range v.Staples {
		staples = append(staples, s.File.Data)
	}
	by, err := chain.Prove(staples, v.Now)
	if err != nil {
		fmt.Println(err)
		return
	}
	terms := keyrecord.Terms{Now: v.Now, Instance: v.Instance, MaxLifetime: time.Minute, Types: keyrecord.SupportedTypes(), MinRSABits: 2048}
	for record := range keyrecord.Records(v.Body) {
		key, err := record.Prove(by, terms)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(v.Expect, key.Type(), key.Caller())
	}
	// Output: granted ssh-ed25519 arn:aws:sts::123456789012:assumed-role/dba/alice
}
