package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// TestGiveUpWhileSending: what Next has read is on its way. A cancel that comes
// meanwhile may not call it cancelled, and what is called cancelled is not read.
func TestGiveUpWhileSending(t *testing.T) {
	db := openJournal(t, filepath.Join(t.TempDir(), "j.db"), store.Options{})
	defer db.Close()
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	meet(t, db, s)
	for range 100 {
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
		db.Fresh(m, time.Now())
		if err := db.Accept(t.Context(), []*message.Message{m}, false); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := db.GiveUp(s, []message.Place{m.Place}, ack.Cancelled, "test", func(message.Place) int { return 0 }); err != nil {
				t.Error(err)
			}
		})
		out, err := db.Next(s, message.Place{}, 10, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		group.Wait()
		r, err := db.Record(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		read := len(out.Entries) > 0 && !out.Entries[0].Void
		if read && r.State != store.Cancelling || !read && r.Outcome != ack.Cancelled {
			t.Fatalf("read to be sent: %v, and it is %s %s", read, r.State, r.Outcome)
		}
		if len(out.Entries) > 0 { // the receiver says that it was in time
			a := store.Answer{ID: m.ID, Place: m.Place, Void: true, Ack: ack.Ack{Verdict: ack.Voided}}
			if err := db.Acked(s, []store.Answer{a}, false, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRerunAfterTheReceiverIsLost: a command that asks for a rerun goes out again to
// a receiver with another journal. Whatever that one says, it cannot know that the
// one before never ran it.
func TestRerunAfterTheReceiverIsLost(t *testing.T) {
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	giveUp := func(t *testing.T, db *store.DB, m *message.Message, outcome ack.Outcome) {
		t.Helper()
		if _, err := db.GiveUp(s, []message.Place{m.Place}, outcome, "test", func(message.Place) int { return 1 }); err != nil {
			t.Fatal(err)
		}
	}
	acked := func(t *testing.T, db *store.DB, m *message.Message, v ack.Verdict, void bool) {
		t.Helper()
		a := store.Answer{ID: m.ID, Place: m.Place, Void: void, Ack: ack.Ack{Verdict: v}}
		if err := db.Acked(s, []store.Answer{a}, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	givenUp := func(outcome ack.Outcome) func(*testing.T, *store.DB, *message.Message) {
		return func(t *testing.T, db *store.DB, m *message.Message) {
			giveUp(t, db, m, outcome)
			acked(t, db, m, ack.Voided, true)
		}
	}
	for name, x := range map[string]struct {
		before, after func(*testing.T, *store.DB, *message.Message)
	}{
		"expired":     {after: givenUp(ack.Expired)},
		"undelivered": {after: givenUp(ack.Undelivered)},
		"cancelled":   {after: givenUp(ack.Cancelled)},
		"rejected":    {after: func(t *testing.T, db *store.DB, m *message.Message) { acked(t, db, m, ack.Rejected, false) }},
		"expired there": {after: func(t *testing.T, db *store.DB, m *message.Message) {
			acked(t, db, m, ack.Accepted, false)
			result(t, db, m, ack.Expired)
		}},
		"given up before, too late": {
			before: func(t *testing.T, db *store.DB, m *message.Message) {
				giveUp(t, db, m, ack.Expired)
				acked(t, db, m, ack.Accepted, true)
			},
			after: givenUp(ack.Expired),
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := openJournal(t, filepath.Join(t.TempDir(), "j.db"), store.Options{Node: "central"})
			defer db.Close()
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}, OnUnknown: message.Rerun}
			db.Fresh(m, time.Now())
			if err := db.Accept(t.Context(), []*message.Message{m}, false); err != nil {
				t.Fatal(err)
			}
			meet(t, db, s)
			send(t, db, s, 1)
			if x.before != nil {
				x.before(t, db, m)
			}
			if _, err := db.Met(s, uuid.New()); err != nil {
				t.Fatal(err)
			}
			x.after(t, db, m)
			if r, err := db.Record(m.ID); err != nil || r.State != store.Ended || r.Outcome != ack.Unknown {
				t.Errorf("%s %s (%s), %v; want unknown", r.State, r.Outcome, r.Reason, err)
			}
		})
	}
}

// result comes from ship1 for m.
func result(t *testing.T, db *store.DB, m *message.Message, outcome ack.Outcome) {
	t.Helper()
	r := &message.Message{
		ID: uuid.Must(uuid.NewV7()), FromNode: "ship1", ToNode: "central", Kind: subject.EventACK, Method: message.MethodResult, CausationID: m.ID,
		Result: &message.Result{Outcome: outcome}, Time: time.Now(), Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 1},
	}
	event, err := r.Encode(subject.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	to := r.Subject(subject.Prefix)
	d, err := message.Decode(event, to)
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.Receive(store.Batch{Subject: to, From: "ship1", For: db.ID(), Epoch: r.Place.Epoch, Items: []store.Item{{Decoded: d, Event: event}}})
	if err != nil || got.Replies[0].Acks[0].Verdict != ack.Accepted {
		t.Fatal(got, err)
	}
}

// TestWhatWasNeverSent: an opening knows it of a road that was shut, up to where it
// was; of an open one, of a copy, and of a journal that has a twin, it does not.
func TestWhatWasNeverSent(t *testing.T) {
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	for name, x := range map[string]struct {
		before  func(t *testing.T, db *store.DB) // of three messages, which were accepted
		between func(t *testing.T, path string)
		after   func(t *testing.T, db *store.DB)
		want    int // of them may have been sent
	}{
		"new":  {want: 0},
		"open": {before: func(t *testing.T, db *store.DB) { meet(t, db, s) }, want: 3},
		"shut": {before: func(t *testing.T, db *store.DB) {
			meet(t, db, s)
			db.Shut(s)
		}, want: 0},
		"shut, sent two": {before: func(t *testing.T, db *store.DB) {
			meet(t, db, s)
			send(t, db, s, 2)
			db.Shut(s)
		}, want: 2},
		"shut and opened": {before: func(t *testing.T, db *store.DB) {
			meet(t, db, s)
			db.Shut(s)
			meet(t, db, s)
		}, want: 3},
		"shut twice": {before: func(t *testing.T, db *store.DB) {
			meet(t, db, s)
			send(t, db, s, 1)
			db.Shut(s)
			meet(t, db, s)
			send(t, db, s, 2)
			db.Shut(s)
			db.Shut(s)
		}, want: 2},
		"a copy": {between: func(t *testing.T, path string) {
			if err := os.Rename(path, path+".was"); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path + ".was")
			if err := errors.Join(err, os.WriteFile(path, b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, want: 3},
		"a twin": {after: func(t *testing.T, db *store.DB) {
			if err := db.Renounce(); err != nil {
				t.Fatal(err)
			}
		}, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.db")
			db := openJournal(t, path, store.Options{})
			var places []message.Place
			for range 3 {
				m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
				db.Fresh(m, time.Now())
				if err := db.Accept(t.Context(), []*message.Message{m}, false); err != nil {
					t.Fatal(err)
				}
				places = append(places, m.Place)
			}
			if x.before != nil {
				x.before(t, db)
			}
			for range 2 { // what one opening knows the next one knows too
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				if x.between != nil {
					x.between(t, path)
				}
				db = openJournal(t, path, store.Options{})
			}
			defer db.Close()
			if x.after != nil {
				x.after(t, db)
			}
			ended, err := db.GiveUp(s, places, ack.Expired, "test", func(message.Place) int { return 0 })
			n := 0
			for _, e := range ended {
				if e.Outcome == ack.Unknown {
					n++
				}
			}
			if err != nil || len(ended) != 3 || n != x.want {
				t.Errorf("%+v, %v: want %d unknown", ended, err, x.want)
			}
		})
	}
}

func meet(t *testing.T, db *store.DB, s subject.Subject) {
	t.Helper()
	if _, err := db.Met(s, uuid.MustParse("00000000-0000-4000-8000-00000000000a")); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, db *store.DB, s subject.Subject, n int) {
	t.Helper()
	if out, err := db.Next(s, message.Place{}, n, 1<<20); err != nil || len(out.Entries) != n {
		t.Fatal(out, err)
	}
}
