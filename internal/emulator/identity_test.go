package emulator_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// TestIdentityDocument verifies the document with the commands of the User
// Guide.
func TestIdentityDocument(t *testing.T) {
	t.Parallel()
	openssl := need.Program(t, "openssl")
	s := newServer(t, emulator.Options{Instances: []emulator.Instance{{ID: "i-00000001", Zone: "eu-west-1b", Account: "210987654321", Type: "m6g.large", PrivateIP: "10.0.0.9"}}})
	c := newSession(t, s, "i-00000001")
	get := func(name string) string {
		status, body, _ := do(t, "GET", c.url+"/latest/dynamic/instance-identity/"+name, map[string]string{"X-aws-ec2-metadata-token": c.token})
		if status != 200 {
			t.Fatalf("%s is %d", name, status)
		}
		return body
	}
	document := get("document")
	var fields map[string]any
	if err := json.Unmarshal([]byte(document), &fields); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"accountId": "210987654321", "architecture": "arm64", "availabilityZone": "eu-west-1b", "billingProducts": nil, "devpayProductCodes": nil,
		"marketplaceProductCodes": nil, "instanceId": "i-00000001", "instanceType": "m6g.large", "kernelId": nil, "privateIp": "10.0.0.9",
		"ramdiskId": nil, "region": "eu-west-1", "version": "2017-09-30",
	} {
		if got, there := fields[name]; !there || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if len(fields) != 15 || fields["imageId"] == "" || fields["pendingTime"] == "" {
		t.Errorf("the document is %s", document)
	}

	dir := t.TempDir()
	certificate, err := s.IdentityPEM()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	signatures := map[string]string{
		"rsa2048": "algorithm: rsaEncryption (1.2.840.113549.1.1.1)", "pkcs7": "algorithm: dsaWithSHA1 (1.2.840.10040.4.3)",
		"dsa2048": "algorithm: dsa_with_SHA256 (2.16.840.1.101.3.4.3.2)",
	}
	cert := write("cert.pem", string(certificate))
	write("document", document)
	write("signature", get("signature"))
	for _, name := range []string{"rsa2048", "pkcs7", "dsa2048"} {
		path := write(name, "-----BEGIN PKCS7-----\n"+get(name)+"\n-----END PKCS7-----\n")
		out, err := exec.Command(openssl, "smime", "-verify", "-in", path, "-inform", "PEM", "-certfile", cert, "-noverify").Output()
		if err != nil || strings.ReplaceAll(string(out), "\r\n", "\n") != document {
			t.Errorf("%s: %v, %s", name, err, out)
		}
		algorithms, err := exec.Command(openssl, "cms", "-cmsout", "-print", "-in", path, "-inform", "PEM", "-noout").CombinedOutput()
		if want := signatures[name]; err != nil || !strings.Contains(string(algorithms), want) {
			t.Errorf("%s: %v, no %q in %s", name, err, want, algorithms)
		}
	}
	if n := strings.Count(string(certificate), "BEGIN CERTIFICATE"); n != 3 {
		t.Errorf("%d certificates", n)
	}
	script := `cd "$1" && openssl base64 -d -in signature -out signature.bin && openssl x509 -pubkey -noout -in cert.pem -out key.pem &&
		openssl dgst -sha256 -verify key.pem -signature signature.bin document`
	if out, err := exec.Command("sh", "-c", script, "sh", dir).CombinedOutput(); err != nil {
		t.Errorf("signature: %v, %s", err, out)
	}
}
