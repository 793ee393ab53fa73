package sessions

import "testing"

func TestKeyType(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"RSA": "ssh-rsa", "rsa-sha2-512": "ssh-rsa", "ED25519": "ssh-ed25519", "ssh-ed25519": "ssh-ed25519", "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
	} {
		if got := keyType(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
