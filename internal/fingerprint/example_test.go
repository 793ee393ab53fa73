package fingerprint_test

import (
	"fmt"

	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// EC2 shows the SHA-256 fingerprint of an imported Ed25519 key with padding; OpenSSH
// prints it without.
func ExampleParseKey() {
	key, err := fingerprint.ParseKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC alice@laptop"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key.Form, key.Type(), key.Comment)
	fmt.Println(fingerprint.SHA256(key.Blob()))
	fmt.Println(fingerprint.MD5(key.Blob()))
	fmt.Println(key.EC2())
	// Output:
	// openssh ssh-ed25519 alice@laptop
	// SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E
	// MD5:7c:78:2a:92:b9:d0:a9:c5:a7:19:fb:e6:42:8e:a4:7b
	// PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E=
}

// sshd passes the fingerprint of the key that a client offers as %f.
func ExampleFilter() {
	filter, err := fingerprint.ParseFilter("SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := fingerprint.ParseKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filter.Matches(key.Blob()))
	// Output: true
}
