package signer

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"testing"
	"time"
)

// The fingerprints that https://www.amazontrust.com/repository/ publishes.
var published = map[string]string{
	"Amazon Root CA 1": "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
	"Amazon Root CA 2": "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
	"Amazon Root CA 3": "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
	"Amazon Root CA 4": "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
	"Starfield Services Root Certificate Authority - G2": "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
}

func TestBuiltInRoots(t *testing.T) {
	t.Parallel()
	pool := x509.NewCertPool()
	seen := make(map[string]bool)
	for block, rest := pem.Decode(amazonPEM); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(c)
		name := c.Subject.CommonName
		sum := fmt.Sprintf("%x", sha256.Sum256(c.Raw))
		if published[name] != sum || seen[name] {
			t.Errorf("%s with SHA-256 %s is none of the published roots, or twice there", name, sum)
		}
		seen[name] = true
		if !bytes.Contains(amazonPEM, []byte("# SHA-256 "+sum+"\n-----BEGIN CERTIFICATE-----\n")) {
			t.Errorf("the comment before %s is not its fingerprint", name)
		}
		if c.NotAfter.Before(time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s ends at %v", name, c.NotAfter)
		}
		if !c.IsCA || c.CheckSignatureFrom(c) != nil {
			t.Errorf("%s is no root", name)
		}
	}
	if len(seen) != len(published) || len(regexp.MustCompile("BEGIN CERTIFICATE").FindAll(amazonPEM, -1)) != len(published) {
		t.Errorf("there are the roots %v, want those published", seen)
	}
	// What is compiled in is what the zero Trust trusts, and all of it.
	if !(Trust{}).roots().Equal(pool) {
		t.Error("the zero Trust does not trust the built-in roots")
	}
	replaced := x509.NewCertPool()
	if !(Trust{Roots: replaced}).roots().Equal(replaced) {
		t.Error("other roots do not replace the built-in ones")
	}
}
