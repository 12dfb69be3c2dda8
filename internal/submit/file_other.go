//go:build !linux

package submit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// openRegular opens a file for reading and nothing else: what is no file when
// looked at, or another file once it is open, is refused.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, notRegular(before.Mode())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !os.SameFile(before, fi) {
		err = fmt.Errorf("%w that stays in its place", errNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}

// Without leases nobody can tell who has a file open; quiet periods take their place.
func lease(*os.File) leaseState       { return leaseNone }
func leaseIntact(*os.File) bool       { return true }
func release(*os.File, leaseState)    {}
func exchange(string, string) error   { return errors.ErrUnsupported }
func giveBack(string, string) error   { return errors.ErrUnsupported }
func chownLike(*os.File, fs.FileInfo) {}

func isCrossDevice(err error) bool {
	var link *os.LinkError
	return errors.As(err, &link) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced, and need not be
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
