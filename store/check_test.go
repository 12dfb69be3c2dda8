package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/store"
)

// Check sees where messages and queues disagree, although every record is whole.
func TestCheckComparesQueuesAndMessages(t *testing.T) {
	bucket := func(tx *bolt.Tx, names ...string) *bolt.Bucket {
		b := tx.Bucket([]byte(names[0]))
		for _, name := range names[1:] {
			b = b.Bucket([]byte(name))
		}
		return b
	}
	queue := []string{"outbox", "steward.ship1.CommandACK.Echo"}
	for name, x := range map[string]struct {
		damage func(tx *bolt.Tx) error
		want   string
	}{
		"a message that waits nowhere": {func(tx *bolt.Tx) error {
			c := bucket(tx, queue...).Cursor()
			c.First()
			return c.Delete()
		}, "has no outcome, and waits nowhere"},
		"a message that is gone": {func(tx *bolt.Tx) error {
			_, v := bucket(tx, queue...).Cursor().Last()
			return bucket(tx, "messages").Delete(v[4:20])
		}, "is queued and does not exist"},
		"a queue under another name": {func(tx *bolt.Tx) error {
			to, err := bucket(tx, "outbox").CreateBucket([]byte("steward.ship2.CommandACK.Echo"))
			if err != nil {
				return err
			}
			return errors.Join(bucket(tx, queue...).ForEach(to.Put), bucket(tx, "outbox").DeleteBucket([]byte(queue[1])))
		}, "belongs elsewhere"},
		"a message that ended and waits": {func(tx *bolt.Tx) error {
			k, _ := bucket(tx, "states").Cursor().First()
			_, first := bucket(tx, queue...).Cursor().First()
			place := bucket(tx, "messages").Get(k)[5:29] // of the one that ended
			slot := append([]byte(nil), first...)
			copy(slot[4:], k)
			return bucket(tx, queue...).Put(place, resealed(place, slot))
		}, "is queued and has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			db := openJournal(t, path, store.Options{})
			accepted(t, db, 6, 2)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(b.Update(x.damage), b.Close()); err != nil {
				t.Fatal(err)
			}
			problems, err := store.Check(path)
			if err != nil || !strings.Contains(strings.Join(problems, "\n"), x.want) {
				t.Errorf("check finds %q, %v; want %q", problems, err, x.want)
			}
		})
	}
}
