//go:build !linux

package crashfs

import "errors"

// Mount fails: only Linux can do it here.
func (d *Disk) Mount(string) (unmount func() error, err error) {
	return nil, errors.ErrUnsupported
}
