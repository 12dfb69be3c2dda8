package store

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Summary is the size of a journal.
type Summary struct {
	Path     string         `json:"path"`
	Bytes    int64          `json:"bytes"`     // of the file
	Free     int64          `json:"freeBytes"` // of it, that hold nothing
	Node     string         `json:"node"`
	ID       string         `json:"id"`
	Counts   Counts         `json:"counts"`
	Messages int            `json:"messages"`
	Records  map[string]int `json:"records"` // by bucket
}

// Stats sums up the journal of a stopped node.
func Stats(path string) (s Summary, err error) {
	b, err := openFile(path, true)
	if err != nil {
		return s, fmt.Errorf("journal stats: %w", advised(err))
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
			if s.Bytes, err = sizeOf(path); err != nil {
				return err
			}
			s.Free = s.Bytes - tx.Size() + int64(b.Stats().FreePageN)*int64(b.Info().PageSize)
			for key, to := range map[string]func([]byte){"node": func(v []byte) { s.Node = string(v) }, "id": func(v []byte) { s.ID = fmt.Sprintf("%x", v) }} {
				v := tx.Bucket(bucketMeta).Get([]byte(key))
				if v == nil {
					continue // it was never opened
				}
				v, err := unseal(bucketMeta, []byte(key), v)
				if err != nil {
					return err
				}
				to(v)
			}
			return nil
		})
	})
}

func sizeOf(path string) (int64, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
