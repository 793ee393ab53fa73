// Package smallfile reads descriptors of small regular files with as few system
// calls as it takes: an os.File would first be offered to the network poller.
package smallfile

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrTooLarge is what Read returns for a file beyond its limit.
var ErrTooLarge = errors.New("the file is too large")

// Read returns the rest of the regular file open as fd, which is size bytes long
// as far as is known, and may have at most limit bytes.
func Read(fd int, size int64, limit int) ([]byte, error) {
	if size > int64(limit) {
		return nil, ErrTooLarge
	}
	// One byte more shows whether it grew.
	data := make([]byte, 0, size+1)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) > limit {
			return nil, ErrTooLarge
		}
	}
}
