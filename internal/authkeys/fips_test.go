package authkeys

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/test/vectors"
)

// TestVectorsUnderFIPS runs every vector again where FIPS 140 is enforced, in a
// process of its own: it leaves out MD5 and SHA-1 and changes nothing else.
func TestVectorsUnderFIPS(t *testing.T) {
	t.Parallel()
	if fips140.Enforced() {
		vectorsUnderFIPS(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestVectorsUnderFIPS$", "-test.v")
	child.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := child.CombinedOutput()
	passed := len(regexp.MustCompile(`(?m)^ +--- PASS: TestVectorsUnderFIPS/`).FindAll(out, -1))
	if err != nil || passed < 300 {
		failed := regexp.MustCompile(`(?m)^ +(--- FAIL|vectors_test|fips_test).*\n(         .*\n)*`).FindAll(out, -1)
		t.Errorf("%v, %d vectors passed:\n%s", err, passed, slices.Concat(failed...))
	}
}

func vectorsUnderFIPS(t *testing.T) {
	changed := map[string]func(v *vector){
		// The MD5 of a key is not computed, so that an MD5 filter selects
		// every key; sshd compares the keys themselves.
		"fingerprint-md5": func(v *vector) {
			v.Output = regexp.MustCompile(`(?m)^ssh-ed25519 \S+`).FindAllString(string(v.Body), -1)
		},
	}
	for _, v := range vectors.All(t) {
		change := changed[v.Name]
		delete(changed, v.Name)
		t.Run(v.Name, func(t *testing.T) {
			v := vector{v}
			if change != nil {
				change(&v)
			}
			for _, attest := range []string{config.AttestAuto, config.AttestIMDS} {
				answer, metadata, err := v.run(t, attest)
				v.judge(t, answer, err)
				close(metadata.asked)
				for path := range metadata.asked {
					if sha1Name.MatchString(path) && !slices.ContainsFunc(v.staplePaths(), func(p string) bool { return p == path }) {
						t.Errorf("a staple was asked for under a SHA-1 name that is not listed: %s", path)
					}
				}
				for _, e := range answer.Events {
					if e.FingerprintMD5 != "" {
						t.Errorf("an event has an MD5 fingerprint: %s", e.FingerprintMD5)
					}
				}
			}
		})
	}
	for name := range changed {
		t.Errorf("there is no vector %s", name)
	}
}

var sha1Name = regexp.MustCompile(`/signer-ocsp/[0-9A-F]{40}$`)
