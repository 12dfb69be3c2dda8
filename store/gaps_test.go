package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// stranger sends to a journal, as another node does, what is asked of it.
type stranger struct {
	t     *testing.T
	epoch uuid.UUID
	to    subject.Subject
	id    uuid.UUID // of what results answer
}

// batch holds a message for each place, with the settled place zero.
func (x *stranger) batch(db *store.DB, verdict ack.Verdict, seqs ...uint64) store.Batch {
	x.t.Helper()
	b := store.Batch{Subject: x.to, From: "ship1", For: db.ID(), Epoch: x.epoch}
	for _, seq := range seqs {
		m := &message.Message{
			ID: uuid.NewSHA1(x.epoch, fmt.Append(nil, seq)), FromNode: "ship1", ToNode: "central", Kind: x.to.Kind, Method: x.to.Method, Data: []string{"x"},
			Time: time.Now(), Place: message.Place{Epoch: x.epoch, Seq: seq},
		}
		if m.Method == message.MethodResult {
			m.Data, m.CausationID, m.Result = nil, x.id, &message.Result{Outcome: ack.Done}
		}
		event, err := m.Encode(subject.Prefix)
		if err != nil {
			x.t.Fatal(err)
		}
		d, err := message.Decode(event, x.to)
		if err != nil {
			x.t.Fatal(err)
		}
		b.Items = append(b.Items, store.Item{Decoded: d, Event: event, Ack: ack.Ack{Verdict: verdict}})
	}
	return b
}

func (x *stranger) send(db *store.DB, verdict ack.Verdict, seqs ...uint64) (verdicts []ack.Verdict) {
	x.t.Helper()
	got, err := db.Receive(x.batch(db, verdict, seqs...))
	if err != nil {
		x.t.Fatal(err)
	}
	for _, a := range got.Replies[0].Acks {
		verdicts = append(verdicts, a.Verdict)
	}
	return verdicts
}

// TestGapsHaveNoAck: what the receiver did not decide on does not get the word that
// was given for what lies before it and after it, also after another opening.
func TestGapsHaveNoAck(t *testing.T) {
	for name, x := range map[string]struct {
		to      subject.Subject
		verdict ack.Verdict // by policy
		want    ack.Verdict
	}{
		"refused": {on("central", subject.EventACK, "Note"), ack.Rejected, ack.Rejected},
		"results": {on("central", subject.EventACK, message.MethodResult), "", ack.Accepted},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.db")
			db := openJournal(t, path, store.Options{})
			s := &stranger{t, uuid.Must(uuid.NewV7()), x.to, uuid.Must(uuid.NewV7())}
			w, stale := x.want, ack.Stale
			s.send(db, x.verdict, 2, 3, 4, 10)
			s.send(db, x.verdict, 11, 20)
			for range 2 {
				if got := s.send(db, x.verdict, 1, 2, 3, 4, 5, 9, 10, 11, 12, 19, 20); !slices.Equal(got, []ack.Verdict{stale, w, w, w, stale, stale, w, w, stale, stale, w}) {
					t.Errorf("%v", got)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = openJournal(t, path, store.Options{})
			}
			s.epoch = uuid.Must(uuid.NewV7()) // the sender's next life has places above
			if got := s.send(db, x.verdict, 21, 22); !slices.Equal(got, []ack.Verdict{w, w}) {
				t.Errorf("of the next life: %v", got)
			}
			if got := s.send(db, x.verdict, 20, 21, 23); !slices.Equal(got, []ack.Verdict{stale, w, w}) {
				t.Errorf("again: %v", got)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestManyGaps: what one remembers of a lane has a bound, also where a sender never
// says what it holds, and is a few bytes for each place of a batch.
func TestManyGaps(t *testing.T) {
	db := openJournal(t, filepath.Join(t.TempDir(), "j.db"), store.Options{})
	defer db.Close()
	s := &stranger{t, uuid.Must(uuid.NewV7()), on("central", subject.EventACK, "Note"), uuid.Nil}
	const bound, step = 1 << 14, 512
	var seqs []uint64
	for seq := uint64(2); len(seqs) < bound+step; seq += 2 {
		seqs = append(seqs, seq)
	}
	for part := range slices.Chunk(seqs, step) {
		s.send(db, ack.Rejected, part...)
	}
	if got := s.send(db, ack.Rejected, seqs[step-1], seqs[step]-1, seqs[step], seqs[len(seqs)-1]); !slices.Equal(got, []ack.Verdict{ack.Stale, ack.Stale, ack.Rejected, ack.Rejected}) {
		t.Errorf("%v", got)
	}
}
