package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// advised adds to err what an operator does about a damaged journal.
func advised(err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w; %s", err, Advice)
}

// Advice is what to do about a damaged journal.
const Advice = "restore it from a backup, or move it away and begin anew with `steward store init`"

// lockLimit is how long opening waits for another one to let go.
const lockLimit = time.Second

// locked opens the file for one process alone, or for all that only read.
func locked(path string, readOnly bool) (*os.File, error) {
	mode, how := os.O_RDWR, syscall.LOCK_EX
	if readOnly {
		mode, how = os.O_RDONLY, syscall.LOCK_SH
	}
	for began := time.Now(); ; time.Sleep(lockLimit / 20) {
		f, err := os.OpenFile(path, mode, 0)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil && stillAt(path, f) {
			return f, nil
		}
		_ = f.Close() // nothing was done with it
		switch {
		case err != nil && !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, fmt.Errorf("lock %s: %w", path, err)
		case time.Since(began) > lockLimit:
			return nil, ErrLocked
		}
	}
}

// stillAt reports whether f is what path leads to, and was not replaced before it
// was locked.
func stillAt(path string, f *os.File) bool {
	is, err := os.Stat(path)
	if err != nil {
		return false
	}
	was, err := f.Stat()
	return err == nil && os.SameFile(is, was)
}

func verifyFile(f *os.File) ([]string, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return verify(f, fi.Size())
}

// sound is nil for a file in which nothing is wrong.
func sound(f *os.File) error {
	problems, err := verifyFile(f)
	switch {
	case err != nil || len(problems) == 0:
		return err
	case len(problems) == 1:
		return fmt.Errorf("%w: %s", ErrCorrupt, problems[0])
	}
	return fmt.Errorf("%w: %s, and more that `steward store check` lists", ErrCorrupt, problems[0])
}

// guarded runs f, and turns what a damaged file makes it do into an error: a
// panic, an access beyond the map.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v; `steward store check` tells more", ErrCorrupt, v)
		}
	}()
	return f()
}

// queued is nil if the message of an entry of a queue exists and belongs there: the
// name of a queue has no checksum.
func queued(tx *bolt.Tx, bucket, queue, k, v []byte) error {
	where := fmt.Sprintf("%s of %s", bucket, queue)
	v, err := unseal(bucket, k, v)
	if err != nil {
		return err
	}
	if len(k) != placeLen || len(v) < 16 {
		return fmt.Errorf("%w: %s: entry %x is too short", ErrCorrupt, where, k)
	}
	id := v[:16]
	record := tx.Bucket(bucketMessages).Get(id)
	if record == nil {
		return fmt.Errorf("%w: %s: message %x is queued and does not exist", ErrCorrupt, where, id)
	}
	b, err := decodeBody(id, record)
	if err != nil {
		return err
	}
	name := b.subject
	if b.incoming {
		from, err := senderOf(b.event)
		if err != nil {
			return fmt.Errorf("%w: message %x: %w", ErrCorrupt, id, err)
		}
		name = b.lane(from)
	}
	if name != string(queue) || b.incoming != bytes.Equal(bucket, bucketInbox) || b.place != readPlace(k) {
		return fmt.Errorf("%w: %s: message %x is queued and belongs elsewhere", ErrCorrupt, where, id)
	}
	return nil
}

// verifyEnds looks at the first and the last entry of each queue. They tell whether
// the parts of the journal are from one commit, and the queue's name is its own.
func verifyEnds(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketOutbox, bucketInbox} {
		queues := tx.Bucket(name)
		err := queues.ForEachBucket(func(queue []byte) error {
			c := queues.Bucket(queue).Cursor()
			for _, end := range []func() ([]byte, []byte){c.First, c.Last} {
				if k, v := end(); k != nil {
					if err := queued(tx, name, queue, k, v); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
