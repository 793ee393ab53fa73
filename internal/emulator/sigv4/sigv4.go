// Package sigv4 checks AWS Signature Version 4 on the server's side, in the
// forms that SDKs send: the Authorization header of a request, and the query of
// a presigned URL. It does so by signing the request again with the SDK's own
// signer.
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
	"strconv"
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

	// maxExpires is how many seconds a presigned URL can live.
	maxExpires = 7 * 24 * 60 * 60

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
	Expired      // made more than MaxSkew ago, or a presigned URL past its lifetime
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
	presigned bool
	lifetime  time.Duration // of a presigned URL
}

// Parse reads the claim of a request, from its Authorization header or, in a
// presigned URL, from its query. The error is an *Error with Missing or
// Incomplete.
func Parse(r *http.Request) (Claim, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return parseQuery(r)
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
			c.scope(value)
		case "SignedHeaders":
			c.headers = strings.Split(value, ";")
		case "Signature":
			c.signature = value
		}
	}
	return c, c.complete("Authorization header requires '%s' parameter.", "")
}

// parseQuery reads the claim of a presigned URL.
func parseQuery(r *http.Request) (Claim, error) {
	query := r.URL.Query()
	if !query.Has("X-Amz-Signature") && !query.Has("X-Amz-Algorithm") && !query.Has("X-Amz-Credential") {
		return Claim{}, &Error{Missing, "Missing Authentication Token"}
	}
	c := Claim{Token: query.Get("X-Amz-Security-Token"), signature: query.Get("X-Amz-Signature"), presigned: true}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return c, &Error{Incomplete, "X-Amz-Algorithm must be " + algorithm + "."}
	}
	c.scope(query.Get("X-Amz-Credential"))
	if text := query.Get("X-Amz-SignedHeaders"); text != "" {
		c.headers = strings.Split(text, ";")
	}
	lifetime, err := strconv.Atoi(query.Get("X-Amz-Expires"))
	if err != nil || lifetime < 0 || lifetime > maxExpires {
		return c, &Error{Incomplete, "X-Amz-Expires must be a number of seconds up to " + strconv.Itoa(maxExpires) + "."}
	}
	c.lifetime = time.Duration(lifetime) * time.Second
	return c, c.complete("AWS query-string parameters must include '%s'.", "X-Amz-")
}

// scope reads a credential, KEYID/DATE/REGION/SERVICE/aws4_request.
func (c *Claim) scope(credential string) {
	if parts := strings.Split(credential, "/"); len(parts) == 5 && parts[4] == "aws4_request" {
		c.KeyID, c.Date, c.Region, c.Service = parts[0], parts[1], parts[2], parts[3]
	}
}

func (c *Claim) complete(sentence, prefix string) error {
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Credential", c.KeyID == ""},
		{"Signature", c.signature == ""},
		{"SignedHeaders", len(c.headers) == 0 || len(c.headers) > maxSignedHeaders},
	} {
		if part.missing {
			return &Error{Incomplete, fmt.Sprintf(sentence, prefix+part.name)}
		}
	}
	return nil
}

// ServiceOf returns the service that a request says it is signed for, "" when it
// says none.
func ServiceOf(r *http.Request) string {
	c, _ := Parse(r)
	return c.Service
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
	made, err := time.Parse(timeForm, c.date(r))
	if err != nil {
		return &Error{Incomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."}
	}
	if err := c.checkTime(made, now); err != nil {
		return err
	}
	mismatch := &Error{Mismatch, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	if made.Format("20060102") != c.Date || !slices.Contains(c.headers, "host") || !c.presigned && !slices.Contains(c.headers, "x-amz-date") {
		return mismatch
	}
	again, ok := c.rebuild(r)
	if !ok {
		return mismatch
	}
	sum := sha256.Sum256(body)
	want, err := v.sign(ctx, again, c, hex.EncodeToString(sum[:]), secret, made)
	if err != nil || !slices.Equal(want.headers, c.headers) || subtle.ConstantTimeCompare([]byte(want.signature), []byte(c.signature)) != 1 {
		return mismatch
	}
	return nil
}

// sign signs a request in the way in which c was made.
func (v *Verifier) sign(ctx context.Context, r *http.Request, c Claim, hash, secret string, made time.Time) (Claim, error) {
	credentials := aws.Credentials{AccessKeyID: c.KeyID, SecretAccessKey: secret}
	if !c.presigned {
		if err := v.signer.SignHTTP(ctx, credentials, r, hash, c.Service, c.Region, made); err != nil {
			return Claim{}, err
		}
		return Parse(r)
	}
	credentials.SessionToken = c.Token
	signed, _, err := v.signer.PresignHTTP(ctx, credentials, r, hash, c.Service, c.Region, made)
	if err != nil {
		return Claim{}, err
	}
	where, err := url.Parse(signed)
	if err != nil {
		return Claim{}, err
	}
	return Parse(&http.Request{URL: where})
}

// date is when the request says it was signed.
func (c Claim) date(r *http.Request) string {
	if c.presigned {
		return r.URL.Query().Get("X-Amz-Date")
	}
	return r.Header.Get("X-Amz-Date")
}

// checkTime words its errors as AWS does.
func (c Claim) checkTime(made, now time.Time) error {
	at, skew := now.UTC().Format(timeForm), int(MaxSkew/time.Minute)
	if first := now.Add(-c.lifetime); c.presigned && made.Before(first) {
		return &Error{Expired, "Signature expired: the presigned URL was valid until " + made.Add(c.lifetime).Format(timeForm) + "."}
	}
	if first := now.Add(-MaxSkew); !c.presigned && made.Before(first) {
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
	if c.presigned {
		query := r.URL.Query()
		for _, name := range []string{"Algorithm", "Credential", "Date", "SignedHeaders", "Signature", "Security-Token"} {
			query.Del("X-Amz-" + name)
		}
		again.URL.RawQuery = query.Encode()
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
