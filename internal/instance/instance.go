// Package instance determines the ID of this EC2 instance from what the
// hypervisor shows, not from the network.
package instance

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Files that identify the hypervisor (AWS, "Identify EC2 Linux instances").
const (
	boardPath = "sys/devices/virtual/dmi/id/board_asset_tag"
	xenPath   = "sys/hypervisor/uuid"
)

var (
	// ErrNotEC2 says that this host cannot be identified as an EC2 instance.
	ErrNotEC2 = errors.New("this host is not an EC2 instance")
	// ErrUnreadable says that such a file exists and cannot be read.
	ErrUnreadable = errors.New("cannot read the instance ID")
)

// Identify finds out, from the root file system root, whether this host is an
// EC2 instance and which. On Nitro the id is the board's asset tag. It is empty on
// Xen, where the hypervisor shows only that this is EC2: the ID is then the one that the
// metadata service returns, unverified. The error wraps ErrNotEC2 or ErrUnreadable.
func Identify(root fs.FS) (id string, err error) {
	tag, boardErr := readSmall(root, boardPath)
	if IsID(tag) {
		return tag, nil
	}
	uuid, xenErr := readSmall(root, xenPath)
	if strings.HasPrefix(strings.ToLower(uuid), "ec2") {
		return "", nil
	}
	if err := cmp.Or(boardErr, xenErr); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return "", ErrNotEC2
}

// IsID reports whether s has the form of an instance id: "i-" and lower-case
// hex digits, 10 to 32 characters in all, as the API of EC2 Instance Connect
// takes it. AWS's own have 8 or 17 digits.
func IsID(s string) bool {
	digits, ok := strings.CutPrefix(s, "i-")
	if !ok || len(s) < 10 || len(s) > 32 {
		return false
	}
	for _, c := range []byte(digits) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// readSmall returns the trimmed beginning of a file, "" where there is no such file.
func readSmall(root fs.FS, name string) (string, error) {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		// A dangling symbolic link exists.
		if _, lstatErr := fs.Lstat(root, name); lstatErr != nil {
			return "", nil
		}
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 128))
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(text)), nil
}
