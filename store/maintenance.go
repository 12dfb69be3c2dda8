package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Summary is the size of a journal.
type Summary struct {
	Path     string         `json:"path"`
	Bytes    int64          `json:"bytes"`     // of the file
	Free     int64          `json:"freeBytes"` // of it, that compact would give back
	Node     string         `json:"node"`
	ID       string         `json:"id"`
	Counts   Counts         `json:"counts"`
	Messages int            `json:"messages"`
	Records  map[string]int `json:"records"` // by bucket
}

// Stats sums up the journal of a stopped node.
func Stats(path string) (s Summary, err error) {
	if _, err := os.Stat(path); err != nil {
		return s, fmt.Errorf("journal stats: %w", err)
	}
	b, err := openFile(path)
	if err != nil {
		return s, fmt.Errorf("journal stats: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	s = Summary{Path: path, Records: map[string]int{}}
	return s, guarded(func() error {
		return b.View(func(tx *bolt.Tx) error {
			db := &DB{out: map[string]*outStat{}, inboxes: map[string]int{}}
			if err := db.countOutbox(tx); err != nil {
				return err
			}
			if err := db.countInbox(tx); err != nil {
				return err
			}
			for _, name := range buckets {
				s.Records[string(name)] = tx.Bucket(name).Stats().KeyN
			}
			s.Messages, s.Counts = s.Records[string(bucketMessages)], db.Counts()
			s.Bytes, s.Free = tx.Size(), int64(b.Stats().FreePageN)*int64(b.Info().PageSize)
			for key, to := range map[string]func([]byte){"node": func(v []byte) { s.Node = string(v) }, "id": func(v []byte) { s.ID = fmt.Sprintf("%x", v) }} {
				v, err := unseal(bucketMeta, []byte(key), tx.Bucket(bucketMeta).Get([]byte(key)))
				if err != nil {
					return err
				}
				to(v)
			}
			return nil
		})
	})
}

// Check reads the whole journal of a stopped node: its pages, every checksum,
// and whether what is queued exists. Each problem is a line for the operator.
func Check(path string) (problems []string, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("journal check: %w", err)
	}
	b, err := openFile(path)
	if errors.Is(err, ErrCorrupt) {
		return []string{err.Error()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal check: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	err = guarded(func() error {
		return b.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				problems = append(problems, "pages: "+err.Error())
			}
			for _, name := range buckets {
				bucket := tx.Bucket(name)
				if bucket == nil {
					problems = append(problems, fmt.Sprintf("bucket %s is missing", name))
					continue
				}
				problems = append(problems, checkRecords(tx, name, bucket, nil)...)
			}
			return nil
		})
	})
	if errors.Is(err, ErrCorrupt) {
		return append(problems, err.Error()), nil
	}
	return problems, err
}

func checkRecords(tx *bolt.Tx, name []byte, b *bolt.Bucket, within []byte) (problems []string) {
	err := b.ForEach(func(k, v []byte) error {
		if v == nil {
			problems = append(problems, checkRecords(tx, name, b.Bucket(k), k)...)
			return nil
		}
		if _, err := unseal(name, k, v); err != nil {
			problems = append(problems, err.Error())
			return nil
		}
		if within != nil && len(v) >= 20 && tx.Bucket(bucketMessages).Get(v[4:20]) == nil {
			problems = append(problems, fmt.Sprintf("%s of %s: message %x is queued and does not exist", name, within, v[4:20]))
		}
		return nil
	})
	if err != nil {
		problems = append(problems, fmt.Sprintf("%s: %v", name, err))
	}
	return problems
}

// Compact rewrites the journal of a stopped node without its free pages, and
// puts it in the old one's place once it is durable.
func Compact(path string) (before, after int64, err error) {
	src, err := openFile(path)
	if err != nil {
		return 0, 0, fmt.Errorf("compact journal: %w", err)
	}
	tmp := path + ".compact"
	_ = os.Remove(tmp) // of an earlier try; Open tells if it cannot be replaced
	dst, err := bolt.Open(tmp, 0o600, boltOptions())
	if err != nil {
		return 0, 0, errors.Join(fmt.Errorf("compact journal: %w", err), src.Close())
	}
	err = bolt.Compact(dst, src, 4<<20)
	if err == nil {
		err = adopt(dst, path, tmp)
	}
	if err = errors.Join(err, dst.Sync(), dst.Close(), src.Close()); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("compact journal: %w", err), os.Remove(tmp))
	}
	if fi, err := os.Stat(path); err == nil {
		before = fi.Size()
	}
	if err := os.Rename(tmp, path); err != nil {
		return before, before, fmt.Errorf("compact journal: %w", err)
	}
	if fi, err := os.Stat(path); err == nil {
		after = fi.Size()
	}
	return before, after, syncDir(filepath.Dir(path))
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
