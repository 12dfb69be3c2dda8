package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/internal/failpoint"
)

// begin makes the journal at path if there never was one: nothing of the name,
// no note of an opening and none of the traces beside it.
func begin(path string, traces []string) error {
	if err := present(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range append([]string{filepath.Base(path) + ".opening"}, traces...) {
		if left := filepath.Join(filepath.Dir(path), name); hasContent(left) {
			return fmt.Errorf("%w: %s is not there, and %s tells that it was; restore it from a backup, or begin anew with `steward store init`", ErrGone, path, left)
		}
	}
	return create(path)
}

// present is nil if path leads to something, and os.ErrNotExist if nothing has the
// name.
func present(path string) error {
	to, err := os.Readlink(path)
	if err != nil { // it is no link
		_, err = os.Lstat(path)
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s is a link to %s, where there is nothing; mount that disk, or remove the link", ErrGone, path, to)
	}
	return nil
}

// hasContent reports whether there is a file at path, or a folder with something
// in it.
func hasContent(path string) bool {
	list, err := os.ReadDir(path)
	if err != nil {
		_, err = os.Lstat(path)
		return err == nil
	}
	return len(list) > 0
}

// Init makes an empty journal at path, where one is known to be lost. It never
// replaces one.
func Init(path string) error {
	switch err := present(path); {
	case err == nil:
		return fmt.Errorf("begin a journal: %s exists: move it away first", path)
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("begin a journal: %w", err)
	}
	if err := create(path); err != nil {
		return fmt.Errorf("begin a journal: %w", err)
	}
	return nil
}

// create makes the file under another name first: a crash on the way must not leave
// an empty journal that looks like a good one.
func create(path string) error {
	tmp := path + ".new"
	if err := removeIfThere(tmp); err != nil {
		return err
	}
	b, err := bolt.Open(tmp, 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	failpoint.Hit(failpoint.Creating)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path)) // bbolt does not
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
