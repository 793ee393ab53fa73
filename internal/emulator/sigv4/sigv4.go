// Package sigv4 checks AWS Signature Version 4 on the server's side, in the
// form that SDKs send: the Authorization header of a request. It does so by
// signing the request again with the SDK's own signer.
package sigv4

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	timeForm  = "20060102T150405Z"

	// MaxSkew is how far the time of a signature may be from the server's.
	MaxSkew = 15 * time.Minute

	// maxSignedHeaders is far above what any client signs.
	maxSignedHeaders = 64
)

// A Fault is the kind of thing that is wrong with a signature.
type Fault int

// The faults, in the order in which they are looked for.
const (
	Missing    Fault = iota + 1 // there is no signature
	Incomplete                  // it is not whole
	UnknownKey                  // nobody has the access key, or it comes with another session token
	WrongRegion
	WrongService
	Expired      // made more than MaxSkew ago
	NotYet       // made for more than MaxSkew ahead
	Mismatch     // it is of something else, or by another secret
	ExpiredToken // the credential is over
)

// An Error says what is wrong with a signature, in words for the caller.
type Error struct {
	Fault   Fault
	Message string
}

func (e *Error) Error() string { return e.Message }

// A Claim is what an Authorization header says. Nothing in it is proved.
type Claim struct {
	KeyID   string
	Date    string // YYYYMMDD
	Region  string
	Service string
	Token   string // X-Amz-Security-Token

	headers   []string
	signature string
}

// Parse reads the claim of a request. The error is an *Error with Missing or
// Incomplete.
func Parse(r *http.Request) (Claim, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return Claim{}, &Error{Missing, "Missing Authentication Token"}
	}
	parameters, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return Claim{}, &Error{Incomplete, "The Authorization header has no " + algorithm + " credential."}
	}
	c := Claim{Token: r.Header.Get("X-Amz-Security-Token")}
	for parameter := range strings.SplitSeq(parameters, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		switch name {
		case "Credential":
			if parts := strings.Split(value, "/"); len(parts) == 5 && parts[4] == "aws4_request" {
				c.KeyID, c.Date, c.Region, c.Service = parts[0], parts[1], parts[2], parts[3]
			}
		case "SignedHeaders":
			c.headers = strings.Split(value, ";")
		case "Signature":
			c.signature = value
		}
	}
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Credential", c.KeyID == ""},
		{"Signature", c.signature == ""},
		{"SignedHeaders", len(c.headers) == 0 || len(c.headers) > maxSignedHeaders},
	} {
		if part.missing {
			return c, &Error{Incomplete, fmt.Sprintf("Authorization header requires '%s' parameter.", part.name)}
		}
	}
	return c, nil
}

// A Verifier checks signatures. It may be used by several goroutines.
type Verifier struct {
	signer *v4.Signer
}

// NewVerifier returns a Verifier.
func NewVerifier() *Verifier { return &Verifier{v4.NewSigner()} }

// Verify checks that r, whose body is given, was signed as c says by the holder
// of secret, at a time near now. What c says of region and service is not
// judged. The error is an *Error.
func (v *Verifier) Verify(ctx context.Context, r *http.Request, body []byte, c Claim, secret string, now time.Time) error {
	made, err := time.Parse(timeForm, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return &Error{Incomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."}
	}
	if err := checkTime(made, now); err != nil {
		return err
	}
	mismatch := &Error{Mismatch, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	if made.Format("20060102") != c.Date || !slices.Contains(c.headers, "host") || !slices.Contains(c.headers, "x-amz-date") {
		return mismatch
	}
	again, ok := c.rebuild(r)
	if !ok {
		return mismatch
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: c.KeyID, SecretAccessKey: secret}
	if err := v.signer.SignHTTP(ctx, credentials, again, hex.EncodeToString(sum[:]), c.Service, c.Region, made); err != nil {
		return mismatch
	}
	want, err := Parse(again)
	if err != nil || !slices.Equal(want.headers, c.headers) || subtle.ConstantTimeCompare([]byte(want.signature), []byte(c.signature)) != 1 {
		return mismatch
	}
	return nil
}

// checkTime words its errors as AWS does.
func checkTime(made, now time.Time) error {
	at, skew := now.UTC().Format(timeForm), int(MaxSkew/time.Minute)
	if first := now.Add(-MaxSkew); made.Before(first) {
		return &Error{Expired, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %d min.)",
			made.Format(timeForm), first.UTC().Format(timeForm), at, skew)}
	}
	if last := now.Add(MaxSkew); made.After(last) {
		return &Error{NotYet, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %d min.)",
			made.Format(timeForm), last.UTC().Format(timeForm), at, skew)}
	}
	return nil
}

// rebuild returns the request as it was when it was signed: only the headers
// that were signed. It reports false when one of them did not come, or is one
// that the signer never signs.
func (c Claim) rebuild(r *http.Request) (*http.Request, bool) {
	again := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Host:   r.Host,
		Header: make(http.Header),
	}
	for _, name := range c.headers {
		switch name {
		case "host", "x-amz-date":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			key := http.CanonicalHeaderKey(name)
			values := r.Header.Values(key)
			if len(values) == 0 {
				return nil, false
			}
			again.Header[key] = values
		}
	}
	return again, true
}
