package keycache

import (
	"crypto/rand"
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// keyName is the sealing key's description in the account's user keyring
// (user-keyring(7)): kernel memory that only processes of this account can read,
// and that is gone with the next boot, like the cache.
const (
	keyName = "eic-agent:keycache"
	keySize = 32
)

// sealingKey returns the account's sealing key, and makes one where there is
// none yet. Where key management is not to be had, as in a container whose
// seccomp profile forbids it, there is no key and so no cache of records.
func sealingKey() ([]byte, error) {
	// A key is readable for who possesses it: whose own keyrings lead to it.
	// sshd's session keyring does not, so the thread gets one that does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := link(unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_PROCESS_KEYRING); err != nil {
		return nil, err
	}
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", keyName, 0)
	if err != nil {
		fresh := make([]byte, keySize)
		rand.Read(fresh)
		if id, err = unix.AddKey("user", keyName, fresh, unix.KEY_SPEC_USER_KEYRING); err != nil {
			return nil, err
		}
	}
	key := make([]byte, keySize)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, key, 0)
	if err != nil {
		return nil, err
	}
	if n != keySize {
		return nil, errors.New("the sealing key has another size")
	}
	return key, nil
}

func link(keyring, into int) error {
	_, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_LINK, uintptr(keyring), uintptr(into))
	if errno != 0 {
		return errno
	}
	return nil
}
