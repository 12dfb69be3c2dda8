package store_test

import (
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

// TestGiveUpAfterTheReceiverIsLost: a command that asks for a rerun goes out again
// to a receiver with another journal. That one can say that it never had it, and
// not that the one before never ran it.
func TestGiveUpAfterTheReceiverIsLost(t *testing.T) {
	for _, outcome := range []ack.Outcome{ack.Expired, ack.Undelivered, ack.Cancelled} {
		db := openJournal(t, filepath.Join(t.TempDir(), "j.db"), store.Options{})
		defer db.Close()
		s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}, OnUnknown: message.Rerun}
		db.Fresh(m, time.Now())
		if err := db.Accept(t.Context(), []*message.Message{m}, false); err != nil {
			t.Fatal(err)
		}
		met := func() {
			if _, err := db.Met(s, uuid.New()); err != nil {
				t.Fatal(err)
			}
		}
		met()
		if out, err := db.Next(s, message.Place{}, 1, 1<<20); err != nil || len(out.Entries) != 1 { // sent, and no answer
			t.Fatal(out, err)
		}
		met()
		if _, err := db.GiveUp(s, []message.Place{m.Place}, outcome, "test", func(message.Place) int { return 1 }); err != nil {
			t.Fatal(err)
		}
		a := store.Answer{ID: m.ID, Place: m.Place, Void: true, Ack: ack.Ack{Verdict: ack.Voided}}
		if err := db.Acked(s, []store.Answer{a}, false, nil); err != nil {
			t.Fatal(err)
		}
		if r, err := db.Record(m.ID); err != nil || r.State != store.Ended || r.Outcome != ack.Unknown {
			t.Errorf("%s %s (%s), %v; to be %s, and known to be unknown", r.State, r.Outcome, r.Reason, err, outcome)
		}
	}
}
