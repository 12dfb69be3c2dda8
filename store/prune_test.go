package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

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

// A sender whose clock is far ahead gives ids that lie behind all others. What has one
// is forgotten as long after its end as anything, and draws no id of this node's along.
func TestIDsFromTheFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	open := func() *store.DB {
		db, err := store.Open(path, store.Options{Node: "central", MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	m := &message.Message{
		ID: idOf(time.Now().AddDate(500, 0, 0)), FromNode: "ship1", ToNode: "central", Kind: subject.EventACK, Method: "Note", Data: []string{"x"},
		Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 1}, Time: time.Now(), Expires: time.Now().Add(time.Hour),
	}
	s := m.Subject(subject.Prefix)
	event, err := m.Encode(subject.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	d, err := message.Decode(event, s)
	if err != nil {
		t.Fatal(err)
	}
	l := store.Lane{From: "ship1", Subject: s}
	if _, err := db.Receive(store.Batch{Subject: s, From: "ship1", For: db.ID(), Epoch: m.Place.Epoch, Items: []store.Item{{Decoded: d, Event: event}}}); err != nil {
		t.Fatal(err)
	}
	work, err := db.Inbox(l, message.Place{}, 1)
	if err != nil || len(work) != 1 {
		t.Fatal(work, err)
	}
	prune := func(in time.Duration, left error) {
		t.Helper()
		if _, err := db.Prune(time.Now().Add(in)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Record(m.ID); !errors.Is(err, left) {
			t.Errorf("after %s: %v, want %v", in, err, left)
		}
	}
	prune(100*24*time.Hour, nil) // it waits
	if err := db.Finish(l, []store.Finished{{Work: work[0], Result: message.Result{Outcome: ack.Done}}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open()
	defer func() { _ = db.Close() }()
	own := &message.Message{ToNode: "ship1", Kind: subject.EventACK, Method: "Note"}
	if db.Fresh(own, time.Now()); own.ID.String() > idOf(time.Now().Add(time.Hour)).String() {
		t.Errorf("the next id is %s", own.ID)
	}
	prune(time.Hour, nil)
	prune(100*24*time.Hour, store.ErrNotFound)
}
