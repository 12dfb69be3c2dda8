package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// checkLength refuses a file that ends before the last page that its header
// speaks of: bbolt would map it all the same, and the kernel would end us with a
// signal. A meta page holds, after a page header of 16 bytes, magic, version,
// page size and flags of 4 bytes each, root and its sequence, freelist, and the
// number of pages in use, of 8 each.
func checkLength(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	const magic, head = 0xED0CDAED, 16
	first := make([]byte, 4096)
	if _, err := f.ReadAt(first, 0); err != nil {
		return fmt.Errorf("%w: it is shorter than its header; restore it from a backup", ErrCorrupt)
	}
	size := int64(os.Getpagesize())
	if binary.LittleEndian.Uint32(first[head:]) == magic {
		size = int64(binary.LittleEndian.Uint32(first[head+8:]))
	}
	for _, at := range []int64{0, size} {
		page := make([]byte, 80)
		if _, err := f.ReadAt(page, at); err != nil || binary.LittleEndian.Uint32(page[head:]) != magic {
			continue
		}
		if pages := int64(binary.LittleEndian.Uint64(page[head+40:])); pages > 0 && size > 0 && pages*size > fi.Size() && pages < 1<<40 {
			return fmt.Errorf("%w: it has %d bytes where its header speaks of %d; restore it from a backup, or move it away to begin without history", ErrCorrupt, fi.Size(), pages*size)
		}
	}
	return nil
}

// guarded runs f, and turns what a damaged file makes it do into an error: a
// panic, an access beyond the map, a walk that does not end.
func guarded(f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("%w: %v; `steward store check` tells more", ErrCorrupt, v)
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(openLimit):
		return fmt.Errorf("%w: reading it did not end within %s; `steward store check` tells more", ErrCorrupt, openLimit)
	}
}

// verifyAll is the size up to which opening reads the whole file: a bit that
// flipped in a page, and not in a record, can hide records without a trace.
const verifyAll = 64 << 20

// preread walks a journal of ordinary size before it is opened for writing,
// which walks it too, but on a goroutine of bbolt's where an access beyond the
// map cannot be caught.
func preread(path string) error {
	fi, err := os.Stat(path)
	if err != nil || fi.Size() > verifyAll {
		return err
	}
	var b *bolt.DB
	err = guarded(func() (err error) {
		b, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
		if err != nil {
			return err
		}
		return b.View(readAll)
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrLocked
	case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if b != nil {
		err = errors.Join(err, b.Close())
	}
	return err
}

// readAll reads every record there is a way to.
func readAll(tx *bolt.Tx) error {
	var problems []string
	for _, name := range buckets {
		b := tx.Bucket(name)
		if b == nil {
			return fmt.Errorf("%w: it has no bucket %q: it is no journal of steward, or was cut", ErrCorrupt, name)
		}
		problems = append(problems, checkRecords(tx, name, b, nil)...)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %s (%d problems); restore it from a backup, or move it away to begin without history", ErrCorrupt, problems[0], len(problems))
	}
	return nil
}

func verifySmall(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketRoads, bucketLanes, bucketFences, bucketPeers, bucketNotes} {
		err := tx.Bucket(name).ForEach(func(k, v []byte) error {
			_, err := unseal(name, k, v)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
