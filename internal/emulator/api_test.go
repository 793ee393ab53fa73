package emulator_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect/types"
	"github.com/aws/smithy-go"
	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// The bare line is 80 characters, the least that the API takes.
const ed25519Line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"

func keyLine(t *testing.T, public any) string {
	t.Helper()
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
}

func rsaLine(t *testing.T, bits int) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return keyLine(t, &key.PublicKey)
}

func ecdsaLine(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyLine(t, &key.PublicKey)
}

func newClient(t *testing.T, s *emulator.Server, accessKey string) *eic.Client {
	t.Helper()
	api := httptest.NewServer(s.APIHandler())
	t.Cleanup(api.Close)
	return eic.New(eic.Options{
		BaseEndpoint: &api.URL,
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, emulator.DefaultSecretKey, ""),
		Retryer:      aws.NopRetryer{},
	})
}

func input() *eic.SendSSHPublicKeyInput {
	return &eic.SendSSHPublicKeyInput{
		InstanceId:     aws.String(emulator.DefaultInstanceID),
		InstanceOSUser: aws.String("ec2-user"),
		SSHPublicKey:   aws.String(ed25519Line),
	}
}

func TestSendSSHPublicKey(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Credentials: map[string]string{"AKIAX": "arn:aws:iam::1:user/x"}})
	in := input()
	in.AvailabilityZone = aws.String("us-east-1a")
	in.SSHPublicKey = aws.String(ed25519Line + " somebody@somewhere\n")
	out, err := newClient(t, s, "AKIAX").SendSSHPublicKey(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Success || aws.ToString(out.RequestId) == "" {
		t.Errorf("got success %v, request id %q", out.Success, aws.ToString(out.RequestId))
	}
	got := newSession(t, s, emulator.DefaultInstanceID).mustGet("managed-ssh-keys/active-keys/ec2-user/")
	for _, want := range []string{
		"#Instance=" + emulator.DefaultInstanceID + "\n",
		"#Caller=arn:aws:iam::1:user/x\n",
		"#Request=" + *out.RequestId + "\n",
		"\n" + ed25519Line + " somebody@somewhere\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the record\n%s", want, got)
		}
	}
}

