package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Compact rewrites the journal of a stopped node without its free pages, and puts
// it in the old one's place once it is durable and was read. Until then, and if there
// is no room for both, the old one stays as it is.
func Compact(path string) (before, after int64, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil { // a link stays one
		return 0, 0, fmt.Errorf("compact journal: %w", err)
	}
	src, err := openFile(path, false)
	if err != nil {
		return 0, 0, fmt.Errorf("compact journal: %w", advised(err))
	}
	defer func() { err = errors.Join(err, src.Close()) }() // nobody may write to it before it is replaced
	if before, err = sizeOf(path); err != nil {
		return 0, 0, fmt.Errorf("compact journal: %w", err)
	}
	tmp := path + ".compact"
	err = rewrite(tmp, path, src)
	if err == nil {
		after, err = sizeOf(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return 0, 0, errors.Join(fmt.Errorf("compact journal, which stays as it was: %w", err), removeIfThere(tmp))
	}
	return before, after, syncDir(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// rewrite makes the file to of what is in src, the journal at path, durable and
// without room to grow.
func rewrite(to, path string, src *bolt.DB) error {
	if err := removeIfThere(to); err != nil { // of an earlier try
		return err
	}
	o := boltOptions()
	o.NoSync = true // once is enough
	dst, err := bolt.Open(to, 0o600, o)
	if err != nil {
		return err
	}
	var used int64
	err = bolt.Compact(dst, src, 4<<20)
	if err == nil {
		err = adopt(dst, path, to)
	}
	if err == nil {
		listFree(dst)
		err = dst.View(func(tx *bolt.Tx) error {
			used = tx.Size()
			return nil
		})
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(used)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = sound(f)
	}
	return errors.Join(err, f.Close())
}

// adopt tells the new file that it is no copy but the journal itself, unless the
// old one is a copy.
func adopt(b *bolt.DB, path, to string) error {
	was, err := homeOf(path)
	if err != nil {
		return err
	}
	home, err := homeOf(to)
	if err != nil {
		return err
	}
	return b.Update(func(tx *bolt.Tx) error {
		if known := tx.Bucket(bucketMeta).Get(keyHome); !bytes.Equal(known, seal(keyHome, was)) {
			return nil
		}
		return putNote(tx, bucketMeta, keyHome, home)
	})
}
