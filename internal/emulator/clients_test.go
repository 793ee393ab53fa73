package emulator_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"
	"github.com/aws/smithy-go"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// clients are the SDK's, for one caller in one region.
type clients struct {
	eic       *eic.Client
	ec2       *ec2.Client
	lightsail *lightsail.Client
}

func newClients(t testing.TB, s *emulator.Server, region string, key emulator.Credential) clients {
	t.Helper()
	api := httptest.NewServer(s.APIHandler())
	t.Cleanup(api.Close)
	return clientsAt(api.URL, region, key)
}

func clientsAt(url, region string, key emulator.Credential) clients {
	provider := credentials.NewStaticCredentialsProvider(key.KeyID, key.Secret, key.Token)
	return clients{
		eic:       eic.New(eic.Options{BaseEndpoint: &url, Region: region, Credentials: provider, Retryer: aws.NopRetryer{}}),
		ec2:       ec2.New(ec2.Options{BaseEndpoint: &url, Region: region, Credentials: provider, Retryer: aws.NopRetryer{}}),
		lightsail: lightsail.New(lightsail.Options{BaseEndpoint: &url, Region: region, Credentials: provider, Retryer: aws.NopRetryer{}}),
	}
}

var testKey = emulator.Credential{KeyID: emulator.DefaultAccessKey, Secret: emulator.DefaultSecretKey, ARN: emulator.DefaultCallerARN}

// checkCode compares an error as an SDK understands it.
func checkCode(t *testing.T, what string, err error, code string, status int) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || api.ErrorMessage() == "" {
		t.Errorf("%s: got %v, want %s with a message", what, err, code)
		return
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != status || len(response.ServiceRequestID()) != 36 {
		t.Errorf("%s: got %v, want status %d and a request id", what, err, status)
	}
}

// A keyVector is one of internal/fingerprint's.
type keyVector struct{ name, line, ec2 string }

