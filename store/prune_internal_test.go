package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// One call of Prune takes a bounded part of whatever there is to forget, and the
// calls after it the rest.
func TestPruneIsBounded(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "journal.db"), Options{Node: "central", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const n = 5 * pruneChunk
	now := time.Now()
	over := fmt.Append(nil, now.Add(-time.Second).UnixNano())
	err = db.w.do(func(tx *bolt.Tx) error {
		for i := range n {
			key := fmt.Appendf(nil, "%016x", i)
			if err := putNote(tx, bucketPlain, key, over); err != nil {
				return err
			}
			if err := putNote(tx, bucketFailures, key, []byte(`{"last": "2001-01-01T00:00:00Z"}`)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	left := func() (plain, failures int) {
		err := db.view(func(tx *bolt.Tx) error {
			plain, failures = tx.Bucket(bucketPlain).Stats().KeyN, tx.Bucket(bucketFailures).Stats().KeyN
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return plain, failures
	}
	for call := 1; call <= 5; call++ {
		if _, err := db.Prune(now); err != nil {
			t.Fatal(err)
		}
		if plain, failures := left(); plain != n-call*pruneChunk || failures != n-call*pruneChunk {
			t.Errorf("after %d calls %d plain events and %d failures are left of %d", call, plain, failures, n)
		}
	}
}
