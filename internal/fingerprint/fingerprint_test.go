package fingerprint

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

// Vector V2 of rsa2048 and V4 of ed25519: throwaway keys, fingerprints by
// ssh-keygen.
var vectors = []struct{ name, blob, sha256, md5 string }{
	{
		"rsa2048",
		"AAAAB3NzaC1yc2EAAAADAQABAAABAQDDlc1w+uGlCli4N5a2sCKvUg/v8bBtDT57XBLTKRdHkjzVSTfhBecw8CmfjKRKXDMXHUsGdSPNiNnnBTZwWaSyXBWBFXDhM9a5IwL+wYmytBypBur6XlX1/ubTwZrHpyIBlYFc2qzHH4jd9oOfJH7HDXwF8mnpPliiCWMXwca5zpbYgag7MCfcgn/cMjRHIMnMPSncMiuyYCAM5VMETXAtNcg/B7tYFY0K30V7ubzvOPM4sj9wVs5BHNuhbSkuAsa6dzrU9MZ8gCgZ8tzi2kpLAaTmowdqSxLzzTYfgw4snQWjdYXr5BkeLJdedoQUOAENIFekpXn+GdL8ZrTUWNcB",
		"SHA256:iSu1n5n7V8rLwOAZnDXvC+8QFitwkdZgwdjQyc0dVzU",
		"MD5:65:69:22:e3:7f:ea:e4:17:37:ab:5f:35:e0:e3:0f:e8",
	},
	{
		"ed25519",
		"AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC",
		"SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E",
		"",
	},
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		blob, err := base64.StdEncoding.DecodeString(v.blob)
		if err != nil {
			t.Fatal(err)
		}
		if got := SHA256(blob); got != v.sha256 {
			t.Errorf("%s: SHA256 = %s, want %s", v.name, got, v.sha256)
		}
		if got := MD5(blob); v.md5 != "" && got != v.md5 {
			t.Errorf("%s: MD5 = %s, want %s", v.name, got, v.md5)
		}
	}
}

func TestAgainstSSHKeygen(t *testing.T) {
	t.Parallel()
	keygen := need.Program(t, "ssh-keygen")
	file := filepath.Join(t.TempDir(), "key.pub")
	for _, v := range vectors {
		blob, _ := base64.StdEncoding.DecodeString(v.blob)
		kind := map[bool]string{true: "ssh-rsa", false: "ssh-ed25519"}[strings.HasPrefix(v.name, "rsa")]
		if err := os.WriteFile(file, []byte(kind+" "+v.blob+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for hash, got := range map[string]string{"sha256": SHA256(blob), "md5": MD5(blob)} {
			out, err := exec.Command(keygen, "-l", "-E", hash, "-f", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Fields(string(out))[1]; got != want {
				t.Errorf("%s: %s, but ssh-keygen says %s", v.name, got, want)
			}
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	rsa, _ := base64.StdEncoding.DecodeString(vectors[0].blob)
	ed, _ := base64.StdEncoding.DecodeString(vectors[1].blob)
	for _, c := range []struct {
		text              string
		matchRSA, matchED bool
		wantErr           bool
	}{
		{text: "", matchRSA: true, matchED: true},
		{text: vectors[0].sha256, matchRSA: true},
		{text: vectors[1].sha256, matchED: true},
		{text: vectors[0].md5, matchRSA: true},
		{text: "MD5:" + strings.ToUpper(vectors[0].md5[4:]), matchRSA: true},
		{text: strings.TrimPrefix(vectors[0].sha256, "SHA256:"), wantErr: true},
		{text: vectors[0].sha256 + "=", wantErr: true},
		{text: vectors[0].sha256[:len(vectors[0].sha256)-1], wantErr: true},
		{text: "SHA256:AAAA", wantErr: true},
		{text: "sha256:" + vectors[0].sha256[7:], wantErr: true},
		{text: strings.ReplaceAll(vectors[0].md5, ":", ""), wantErr: true},
		{text: vectors[0].md5 + ":00", wantErr: true},
		{text: vectors[0].md5[:len(vectors[0].md5)-3], wantErr: true},
		{text: "MD5:656:92:2:e3:7f:ea:e4:17:37:ab:5f:35:e0:e3:0f:e8", matchRSA: false, wantErr: true},
		{text: "SHA1:abcd", wantErr: true},
		{text: "%f", wantErr: true},
	} {
		f, err := ParseFilter(c.text)
		if (err != nil) != c.wantErr {
			t.Errorf("ParseFilter(%q): error %v, want one: %v", c.text, err, c.wantErr)
		}
		if err != nil {
			if !f.IsZero() {
				t.Errorf("ParseFilter(%q) returned an error and a filter", c.text)
			}
			continue
		}
		if got := f.Matches(rsa); got != c.matchRSA {
			t.Errorf("%q matches the RSA key: %v, want %v", c.text, got, c.matchRSA)
		}
		if got := f.Matches(ed); got != c.matchED {
			t.Errorf("%q matches the Ed25519 key: %v, want %v", c.text, got, c.matchED)
		}
	}
}