// TestSendSSHPublicKeyMembers changes one member of a good request per row.
func TestSendSSHPublicKeyMembers(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{
		{ID: emulator.DefaultInstanceID}, {ID: "i-00000001", State: emulator.Stopped}, {ID: "i-00000002", Zone: "us-east-1-bos-1a"}, {ID: "i-00000003", Zone: "us-west-2a"},
	}})
	client := newClient(t, s, emulator.DefaultAccessKey)
	id := func(v string) func(*eic.SendSSHPublicKeyInput) {
		return func(in *eic.SendSSHPublicKeyInput) { in.InstanceId = &v }
	}
	user := func(v string) func(*eic.SendSSHPublicKeyInput) {
		return func(in *eic.SendSSHPublicKeyInput) { in.InstanceOSUser = &v }
	}
	key := func(v string) func(*eic.SendSSHPublicKeyInput) {
		return func(in *eic.SendSSHPublicKeyInput) { in.SSHPublicKey = &v }
	}
	zone := func(v string) func(*eic.SendSSHPublicKeyInput) {
		return func(in *eic.SendSSHPublicKeyInput) { in.AvailabilityZone = &v }
	}
	const invalid, notFound, state = "InvalidArgsException", "EC2InstanceNotFoundException", "EC2InstanceStateInvalidException"
	rsa2048 := rsaLine(t, 2048)
	for _, row := range []struct {
		name   string
		change func(*eic.SendSSHPublicKeyInput)
		want   string // error code; empty: success
	}{
		{"id short", id("i-0123456"), invalid},
		{"id 10", id("i-00000002"), ""},
		{"id 33", id("i-" + strings.Repeat("0", 31)), invalid},
		{"id 32", id("i-" + strings.Repeat("0", 30)), notFound},
		{"id upper case", id("i-0123456789ABCDEF0"), invalid},
		{"id other kind", id("mi-0123456789abcdef0"), invalid},
		{"id newline", id("i-0123456789\n"), invalid},
		{"id of another region", id("i-00000003"), notFound},
		{"id unknown", id("i-0fedcba9876543210"), notFound},
		{"stopped", id("i-00000001"), state},

		{"user empty", user(""), invalid},
		{"user one character", user("_"), ""},
		{"user root", user("root"), ""},
		{"user leading digit", user("1user"), ""},
		{"user at", user("a@b"), ""},
		{"user dollar", user("user$"), ""},
		{"user final dot", user("a."), ""},
		{"user digit dot", user("0."), ""},
		{"user port", user("i-0123456789abcdef0.port0"), ""},
		{"user 32", user(strings.Repeat("a", 32)), ""},
		{"user 33", user(strings.Repeat("a", 33)), invalid},
		{"user digits", user("1234"), invalid},
		{"user 32 from a digit", user("1" + strings.Repeat("a", 31)), ""},
		{"user 33 from a digit", user("1" + strings.Repeat("a", 32)), invalid},
		{"user leading dot", user(".a"), invalid},
		{"user leading dash", user("-a"), invalid},
		{"user dollar inside", user("a$b"), invalid},
		{"user dots", user("../x"), invalid},
		{"user slash", user("a/b"), invalid},
		{"user newline", user("a\n"), invalid},
		{"user not ASCII", user("é"), invalid},

		{"key 79", key(ed25519Line[:79]), invalid},
		{"key 4096", key(ed25519Line + " " + strings.Repeat("c", 4096-81)), ""},
		{"key 4097", key(ed25519Line + " " + strings.Repeat("c", 4097-81)), invalid},
		{"key newline", key(ed25519Line + "\n"), ""},
		{"key CRLF", key(ed25519Line + "\r\n"), ""},
		{"key two", key(ed25519Line + "\n" + ed25519Line), invalid},
		{"key field", key(ed25519Line + " c\n#Caller=x"), invalid},
		{"key control character", key(ed25519Line + " a\x1bb"), invalid},
		{"key options", key("restrict " + ed25519Line), invalid},
		{"key comment line", key("# " + ed25519Line), invalid},
		{"key wrong type", key(strings.Replace(rsa2048, "ssh-rsa", "ssh-ed25519", 1)), invalid},
		{"key tail", key(ed25519Line + "AAAA"), invalid},
		{"key nonsense", key("ssh-rsa " + strings.Repeat("A", 80)), invalid},
		{"key RSA 1024", key(rsaLine(t, 1024)), invalid},
		{"key RSA 2048", key(rsa2048), ""},
		{"key RSA 2560", key(rsaLine(t, 2560)), invalid},
		{"key RSA 3072", key(rsaLine(t, 3072)), ""},
		{"key ECDSA", key(ecdsaLine(t)), invalid},

		{"zone right", zone("us-east-1a"), ""},
		{"zone other", zone("us-east-1b"), notFound},
		{"zone empty", zone(""), invalid},
		{"zone short", zone("us-1a"), invalid},
		{"zone 33", zone("us-east-1" + strings.Repeat("a", 24)), invalid},
		{"zone region", zone("us-east-1"), invalid},
		{"zone local", zone("us-west-2-lax-1a"), invalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			in := input()
			row.change(in)
			_, err := client.SendSSHPublicKey(t.Context(), in)
			if row.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var got smithy.APIError
			if !errors.As(err, &got) || got.ErrorCode() != row.want || got.ErrorMessage() == "" {
				t.Errorf("got %v, want %s with a message", err, row.want)
			}
			var parsed bool
			switch row.want {
			case invalid:
				parsed = errors.As(err, new(*types.InvalidArgsException))
			case notFound:
				parsed = errors.As(err, new(*types.EC2InstanceNotFoundException))
			case state:
				parsed = errors.As(err, new(*types.EC2InstanceStateInvalidException))
			}
			if !parsed {
				t.Errorf("%v is %T, not the SDK's type", err, got)
			}
		})
	}
}

