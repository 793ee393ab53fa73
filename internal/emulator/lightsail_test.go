package emulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

func TestLightsail(t *testing.T) {
	t.Parallel()
	c := newClients(t, newServer(t, emulator.Options{}), "eu-west-1", testKey).lightsail
	v := keyVectors(t)
	for name, row := range map[string]struct{ name, key, code string }{
		"line":         {"first", v[1].line + "\n", ""},
		"again":        {"again", v[1].line, ""},
		"base64 of it": {"b64", "c3NoLXJzYSBBQUFBQjNOemFDMXljMkVBQUFBREFRQUJBQUFBZ1FER", "InvalidInputException"},
		"ED25519":      {"ed", v[3].line, "InvalidInputException"},
		"junk":         {"junk", "junk", "InvalidInputException"},
		"name short":   {"a", v[1].line, "InvalidInputException"},
		"name dot":     {"a.b", v[1].line, "InvalidInputException"},
		"name dash":    {"a-", v[1].line, "InvalidInputException"},
		"name long":    {strings.Repeat("a", 256), v[1].line, "InvalidInputException"},
	} {
		out, err := c.ImportKeyPair(t.Context(), &lightsail.ImportKeyPairInput{KeyPairName: &row.name, PublicKeyBase64: &row.key})
		checkCode(t, name, err, row.code, http.StatusBadRequest)
		if err != nil {
			continue
		}
		o := out.Operation
		if *o.ResourceName != row.name || o.ResourceType != "KeyPair" || o.Status != "Succeeded" || !*o.IsTerminal || o.CreatedAt == nil ||
			o.Location.RegionName != "eu-west-1" || len(*o.Id) != 36 {
			t.Errorf("%s: got %+v", name, o)
		}
	}
	_, err := c.ImportKeyPair(t.Context(), &lightsail.ImportKeyPairInput{KeyPairName: aws.String("first"), PublicKeyBase64: &v[1].line})
	checkCode(t, "in use", err, "InvalidInputException", http.StatusBadRequest)
	got, err := c.GetKeyPair(t.Context(), &lightsail.GetKeyPairInput{KeyPairName: aws.String("first")})
	if err != nil || *got.KeyPair.Name != "first" || *got.KeyPair.Fingerprint != v[1].ec2 || got.KeyPair.CreatedAt == nil || !strings.HasPrefix(*got.KeyPair.Arn, "arn:aws:lightsail:eu-west-1:123456789012:KeyPair/") {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.GetKeyPair(t.Context(), &lightsail.GetKeyPairInput{KeyPairName: aws.String("nobody")})
	checkCode(t, "nobody", err, "NotFoundException", http.StatusBadRequest)
	for i := range 120 {
		name := "many-" + strings.Repeat("x", i) + "0"
		if _, err := c.ImportKeyPair(t.Context(), &lightsail.ImportKeyPairInput{KeyPairName: &name, PublicKeyBase64: &v[0].line}); err != nil {
			t.Fatal(err)
		}
	}
	count, token := 0, (*string)(nil)
	for pages := 0; pages == 0 || token != nil; pages++ {
		out, err := c.GetKeyPairs(t.Context(), &lightsail.GetKeyPairsInput{PageToken: token, IncludeDefaultKeyPair: aws.Bool(true)})
		if err != nil || pages > 2 {
			t.Fatalf("page %d: %v", pages, err)
		}
		count, token = count+len(out.KeyPairs), out.NextPageToken
	}
	if count != 122 {
		t.Errorf("%d key pairs, want 122", count)
	}
	_, err = c.GetKeyPairs(t.Context(), &lightsail.GetKeyPairsInput{PageToken: aws.String("x")})
	checkCode(t, "page", err, "InvalidInputException", http.StatusBadRequest)
	_, err = c.DeleteKeyPair(t.Context(), &lightsail.DeleteKeyPairInput{KeyPairName: aws.String("first"), ExpectedFingerprint: aws.String("x")})
	checkCode(t, "fingerprint", err, "InvalidInputException", http.StatusBadRequest)
	if out, err := c.DeleteKeyPair(t.Context(), &lightsail.DeleteKeyPairInput{KeyPairName: aws.String("first")}); err != nil || *out.Operation.ResourceName != "first" {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DeleteKeyPair(t.Context(), &lightsail.DeleteKeyPairInput{KeyPairName: aws.String("first")})
	checkCode(t, "deleted", err, "NotFoundException", http.StatusBadRequest)
}
