package submit

import (
	"errors"
	"fmt"
	"io/fs"
)

var errNotRegular = errors.New("not a regular file")

// notRegular says what stands where a file should.
func notRegular(mode fs.FileMode) error {
	kind := "something unknown"
	switch {
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeSymlink != 0:
		kind = "a symbolic link, which is not followed"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return fmt.Errorf("%w but %s: put a plain file in its place", errNotRegular, kind)
}
