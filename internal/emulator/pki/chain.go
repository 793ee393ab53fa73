package pki

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // linked in for StapleName and Staple
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
)

// EncodePEM returns the certificates as PEM blocks, in the order given.
func EncodePEM(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// StapleName returns the name under which the metadata service serves the
// staple of cert: the upper-case hex digest of its DER. AWS has used
// crypto.SHA1 and crypto.SHA256; 0 is SHA-1.
func StapleName(cert *x509.Certificate, hash crypto.Hash) (string, error) {
	sum, err := digest(hash, cert.Raw)
	if err != nil {
		return "", err
	}
	return strings.ToUpper(hex.EncodeToString(sum)), nil
}

// digest hashes data; hash 0 is SHA-1.
func digest(hash crypto.Hash, data []byte) ([]byte, error) {
	if hash == 0 {
		hash = crypto.SHA1
	}
	if !hash.Available() {
		return nil, fmt.Errorf("hash %v is not available", hash)
	}
	h := hash.New()
	h.Write(data)
	return h.Sum(nil), nil
}
