package steward

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// makeFolder makes dir and what it lies in, durably: what is synced in a folder that is
// not is gone with it when the power is.
func makeFolder(dir string) error {
	var parents []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, p := range parents {
		d, err := os.Open(p)
		if errors.Is(err, fs.ErrPermission) {
			continue // it may be written and not read
		}
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}