func TestSetState(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	client := newClient(t, s, emulator.DefaultAccessKey)
	for _, state := range []emulator.State{emulator.Pending, emulator.ShuttingDown, emulator.Terminated, emulator.Stopping, emulator.Stopped, emulator.Running} {
		if err := s.SetState(emulator.DefaultInstanceID, state); err != nil {
			t.Fatal(err)
		}
		_, err := client.SendSSHPublicKey(t.Context(), input())
		if refused := errors.As(err, new(*types.EC2InstanceStateInvalidException)); refused != (state != emulator.Running) {
			t.Errorf("%s: got %v", state, err)
		}
	}
	if err := s.SetState(emulator.DefaultInstanceID, "off"); err == nil {
		t.Error("a state that is none was set")
	}
	if err := s.SetState("i-00000000", emulator.Running); err == nil {
		t.Error("the state of no instance was set")
	}
}

func TestPermissive(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{Permissive: true})
	client := newClient(t, s, emulator.DefaultAccessKey)
	c := newSession(t, s, emulator.DefaultInstanceID)
	for user, key := range map[string]string{
		"rsa1024": rsaLine(t, 1024), "ecdsa": ecdsaLine(t), "short": "x", "long": strings.Repeat("k", 5000),
		"options": `command="/bin/true" ` + ed25519Line, "control": ed25519Line + " \x1b",
	} {
		in := input()
		in.InstanceOSUser, in.SSHPublicKey = &user, &key
		if _, err := client.SendSSHPublicKey(t.Context(), in); err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		if got := c.mustGet("managed-ssh-keys/active-keys/" + user); !strings.Contains(got, "\n"+key+"\n") {
			t.Errorf("%s: the key is not in\n%s", user, got)
		}
	}
	for _, key := range []string{"", "\n", "a\nb", "#Caller=x"} {
		in := input()
		in.SSHPublicKey = &key
		if _, err := client.SendSSHPublicKey(t.Context(), in); !errors.As(err, new(*types.InvalidArgsException)) {
			t.Errorf("%q: got %v", key, err)
		}
	}
}

func TestUnknownAccessKey(t *testing.T) {
	t.Parallel()
	_, err := newClient(t, newServer(t, emulator.Options{}), "AKIANOBODY").SendSSHPublicKey(t.Context(), input())
	var got smithy.APIError
	if !errors.As(err, &got) || got.ErrorCode() != "UnrecognizedClientException" || got.ErrorMessage() == "" {
		t.Errorf("got %v, want UnrecognizedClientException", err)
	}
}

