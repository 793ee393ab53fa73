package emulator

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// With Options.RSA every certificate that is served has an RSA key, as AWS's have.
func TestRSAChain(t *testing.T) {
	t.Parallel()
	for _, wanted := range []bool{true, false} {
		s, err := New(Options{RSA: wanted})
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(s.RootsPEM())
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, isRSA := root.PublicKey.(*rsa.PublicKey); isRSA != wanted {
			t.Errorf("RSA: %v, but the root has a %T", wanted, root.PublicKey)
		}
	}
}
