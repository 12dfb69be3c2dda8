package store_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

func openJournal(t *testing.T, path string, opts store.Options) *store.DB {
	t.Helper()
	opts.Node, opts.MinFree = "central", 1
	db, err := store.Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// accepted puts n commands for ship1 into the outbox, and gives the first acked
// of them their acks as rejected, which is an outcome.
func accepted(t *testing.T, db *store.DB, n, ended int) (ids []uuid.UUID) {
	t.Helper()
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{strings.Repeat("x", 1000)}}
		db.Fresh(ms[i], time.Now())
		ids = append(ids, ms[i].ID)
	}
	if err := db.Accept(t.Context(), ms, false); err != nil {
		t.Fatal(err)
	}
	var answers []store.Answer
	for _, m := range ms[:ended] {
		answers = append(answers, store.Answer{ID: m.ID, Place: m.Place, Ack: ack.Ack{Verdict: ack.Rejected, Reason: "no"}, Attempts: 1})
	}
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	if err := db.Acked(s, answers, false, nil); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestOneOpeningAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	db := openJournal(t, path, store.Options{})
	if _, err := store.Open(path, store.Options{Node: "central"}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second opening: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openJournal(t, path, store.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerJournalIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := openJournal(t, path, store.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), sealed("schema", 99))
	})
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(path, store.Options{Node: "central"}); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "99") {
		t.Errorf("a journal of a later version: %v", err)
	}
}

// Prune forgets what ended and is too old or too much, and nothing else.
func TestPrune(t *testing.T) {
	for name, x := range map[string]struct {
		opts store.Options
		at   time.Duration
		left int
	}{
		"young and few": {store.Options{HistoryAge: time.Hour, HistoryCount: 100}, 0, 30},
		"too many":      {store.Options{HistoryAge: time.Hour, HistoryCount: 5}, 0, 15},
		"too old":       {store.Options{HistoryAge: time.Hour, HistoryCount: 100}, 2 * time.Hour, 10},
	} {
		t.Run(name, func(t *testing.T) {
			db := openJournal(t, filepath.Join(t.TempDir(), "journal.db"), x.opts)
			defer db.Close()
			ids := accepted(t, db, 30, 20)
			for more := true; more; {
				var err error
				if more, err = db.Prune(time.Now().Add(x.at)); err != nil {
					t.Fatal(err)
				}
			}
			left := 0
			for i, id := range ids {
				switch _, err := db.Record(id); {
				case err == nil:
					left++
				case i >= 20 || !errors.Is(err, store.ErrNotFound):
					t.Errorf("message %d, which waits: %v", i, err)
				}
			}
			if left != x.left || db.Counts().Waiting != 10 {
				t.Errorf("%d records are left, want %d; counts %+v", left, x.left, db.Counts())
			}
		})
	}
}

func TestCompactKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	db := openJournal(t, path, store.Options{HistoryCount: 1})
	accepted(t, db, 2000, 1990)
	for more := true; more; {
		var err error
		if more, err = db.Prune(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	want, err := db.Records(store.Filter{Limit: 5000})
	if err != nil {
		t.Fatal(err)
	}
	id, counts := db.ID(), db.Counts()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	was, err := store.Stats(path)
	if err != nil {
		t.Fatal(err)
	}
	before, after, err := store.Compact(path)
	if before != was.Bytes {
		t.Errorf("compact says %d bytes, stats said %d", before, was.Bytes)
	}
	if err != nil || after > before-was.Free*9/10 {
		t.Errorf("from %d bytes to %d, %v", before, after, err)
	}
	if problems, err := store.Check(path); err != nil || len(problems) > 0 {
		t.Errorf("check: %q, %v", problems, err)
	}
	sum, err := store.Stats(path)
	if err != nil || sum.Counts != counts || sum.Messages != len(want) || sum.Bytes != after {
		t.Errorf("stats %+v, %v; want %+v, %d messages and %d bytes", sum, err, counts, len(want), after)
	}
	db = openJournal(t, path, store.Options{})
	defer db.Close()
	got, err := db.Records(store.Filter{Limit: 5000})
	if err != nil || !reflect.DeepEqual(got, want) || db.ID() != id || db.Copied() {
		t.Errorf("%d records, want %d; journal %s, want %s; copied %t, %v", len(got), len(want), db.ID(), id, db.Copied(), err)
	}
}

// A backup that is compacted before it is opened is still a backup.
func TestCompactedCopyIsACopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	db := openJournal(t, path, store.Options{})
	id := db.ID()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(backup, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Compact(backup); err != nil {
		t.Fatal(err)
	}
	db = openJournal(t, backup, store.Options{})
	defer db.Close()
	if !db.Copied() || db.ID() == id {
		t.Errorf("journal %s of %s, copied %t", db.ID(), id, db.Copied())
	}
}

// sealed is a record of one byte under key, with its checksum.
func sealed(key string, b byte) []byte { return resealed([]byte(key), []byte{0, 0, 0, 0, b}) }

// resealed gives a record its checksum.
func resealed(key, record []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(record, crc32.Update(crc32.Checksum(key, table), table, record[4:]))
	return record
}
