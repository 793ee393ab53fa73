package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var made = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// signed returns a request that a client signed at made.
func signed(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/a%20b?x=1&y=%2f", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "A.B")
	sum := sha256.Sum256([]byte(body))
	credentials := aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s3cret", SessionToken: "token"}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, hex.EncodeToString(sum[:]), "ec2", "us-east-1", made); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "added in transit")
	return r
}

// TestVerify changes one thing of a good request per row.
func TestVerify(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	edit := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			text := r.Header.Get("Authorization")
			if !strings.Contains(text, old) {
				t.Errorf("%q is not in %s", old, text)
			}
			r.Header.Set("Authorization", strings.Replace(text, old, new, 1))
		}
	}
	for name, row := range map[string]struct {
		change func(*http.Request)
		body   string
		secret string
		now    time.Duration
		want   Fault
	}{
		"good":                {},
		"unsigned header":     {change: header("X-Other", "1")},
		"15 minutes late":     {now: MaxSkew},
		"15 minutes early":    {now: -MaxSkew},
		"expired":             {now: MaxSkew + time.Second, want: Expired},
		"not yet":             {now: -MaxSkew - time.Second, want: NotYet},
		"no signature":        {change: func(r *http.Request) { r.Header.Del("Authorization") }, want: Missing},
		"scheme":              {change: edit("AWS4-HMAC", "AWS4-PMAC"), want: Incomplete},
		"no credential":       {change: edit("Credential", "Credentials"), want: Incomplete},
		"scope":               {change: edit("/aws4_request", ""), want: Incomplete},
		"no headers":          {change: edit("SignedHeaders", "Headers"), want: Incomplete},
		"no value":            {change: edit("Signature=", "X="), want: Incomplete},
		"date missing":        {change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, want: Incomplete},
		"date format":         {change: header("X-Amz-Date", "2026-03-04"), want: Incomplete},
		"date changed":        {change: header("X-Amz-Date", "20260304T050608Z"), want: Mismatch},
		"date of scope":       {change: edit("20260304/", "20260303/"), want: Mismatch},
		"secret":              {secret: "other", want: Mismatch},
		"body":                {body: "{} ", want: Mismatch},
		"target":              {change: header("X-Amz-Target", "A.C"), want: Mismatch},
		"token":               {change: header("X-Amz-Security-Token", "x"), want: Mismatch},
		"method":              {change: func(r *http.Request) { r.Method = "PUT" }, want: Mismatch},
		"path":                {change: func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/", "" }, want: Mismatch},
		"query":               {change: func(r *http.Request) { r.URL.RawQuery = "x=2" }, want: Mismatch},
		"host":                {change: func(r *http.Request) { r.Host = "other" }, want: Mismatch},
		"region":              {change: edit("us-east-1", "us-east-2"), want: Mismatch},
		"service":             {change: edit("/ec2/", "/ec3/"), want: Mismatch},
		"key":                 {change: edit("AKIA", "BKIA"), want: 0}, // the secret is what counts
		"signature":           {change: edit("Signature=", "Signature=0"), want: Mismatch},
		"header not sent":     {change: func(r *http.Request) { r.Header.Del("Content-Type") }, want: Mismatch},
		"header not signed":   {change: edit("content-type;", ""), want: Mismatch},
		"host not signed":     {change: edit("host;", ""), want: Mismatch},
		"header never signed": {change: edit("x-amz-target", "user-agent;x-amz-target"), want: Mismatch},
		"many headers":        {change: edit("host;", strings.Repeat("host;", 100)), want: Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := signed(t, "{}")
			if row.change != nil {
				row.change(r)
			}
			body := []byte("{}")
			if row.body != "" {
				body = []byte(row.body)
			}
			secret := "s3cret"
			if row.secret != "" {
				secret = row.secret
			}
			claim, err := Parse(r)
			if err == nil {
				err = NewVerifier().Verify(t.Context(), r, body, claim, secret, made.Add(row.now))
			}
			var fault *Error
			if errors.As(err, &fault); row.want == 0 {
				if err != nil {
					t.Error(err)
				}
				if claim.Region != "us-east-1" || claim.Service != "ec2" || claim.Token != "token" {
					t.Errorf("claim is %+v", claim)
				}
			} else if fault == nil || fault.Fault != row.want || fault.Message == "" {
				t.Errorf("got %v, want fault %d", err, row.want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	r := signed(t, "")
	claim, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	err = NewVerifier().Verify(t.Context(), r, bytes.Clone(nil), claim, "s3cret", made.Add(time.Hour))
	if want := "Signature expired: 20260304T050607Z is now earlier than 20260304T055107Z (20260304T060607Z - 15 min.)"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
