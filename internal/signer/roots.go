package signer

import (
	"crypto/x509"
	_ "embed"
	"slices"
	"time"
)

// amazonPEM holds the roots of Amazon Trust Services: Amazon Root CA 1 to 4 and
// Starfield Services Root Certificate Authority - G2
// (https://www.amazontrust.com/repository/).
//
//go:embed amazon.pem
var amazonPEM []byte

// amazonRoots returns the built-in roots.
func amazonRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(amazonPEM)
	return pool
}

// awsDomains returns the service domain of each AWS partition, as botocore's
// partitions.json has them.
func awsDomains() []string {
	return []string{
		"amazonaws.com",    // aws, aws-us-gov
		"amazonaws.com.cn", // aws-cn
		"amazonaws.eu",     // aws-eusc
		"c2s.ic.gov",       // aws-iso
		"sc2s.sgov.gov",    // aws-iso-b
		"cloud.adc-e.uk",   // aws-iso-e
		"csp.hci.ic.gov",   // aws-iso-f
	}
}

// Trust is the configured trust for signers. The zero Trust
// has the built-in roots and domains.
type Trust struct {
	// Roots replace the built-in roots of Amazon Trust Services.
	Roots *x509.CertPool
	// Domains are service domains besides those of the AWS partitions.
	Domains []string
	// ClockSkew is how far a certificate or a staple may begin in the future.
	ClockSkew time.Duration
}

func (t Trust) roots() *x509.CertPool {
	if t.Roots != nil {
		return t.Roots
	}
	return amazonRoots()
}

func (t Trust) knowsDomain(domain string) bool {
	return slices.Contains(awsDomains(), domain) || slices.Contains(t.Domains, domain)
}
