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
	// keyPermissions let the account's other processes find and read the key
	// (keyctl_setperm(3)): without them only who possesses it could, through
	// keyrings that lead to it, and those of sshd do not.
	keyPermissions = 0x3f000000 | 0x000b0000 // possessor: all; user: view, read, search
)

// sealingKey returns the account's sealing key, and makes one where there is
// none yet. Where key management is unavailable, as in a container whose
// seccomp profile forbids it, there is no key and so no cache of records.
func sealingKey() ([]byte, error) {
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", keyName, 0)
	if err != nil {
		if id, err = makeSealingKey(); err != nil {
			return nil, err
		}
	}
	key := make([]byte, keySize)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, key, 0)
	if err != nil {
		return nil, err
	}
	if n != keySize {
		return nil, errors.New("the sealing key has the wrong size")
	}
	return key, nil
}

func makeSealingKey() (id int, err error) {
	// Only who possesses a key may say who else can read it, so this thread
	// gets a keyring that leads to it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_LINK, keyring(unix.KEY_SPEC_USER_KEYRING), keyring(unix.KEY_SPEC_PROCESS_KEYRING))
	if errno != 0 {
		return 0, errno
	}
	secret := make([]byte, keySize)
	rand.Read(secret)
	id, err = unix.AddKey("user", keyName, secret, unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		return 0, err
	}
	return id, unix.KeyctlSetperm(id, keyPermissions)
}

// keyring returns one of the special keyring ids, which are negative.
func keyring(id int) uintptr { return uintptr(id) }
