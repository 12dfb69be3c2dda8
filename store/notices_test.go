package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// notices reads all of db's that are to be told.
func notices(t *testing.T, db *store.DB) []store.Notice {
	t.Helper()
	list, err := db.Notices(uuid.Nil, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// An outcome that is asked for leaves a notice in its own transaction, which stays
// over openings until it is told; another outcome leaves none.
func TestNoticesStayUntilTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	noticed := 0
	opts := store.Options{Notify: func(o ack.Outcome) bool { return o == ack.RejectedEnd }, Noticed: func() { noticed++ }}
	db := openJournal(t, path, opts)
	ids := accepted(t, db, 5, 3)
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	for _, id := range ids[3:] {
		_, p, _, err := db.PlaceOf(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.GiveUp(s, []message.Place{p}, ack.Cancelled, "test", func(message.Place) int { return 0 }); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		list := notices(t, db)
		if len(list) != 3 || noticed != 1 {
			t.Fatalf("noticed %d times: %+v", noticed, list)
		}
		for i, n := range list {
			if n.Message != ids[i] || n.Outcome != ack.RejectedEnd || n.Reason != "no" || n.Subject != s.String() || time.Since(n.At) > time.Hour {
				t.Errorf("notice %d is %+v", i, n)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openJournal(t, path, opts)
	}
	defer db.Close()
	list := notices(t, db)
	db.Told(list[1].ID)
	if err := db.Accept(t.Context(), nil, false); err != nil { // it takes along what may wait
		t.Fatal(err)
	}
	if left := notices(t, db); len(left) != 1 || left[0].ID != list[2].ID {
		t.Errorf("left are %+v", left)
	}
}

// Many notices are forgotten piece by piece.
func TestManyNoticesAreTold(t *testing.T) {
	db := openJournal(t, filepath.Join(t.TempDir(), "j.db"), store.Options{Notify: func(ack.Outcome) bool { return true }})
	defer db.Close()
	accepted(t, db, 4500, 4500)
	list := notices(t, db)
	if len(list) != 4500 {
		t.Fatalf("%d notices", len(list))
	}
	db.Told(list[4400].ID)
	for left := list; len(left) != 99; left = notices(t, db) {
		if err := db.Accept(t.Context(), nil, false); err != nil {
			t.Fatal(err)
		}
	}
}

// What had ended as unknown leaves a notice when it is known; when it is unknown
// once more, that is no news.
func TestNoticeOfWhatIsRefined(t *testing.T) {
	db := openJournal(t, filepath.Join(t.TempDir(), "j.db"), store.Options{Notify: func(o ack.Outcome) bool { return o == ack.Unknown }})
	defer db.Close()
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	ms := make([]*message.Message, 2)
	var places []message.Place
	for i := range ms {
		ms[i] = &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
		db.Fresh(ms[i], time.Now())
	}
	if err := db.Accept(t.Context(), ms, false); err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		places = append(places, m.Place)
	}
	meet(t, db, s)
	send(t, db, s, 2) // and no answer
	if _, err := db.GiveUp(s, places, ack.Expired, "test", func(message.Place) int { return 1 }); err != nil {
		t.Fatal(err)
	}
	voided := store.Answer{ID: ms[0].ID, Place: ms[0].Place, Void: true, Ack: ack.Ack{Verdict: ack.Voided}}
	stale := store.Answer{ID: ms[1].ID, Place: ms[1].Place, Void: true, Ack: ack.Ack{Verdict: ack.Stale}}
	var ended []store.Settled
	if err := db.Acked(s, []store.Answer{voided, stale}, false, func(list []store.Settled) { ended = list }); err != nil {
		t.Fatal(err)
	}
	if len(ended) != 1 || !ended[0].Refined || ended[0].Outcome != ack.Expired {
		t.Errorf("ended %+v", ended)
	}
	list := notices(t, db)
	if len(list) != 3 || list[0].Outcome != ack.Unknown || list[1].Outcome != ack.Unknown || list[2].Outcome != ack.Expired || !list[2].Refined || list[2].Message != ms[0].ID {
		t.Errorf("%+v", list)
	}
}
