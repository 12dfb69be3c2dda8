package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// What waits for long at the head of the journal does not keep history behind it.
func TestPruneGetsPastWhatWaits(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "journal.db"), store.Options{Node: "central", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	accept := func(to string, n int) []*message.Message {
		ms := make([]*message.Message, n)
		for i := range ms {
			ms[i] = &message.Message{ToNode: to, Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
			db.Fresh(ms[i], time.Now())
		}
		if err := db.Accept(context.Background(), ms, false); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	const waiting = 10_000
	accept("away", waiting)
	ended := accept("ship1", 10)
	for _, m := range ended {
		if _, err := db.GiveUp(m.Subject(subject.Prefix), []message.Place{m.Place}, ack.Cancelled, "for the test", func(message.Place) int { return 0 }); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := db.Prune(time.Now().Add(365 * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range ended {
		if r, err := db.Record(m.ID); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("a year later the journal still has %+v, %v", r, err)
		}
	}
	if n := db.Counts().Waiting; n != waiting {
		t.Errorf("%d messages wait, want %d", n, waiting)
	}
}