func keyVectors(t *testing.T) []keyVector {
	t.Helper()
	text, err := os.ReadFile("../fingerprint/testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []keyVector
	for block := range strings.SplitSeq(string(text), "\n\n") {
		var v keyVector
		for line := range strings.Lines(block) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "name":
				v.name = value
			case "line":
				v.line = value
			case "ec2":
				v.ec2 = value
			}
		}
		if v.name != "" {
			all = append(all, v)
		}
	}
	if len(all) != 4 {
		t.Fatalf("found %d vectors, want 4", len(all))
	}
	return all
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestKeyPairVectors(t *testing.T) {
	t.Parallel()
	c := newClients(t, newServer(t, emulator.Options{}), "us-east-1", testKey).ec2
	for _, v := range keyVectors(t) {
		out, err := c.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{
			KeyName: &v.name, PublicKeyMaterial: []byte(v.line + "\n"),
			TagSpecifications: []ec2types.TagSpecification{{
				ResourceType: ec2types.ResourceTypeKeyPair,
				Tags:         []ec2types.Tag{{Key: aws.String("a b"), Value: aws.String("<&>\"é")}, {Key: aws.String("empty"), Value: aws.String("")}},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if aws.ToString(out.KeyFingerprint) != v.ec2 || aws.ToString(out.KeyName) != v.name || !strings.HasPrefix(aws.ToString(out.KeyPairId), "key-") {
			t.Errorf("%s: got %s, %s, %s, want %s", v.name, *out.KeyName, *out.KeyFingerprint, *out.KeyPairId, v.ec2)
		}
		if len(out.Tags) != 2 || *out.Tags[0].Key != "a b" || *out.Tags[0].Value != "<&>\"é" || *out.Tags[1].Value != "" {
			t.Errorf("%s: tags are %v", v.name, out.Tags)
		}
		found, err := c.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{KeyNames: []string{v.name}, IncludePublicKey: aws.Bool(true)})
		if err != nil || len(found.KeyPairs) != 1 {
			t.Fatalf("%s: got %v, %v", v.name, found, err)
		}
		p := found.KeyPairs[0]
		bare := strings.Join(strings.Fields(v.line)[:2], " ")
		wantType := ec2types.KeyTypeRsa
		if v.name == "ed25519" {
			wantType = ec2types.KeyTypeEd25519
		}
		if aws.ToString(p.KeyFingerprint) != v.ec2 || aws.ToString(p.KeyPairId) != *out.KeyPairId || p.KeyType != wantType ||
			!strings.HasPrefix(aws.ToString(p.PublicKey), bare) || p.CreateTime == nil || len(p.Tags) != 2 {
			t.Errorf("%s: described as %+v", v.name, p)
		}
	}
}

// TestImportKeyPairForms imports what the User Guide and the experience of
// others say that EC2 takes, and what it does not.
func TestImportKeyPairForms(t *testing.T) {
	t.Parallel()
	c := newClients(t, newServer(t, emulator.Options{}), "us-east-1", testKey).ec2
	v := keyVectors(t)
	rfc, der := readFile(t, "../fingerprint/testdata/rsa2048.rfc4716"), readFile(t, "../fingerprint/testdata/rsa2048.der.b64")
	tags := func(kind ec2types.ResourceType, tags ...ec2types.Tag) []ec2types.TagSpecification {
		return []ec2types.TagSpecification{{ResourceType: kind, Tags: tags}}
	}
	tag := func(key, value string) ec2types.Tag { return ec2types.Tag{Key: &key, Value: &value} }
	many := make([]ec2types.Tag, 51)
	for i := range many {
		many[i] = tag(strings.Repeat("k", i+1), "")
	}
	const format, value = "InvalidKey.Format", "InvalidParameterValue"
	for name, row := range map[string]struct {
		in   ec2.ImportKeyPairInput
		code string
	}{
		"line":             {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte(v[1].line)}, ""},
		"RFC 4716":         {ec2.ImportKeyPairInput{PublicKeyMaterial: rfc}, ""},
		"DER":              {ec2.ImportKeyPairInput{PublicKeyMaterial: der}, ""},
		"ED25519":          {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte(v[3].line)}, ""},
		"3072":             {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte(rsaLine(t, 3072))}, ""},
		"2560":             {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte(rsaLine(t, 2560))}, format},
		"ECDSA":            {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte(ecdsaLine(t))}, format},
		"junk":             {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte("junk")}, format},
		"a file's name":    {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte("file://key.pub")}, format},
		"base64 twice":     {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte("c3NoLXJzYSBBQUFB")}, format},
		"options":          {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte("restrict " + v[1].line)}, format},
		"too long":         {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte(strings.Repeat("x", 1537))}, value},
		"empty":            {ec2.ImportKeyPairInput{PublicKeyMaterial: []byte{}}, "MissingParameter"},
		"name 255":         {ec2.ImportKeyPairInput{KeyName: aws.String(strings.Repeat("n", 255))}, ""},
		"name 256":         {ec2.ImportKeyPairInput{KeyName: aws.String(strings.Repeat("n", 256))}, value},
		"name with space":  {ec2.ImportKeyPairInput{KeyName: aws.String("a b")}, ""},
		"name before":      {ec2.ImportKeyPairInput{KeyName: aws.String(" a")}, value},
		"name after":       {ec2.ImportKeyPairInput{KeyName: aws.String("a ")}, value},
		"name not ASCII":   {ec2.ImportKeyPairInput{KeyName: aws.String("é")}, value},
		"name empty":       {ec2.ImportKeyPairInput{KeyName: aws.String("")}, "MissingParameter"},
		"dry run":          {ec2.ImportKeyPairInput{DryRun: aws.Bool(true)}, "DryRunOperation"},
		"dry run, wrong":   {ec2.ImportKeyPairInput{DryRun: aws.Bool(true), PublicKeyMaterial: []byte("junk")}, format},
		"tag of another":   {ec2.ImportKeyPairInput{TagSpecifications: tags(ec2types.ResourceTypeInstance, tag("a", "b"))}, value},
		"tag without type": {ec2.ImportKeyPairInput{TagSpecifications: tags("", tag("a", "b"))}, "MissingParameter"},
		"tag empty":        {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", tag("", "b"))}, "InvalidTagKey.Malformed"},
		"tag aws:":         {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", tag("AWS:x", "b"))}, "InvalidParameterValue"},
		"tag 127":          {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", tag(strings.Repeat("é", 127), strings.Repeat("é", 256)))}, ""},
		"tag 128":          {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", tag(strings.Repeat("k", 128), ""))}, value},
		"tag value 257":    {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", tag("k", strings.Repeat("v", 257)))}, value},
		"tag twice":        {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", tag("k", "1"), tag("k", "2"))}, value},
		"tags 51":          {ec2.ImportKeyPairInput{TagSpecifications: tags("key-pair", many...)}, "TagLimitExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := row.in
			if in.KeyName == nil {
				in.KeyName = aws.String("key " + name)
			}
			if in.PublicKeyMaterial == nil {
				in.PublicKeyMaterial = []byte(v[0].line)
			}
			out, err := c.ImportKeyPair(t.Context(), &in)
			status := http.StatusBadRequest
			if row.code == "DryRunOperation" {
				status = http.StatusPreconditionFailed
			}
			checkCode(t, name, err, row.code, status)
			if name == "RFC 4716" || name == "DER" || name == "line" {
				if err == nil && *out.KeyFingerprint != v[1].ec2 {
					t.Errorf("fingerprint is %s, want %s", *out.KeyFingerprint, v[1].ec2)
				}
			}
			if row.code == "" {
				_, err := c.ImportKeyPair(t.Context(), &in)
				checkCode(t, "again", err, "InvalidKeyPair.Duplicate", http.StatusBadRequest)
			}
		})
	}
}

func TestKeyPairs(t *testing.T) {
	t.Parallel()
	other := emulator.Credential{KeyID: "OTHER", Secret: "s", ARN: "arn:aws:iam::210987654321:user/other"}
	s := newServer(t, emulator.Options{AccessKeys: []emulator.Credential{testKey, other}})
	c := newClients(t, s, "us-east-1", testKey).ec2
	v := keyVectors(t)
	var ids []string
	for _, name := range []string{"one", "two", "three"} {
		out, err := c.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{
			KeyName: &name, PublicKeyMaterial: []byte(v[0].line),
			TagSpecifications: []ec2types.TagSpecification{{ResourceType: "key-pair", Tags: []ec2types.Tag{{Key: aws.String("name"), Value: &name}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.KeyPairId)
	}
	filter := func(name string, values ...string) []ec2types.Filter {
		return []ec2types.Filter{{Name: &name, Values: values}}
	}
	for name, row := range map[string]struct {
		in   ec2.DescribeKeyPairsInput
		want string
		code string
	}{
		"all":           {ec2.DescribeKeyPairsInput{}, "one two three", ""},
		"name":          {ec2.DescribeKeyPairsInput{KeyNames: []string{"two"}}, "two", ""},
		"names":         {ec2.DescribeKeyPairsInput{KeyNames: []string{"three", "one"}}, "one three", ""},
		"id":            {ec2.DescribeKeyPairsInput{KeyPairIds: ids[2:]}, "three", ""},
		"no name":       {ec2.DescribeKeyPairsInput{KeyNames: []string{"two", "four"}}, "", "InvalidKeyPair.NotFound"},
		"no id":         {ec2.DescribeKeyPairsInput{KeyPairIds: []string{"key-0"}}, "", "InvalidKeyPair.NotFound"},
		"by name":       {ec2.DescribeKeyPairsInput{Filters: filter("key-name", "t*")}, "two three", ""},
		"by two":        {ec2.DescribeKeyPairsInput{Filters: filter("key-name", "one", "tw?")}, "one two", ""},
		"by id":         {ec2.DescribeKeyPairsInput{Filters: filter("key-pair-id", ids[0])}, "one", ""},
		"by tag":        {ec2.DescribeKeyPairsInput{Filters: filter("tag:name", "two")}, "two", ""},
		"by key":        {ec2.DescribeKeyPairsInput{Filters: filter("tag-key", "name")}, "one two three", ""},
		"by print":      {ec2.DescribeKeyPairsInput{Filters: filter("fingerprint", v[0].ec2)}, "one two three", ""},
		"by nothing":    {ec2.DescribeKeyPairsInput{Filters: filter("tag:none", "two")}, "", ""},
		"by both":       {ec2.DescribeKeyPairsInput{Filters: append(filter("key-name", "t*"), filter("tag:name", "two")...)}, "two", ""},
		"wrong filter":  {ec2.DescribeKeyPairsInput{Filters: filter("color", "red")}, "", "InvalidParameterValue"},
		"no values":     {ec2.DescribeKeyPairsInput{Filters: filter("key-name")}, "", "InvalidParameterValue"},
		"dry run":       {ec2.DescribeKeyPairsInput{DryRun: aws.Bool(true)}, "", "DryRunOperation"},
		"with material": {ec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true), KeyNames: []string{"one"}}, "one", ""},
	} {
		out, err := c.DescribeKeyPairs(t.Context(), &row.in)
		status := http.StatusBadRequest
		if row.code == "DryRunOperation" {
			status = http.StatusPreconditionFailed
		}
		checkCode(t, name, err, row.code, status)
		if err != nil {
			continue
		}
		var got []string
		for _, p := range out.KeyPairs {
			got = append(got, *p.KeyName)
			if (p.PublicKey != nil) != (name == "with material") {
				t.Errorf("%s: public key is %v", name, p.PublicKey)
			}
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: got %v, want %s", name, got, row.want)
		}
	}
	for _, elsewhere := range []clients{newClients(t, s, "eu-west-1", testKey), newClients(t, s, "us-east-1", other)} {
		if out, err := elsewhere.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{}); err != nil || len(out.KeyPairs) != 0 {
			t.Errorf("another region or account sees %v, %v", out, err)
		}
	}
	for name, row := range map[string]struct {
		in   ec2.DeleteKeyPairInput
		want string
	}{"name": {ec2.DeleteKeyPairInput{KeyName: aws.String("one")}, ids[0]}, "id": {ec2.DeleteKeyPairInput{KeyPairId: &ids[1]}, ids[1]}, "nobody": {ec2.DeleteKeyPairInput{KeyName: aws.String("none")}, ""}} {
		out, err := c.DeleteKeyPair(t.Context(), &row.in)
		if err != nil || !aws.ToBool(out.Return) || aws.ToString(out.KeyPairId) != row.want {
			t.Errorf("%s: got %+v, %v", name, out, err)
		}
	}
	_, err := c.DeleteKeyPair(t.Context(), &ec2.DeleteKeyPairInput{})
	checkCode(t, "delete nothing", err, "MissingParameter", http.StatusBadRequest)
	_, err = c.DeleteKeyPair(t.Context(), &ec2.DeleteKeyPairInput{KeyName: aws.String("three"), DryRun: aws.Bool(true)})
	checkCode(t, "dry run", err, "DryRunOperation", http.StatusPreconditionFailed)
	if out, err := c.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{}); err != nil || len(out.KeyPairs) != 1 {
		t.Errorf("left are %v, %v", out, err)
	}
}

// typeName is the name of the SDK's type of an exception.
func typeName(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return strings.TrimPrefix(reflect.TypeOf(api).String(), "*types.")
}
