package emulator_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestQueryByURL calls EC2 with the parameters in the URL: signed by header and by
// presigned URL, by GET and by POST. A change of what was signed is refused.
func TestQueryByURL(t *testing.T) {
	t.Parallel()
	s := served(t, emulator.Options{})
	sum := sha256.Sum256(nil)
	hash := hex.EncodeToString(sum[:])
	key := aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, presigned := range []bool{false, true} {
			for change, want := range map[string]struct {
				status int
				text   string
			}{
				"none":   {200, "<instanceId>" + emulator.DefaultInstanceID + "</instanceId>"},
				"query":  {401, "<Code>AuthFailure</Code>"},
				"method": {401, "<Code>AuthFailure</Code>"},
				"body":   {401, "<Code>AuthFailure</Code>"},
			} {
				query := url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}, "Filter.1.Name": {"instance-id"}, "Filter.1.Value.1": {"*"}, "Filter.1.Value.2": {"a b/c+d=é&%25"}}
				if presigned {
					query.Set("X-Amz-Expires", "60")
				}
				r, err := http.NewRequestWithContext(t.Context(), method, s.APIURL()+"/?"+query.Encode(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if presigned {
					signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), key, r, hash, "ec2", "us-east-1", time.Now())
					if err != nil {
						t.Fatal(err)
					}
					if r.URL, err = url.Parse(signed); err != nil {
						t.Fatal(err)
					}
				} else if err := v4.NewSigner().SignHTTP(t.Context(), key, r, hash, "ec2", "us-east-1", time.Now()); err != nil {
					t.Fatal(err)
				}
				switch change {
				case "query":
					r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "=instance-id", "=vpc-id", 1)
				case "method":
					r.Method = map[string]string{http.MethodGet: http.MethodPost, http.MethodPost: http.MethodGet}[method]
				case "body":
					if presigned || r.Method == http.MethodGet {
						continue // AWS's SDKs presign without the body, and a GET has none
					}
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader("DryRun=true")), 11
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				response, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != want.status || !strings.Contains(string(body), want.text) {
					t.Errorf("%s, presigned %v, changed %s: %d, %s, %v", method, presigned, change, response.StatusCode, body, err)
				}
			}
		}
	}
}
