package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// TestIdsAreGivenOnce: a journal whose epoch is of a time that the clock has not
// come to, because it stepped back, gives other ids in each of its lives, and in
// that of a copy that begins from the same epoch.
func TestIdsAreGivenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	ahead := uuid.Must(uuid.NewV7())
	ahead[3]++ // some hours
	ids, epochs := map[uuid.UUID]bool{}, map[uuid.UUID]bool{}
	last := ahead
	for life := range 4 {
		db := openJournal(t, path, store.Options{Node: "central"})
		if err := db.Outlive(ahead); err != nil {
			t.Fatal(err)
		}
		epoch := db.Epoch()
		if epochs[epoch] || bytes.Compare(epoch[:], last[:]) <= 0 {
			t.Errorf("life %d has epoch %s, which is not above %s", life, epoch, last)
		}
		epochs[epoch], last = true, epoch
		for range 100 {
			m := new(message.Message)
			if db.Fresh(m, time.Now()); ids[m.ID] {
				t.Fatalf("life %d gives %s once more", life, m.ID)
			}
			ids[m.ID] = true
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // two journals, one epoch and one message: a copy, or sender and receiver
		path := filepath.Join(t.TempDir(), "journal.db")
		db := openJournal(t, path, store.Options{Node: "central"})
		m := &message.Message{ID: ahead, FromNode: "central", ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Time: time.Now(), Expires: time.Now().Add(time.Hour)}
		if err := errors.Join(db.Outlive(ahead), db.Accept(t.Context(), []*message.Message{m}, false)); err != nil {
			t.Fatal(err)
		}
		if epochs[db.Epoch()] {
			t.Errorf("two journals have epoch %s", db.Epoch())
		}
		epochs[db.Epoch()] = true
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openJournal(t, path, store.Options{Node: "central"})
		if db.Fresh(m, time.Now()); ids[m.ID] {
			t.Errorf("two journals give %s", m.ID)
		}
		ids[m.ID] = true
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