// TestAPIWire changes one thing of a good request per row, below the SDK.
func TestAPIWire(t *testing.T) {
	t.Parallel()
	api := newServer(t, emulator.Options{Credentials: map[string]string{"test": emulator.DefaultCallerARN}}).APIHandler()
	const (
		credential = "AWS4-HMAC-SHA256 Credential=test/20260304/us-east-1/ec2-instance-connect/aws4_request, SignedHeaders=host, Signature=00"
		operation  = "AWSEC2InstanceConnectService.SendSSHPublicKey"
		good       = `{"InstanceId":"i-0123456789abcdef0","InstanceOSUser":"u","SSHPublicKey":"` + ed25519Line + `"`
	)
	for _, row := range []struct {
		name, method, path, target, authorization, body string
		status                                          int
		code                                            string
	}{
		{"good", "POST", "/", operation, credential, good + "}", 200, ""},
		{"more members", "POST", "/", operation, credential, good + `,"AvailabilityZone":null,"X":{"y":[1]}}`, 200, ""},
		{"order of authorization", "POST", "/", operation, "AWS4-HMAC-SHA256 Signature=0,SignedHeaders=host,Credential=test/1/us-east-1/ec2-instance-connect/aws4_request", good + "}", 200, ""},
		{"GET", "GET", "/", operation, credential, "", 404, "UnknownOperationException"},
		{"path", "POST", "/x", operation, credential, good + "}", 404, "UnknownOperationException"},
		{"no target", "POST", "/", "", credential, good + "}", 400, "UnknownOperationException"},
		{"operation", "POST", "/", operation + "s", credential, good + "}", 400, "UnknownOperationException"},
		{"no authorization", "POST", "/", operation, "", good + "}", 400, "MissingAuthenticationTokenException"},
		{"bearer", "POST", "/", operation, "Bearer x", good + "}", 400, "IncompleteSignatureException"},
		{"other scheme", "POST", "/", operation, strings.Replace(credential, "HMAC", "PMAC", 1), good + "}", 400, "IncompleteSignatureException"},
		{"short scope", "POST", "/", operation, "AWS4-HMAC-SHA256 Credential=test", good + "}", 400, "IncompleteSignatureException"},
		{"access key", "POST", "/", operation, strings.Replace(credential, "test", "tess", 1), good + "}", 400, "UnrecognizedClientException"},
		{"no body", "POST", "/", operation, credential, "", 400, "SerializationException"},
		{"broken", "POST", "/", operation, credential, good, 400, "SerializationException"},
		{"trailing", "POST", "/", operation, credential, good + "}{}", 400, "SerializationException"},
		{"null", "POST", "/", operation, credential, "null", 400, "SerializationException"},
		{"array", "POST", "/", operation, credential, "[]", 400, "SerializationException"},
		{"number", "POST", "/", operation, credential, good + `,"AvailabilityZone":1}`, 400, "SerializationException"},
		{"nothing given", "POST", "/", operation, credential, "{}", 400, "InvalidArgsException"},
		{"case", "POST", "/", operation, credential, strings.Replace(good, "InstanceId", "instanceId", 1) + "}", 400, "InvalidArgsException"},
		{"1 MiB", "POST", "/", operation, credential, good + "}" + strings.Repeat(" ", 1<<20-len(good)-1), 200, ""},
		{"more than 1 MiB", "POST", "/", operation, credential, good + "}" + strings.Repeat(" ", 1<<20-len(good)), 413, "RequestEntityTooLargeException"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequest(row.method, row.path, strings.NewReader(row.body))
			request.Header.Set("X-Amz-Target", row.target)
			if row.authorization != "" {
				request.Header.Set("Authorization", row.authorization)
			}
			recorder := httptest.NewRecorder()
			api.ServeHTTP(recorder, request)
			response := recorder.Result()
			data, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			var body struct {
				Type      string `json:"__type"`
				Message   string
				RequestId string
				Success   bool
			}
			if err := json.Unmarshal(data, &body); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			header := response.Header
			if response.StatusCode != row.status || body.Type != row.code || header.Get("X-Amzn-ErrorType") != row.code {
				t.Errorf("got %d, %q in the body, %q in the header, want %d, %q", response.StatusCode, body.Type, header.Get("X-Amzn-ErrorType"), row.status, row.code)
			}
			if good := row.code == ""; body.Success != good || good == (body.Message != "") || good != (body.RequestId != "") {
				t.Errorf("body is %s", data)
			}
			id := header.Get("X-Amzn-Requestid")
			if len(id) != 36 || body.RequestId != "" && body.RequestId != id {
				t.Errorf("request id is %q, in the body %q", id, body.RequestId)
			}
			if got := header.Get("Content-Type"); got != "application/x-amz-json-1.1" {
				t.Errorf("content type is %q", got)
			}
		})
	}
}

func TestAPIMessageBounded(t *testing.T) {
	t.Parallel()
	client := newClient(t, newServer(t, emulator.Options{}), emulator.DefaultAccessKey)
	in := input()
	in.InstanceOSUser = aws.String("\x00é" + strings.Repeat("/", 30))
	_, err := client.SendSSHPublicKey(t.Context(), in)
	var got *types.InvalidArgsException
	if !errors.As(err, &got) {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.ErrorMessage(), "Invalid input parameter received for Illegal argument exception: ") || bytes.ContainsRune([]byte(got.ErrorMessage()), 0) {
		t.Errorf("message is %q", got.ErrorMessage())
	}
}

func TestED25519Generated(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	in.SSHPublicKey = aws.String(keyLine(t, public))
	if _, err := newClient(t, newServer(t, emulator.Options{}), emulator.DefaultAccessKey).SendSSHPublicKey(t.Context(), in); err != nil {
		t.Error(err)
	}
}
