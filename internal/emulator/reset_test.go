package emulator_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/lightsail"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestReset goes back to the start and to a snapshot, also in the state file.
func TestReset(t *testing.T) {
	t.Parallel()
	options := emulator.Options{
		StateFile: t.TempDir() + "/state", Faults: []string{"fact-zone=x"}, KeyPairs: []emulator.KeyPair{{Name: "seeded", Material: []byte(ed25519Line)}},
		Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, KeyName: "k", UserData: "first"}},
	}
	s := served(t, options)
	c := clientsAt(s.APIURL(), "us-east-1", testKey)
	line := keyVectors(t)[1].line
	session := &session{t: t, url: s.IMDSURL(emulator.DefaultInstanceID)}
	session.renew()
	roots := s.RootsPEM()
	change := func(name string) {
		t.Helper()
		_, err := c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: &name, PublicKeyMaterial: []byte(line)})
		if err == nil {
			_, err = c.lightsail.ImportKeyPair(t.Context(), &lightsail.ImportKeyPairInput{KeyPairName: aws.String(name + name), PublicKeyBase64: &line})
		}
		if err == nil {
			_, err = c.eic.SendSSHPublicKey(t.Context(), input())
		}
		if err == nil {
			_, err = c.ec2.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		}
		if err == nil {
			err = s.SetMetadata(emulator.DefaultInstanceID, "mac", []byte(name))
		}
		if err == nil {
			err = s.SetUserData(emulator.DefaultInstanceID, name)
		}
		if err == nil {
			err = s.SetTokens(emulator.DefaultInstanceID, emulator.TokensOptional)
		}
		if err == nil {
			err = s.InjectFault("fact-domain=" + name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// state is what a client can see of it.
	state := func(s *emulator.Server) string {
		t.Helper()
		var b bytes.Buffer
		for _, i := range s.Instances() {
			b.WriteString(" " + i.ID + " " + string(i.Tokens) + " " + i.UserData + ",")
		}
		pairs, err := c.ec2.DescribeKeyPairs(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pairs.KeyPairs {
			b.WriteString(" " + *p.KeyName + *p.KeyPairId)
		}
		keys, err := c.lightsail.GetKeyPairs(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys.KeyPairs {
			b.WriteString(" " + *k.Name)
		}
		b.WriteString(" " + strings.Join(s.Faults(), " ") + " " + session.mustGet("mac"))
		if status, _ := session.get("managed-ssh-keys/active-keys/"); status == http.StatusOK {
			b.WriteString(" keys")
		}
		return b.String()
	}
	start := state(s)
	change("k")
	s.Advance(-time.Second)
	if err := s.Snapshot("one"); err != nil {
		t.Fatal(err)
	}
	one := state(s)
	change("l")
	s.Advance(time.Minute)
	for _, back := range []struct{ name, want string }{{"one", one}, {"", start}, {"one", one}} {
		if err := s.Reset(back.name); err != nil {
			t.Fatal(err)
		}
		if got := state(s); got != back.want {
			t.Errorf("after the reset to %q:\n%s\nwant\n%s", back.name, got, back.want)
		}
		change("m")
	}
	if err := s.Reset("nothing"); err == nil {
		t.Error("there is a snapshot that nobody has taken")
	}
	if err := s.Reset("one"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(roots, s.RootsPEM()) {
		t.Error("the roots are other ones")
	}
	if launched := s.Instances()[1].ID; s.IMDSURL(launched) == "" {
		t.Error("an instance of the snapshot has no metadata service")
	}
	s.Close()
	again := served(t, options)
	c = clientsAt(again.APIURL(), "us-east-1", testKey)
	session.url = again.IMDSURL(emulator.DefaultInstanceID)
	if got, want := state(again), strings.Replace(one, " fact-domain=k", "", 1); got != want { // faults are not kept
		t.Errorf("after a restart:\n%s\nwant\n%s", got, want)
	}
}

// TestSeed imports key pairs at the start.
func TestSeed(t *testing.T) {
	t.Parallel()
	options := emulator.Options{StateFile: t.TempDir() + "/state", KeyPairs: []emulator.KeyPair{{Name: "k", Material: []byte(ed25519Line)}},
		Instances: []emulator.Instance{{ID: emulator.DefaultInstanceID, KeyName: "k"}}}
	for range 2 { // it is there already the second time
		s := newServer(t, options)
		if got := newSession(t, s, emulator.DefaultInstanceID).mustGet("public-keys/0/openssh-key"); got != ed25519Line+" k" {
			t.Errorf("the launch key is %q", got)
		}
		s.Close()
	}
	options.KeyPairs[0].Material = []byte(keyVectors(t)[1].line)
	if _, err := emulator.New(options); err == nil || !strings.Contains(err.Error(), "key pair k: the state file has another key") {
		t.Errorf("got %v", err)
	}
	for _, wrong := range []emulator.KeyPair{{Name: "k", Material: []byte("x")}, {Material: []byte(ed25519Line)}} {
		if _, err := emulator.New(emulator.Options{KeyPairs: []emulator.KeyPair{wrong}}); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
}

// TestRequestLog has what became of each request, and no key.
func TestRequestLog(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := newServer(t, emulator.Options{RequestLog: &log})
	c := newClients(t, s, "us-east-1", testKey)
	blob := strings.Fields(ed25519Line)[1]
	if _, err := c.eic.SendSSHPublicKey(t.Context(), input()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there
		_, _ = c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k\nx"), PublicKeyMaterial: []byte(ed25519Line)})
		_, _ = c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte(ed25519Line)})
	}
	_, _ = c.lightsail.ImportKeyPair(t.Context(), &lightsail.ImportKeyPairInput{KeyPairName: aws.String("kk"), PublicKeyBase64: aws.String(ed25519Line)})
	_, _ = c.ec2.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), UserData: aws.String("c2VjcmV0")})
	session := newSession(t, s, emulator.DefaultInstanceID)
	session.get("nothing")
	h := s.APIHandler()
	ask := func(query string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_emu/requests"+query, nil))
		return w.Code, w.Body.String()
	}
	const fingerprint = "SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E"
	_, everything := ask("")
	if strings.Contains(everything, blob) || strings.Contains(everything, "c2VjcmV0") || strings.Contains(everything, session.token) {
		t.Errorf("the log has a key, user data or a token: %s", everything)
	}
	for query, want := range map[string]struct {
		count int
		text  string
	}{
		"?operation=SendSSHPublicKey":                        {1, `"SSHPublicKey": "` + fingerprint + `"`},
		"?service=ec2&operation=ImportKeyPair":               {4, `"PublicKeyMaterial": "` + fingerprint + `"`},
		"?error=InvalidKeyPair.Duplicate":                    {1, `"status": 400`},
		"?error=InvalidKeyPair.Duplicate&service=lightsail":  {0, ""},
		"?service=lightsail":                                 {1, fingerprint},
		"?service=imds":                                      {2, "/latest/meta-data/nothing"},
		"?status=404&instance=" + emulator.DefaultInstanceID: {1, `"method": "GET"`},
		"?path=/latest/api&method=PUT":                       {1, ""},
		"?caller=" + emulator.DefaultCallerARN:               {7, `"accessKey": "test"`},
		"?caller=" + emulator.DefaultCallerARN + "&limit=1":  {1, "RunInstances"},
		"?operation=RunInstances&operation=SendSSHPublicKey": {2, `"UserData": "(8 bytes)"`},
	} {
		status, body := ask(query)
		if got := strings.Count(body, `"durationMillis"`); status != http.StatusOK || got != want.count || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d, %d requests, want %d and %q in %s", query, status, got, want.count, want.text, body)
		}
	}
	for _, query := range []string{"?colour=red", "?limit=0", "?limit=x"} {
		if status, body := ask(query); status != http.StatusBadRequest || !strings.Contains(body, "error") {
			t.Errorf("%s: %d, %s", query, status, body)
		}
	}
	for _, want := range []string{
		`(?m)^\S+Z ec2-instance-connect SendSSHPublicKey 200 [0-9.]+ms caller=arn:aws:iam::123456789012:user/test request=\S{36}$`,
		`(?m)^\S+Z ec2 ImportKeyPair 400 [0-9.]+ms caller=\S+ request=\S{36} error=InvalidKeyPair.Duplicate: The keypair 'k' already exists.$`,
		`(?m)^\S+Z imds GET /latest/meta-data/nothing 404 [0-9.]+ms instance=` + emulator.DefaultInstanceID + `$`,
	} {
		if !regexp.MustCompile(want).MatchString(log.String()) {
			t.Errorf("no line %s in\n%s", want, &log)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 9 {
		t.Errorf("%d lines for 9 requests:\n%s", lines, &log)
	}
}

// TestNotEmulated names the service, in the form that its clients read.
func TestNotEmulated(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	for service, row := range map[string]struct{ contentType, method, path, want string }{
		"s3":       {"", http.MethodGet, "/bucket/key", "<Error><Code>ServiceNotEmulated</Code><Message>The service s3 is not emulated."},
		"iam":      {"application/x-www-form-urlencoded; charset=utf-8", http.MethodPost, "/", "<Code>ServiceNotEmulated</Code><Message>The service iam is not emulated."},
		"dynamodb": {"application/x-amz-json-1.0", http.MethodPost, "/", `"Message":"The service dynamodb is not emulated.`},
		"lambda":   {"", http.MethodGet, "/2015-03-31/functions", `"Message":"The service lambda is not emulated.`},
	} {
		r := httptest.NewRequest(row.method, row.path, nil)
		r.Header.Set("Content-Type", row.contentType)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260304/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
		w := httptest.NewRecorder()
		s.APIHandler().ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), row.want) || !strings.Contains(w.Body.String(), "ec2-instance-connect, ec2, lightsail, sts") {
			t.Errorf("%s: %d, %s", service, w.Code, w.Body)
		}
	}
}
