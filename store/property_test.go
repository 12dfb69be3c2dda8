package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// TestJournalIsItsModel takes a journal through steps in random order, and after
// each of them it knows, counts and would send exactly what a model of it does.
// More of it: go test ./store -run Model -rapid.checks 10000
// Its errors name no ids, so that a failure is found again while it is made small.
func TestJournalIsItsModel(t *testing.T) {
	dir := stewardtest.Folder(t)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		rapid.SyncTest(t, func(t *rapid.T) {
			j := &journal{path: path, senders: map[string]*sender{}}
			j.open(t)
			t.Cleanup(func() {
				if err := j.db.Close(); err != nil {
					t.Error(err)
				}
				if problems, err := store.Check(path); err != nil || len(problems) > 0 {
					t.Errorf("check: %q, %v", problems, err)
				}
				if err := os.Remove(path); err != nil {
					t.Error(err)
				}
			})
			j.model = newModel(j.db)
			t.Repeat(rapid.StateMachineActions(j))
		})
	})
}

const (
	inboxLimit = 6
	keepEnded  = 5
)

// journal is one, and its model. Each of its exported methods is a step.
type journal struct {
	path    string
	db      *store.DB
	model   *model
	senders map[string]*sender
	plain   []store.Item
	n       int
}

// sender is another node that sends to the journal.
type sender struct {
	epoch uuid.UUID
	old   uuid.UUID // of its life before
	seq   uint64
	sent  map[store.Lane][]store.Item
}

func (j *journal) open(t *rapid.T) {
	db, err := store.Open(j.path, store.Options{Node: "central", MinFree: 1, InboxLimit: inboxLimit, HistoryCount: keepEnded})
	if err != nil {
		t.Fatal(err)
	}
	j.db = db
}

func on(node string, kind subject.Kind, method string) subject.Subject {
	return subject.Subject{Prefix: subject.Prefix, Node: node, Kind: kind, Method: method}
}

var (
	jobs = on("ship1", subject.CommandACK, "Job")
	outs = []subject.Subject{
		jobs, jobs, on("ship2", subject.CommandACK, "Job"), on("ship1", subject.EventACK, "Note"), on("ship1", subject.CommandNACK, "Job"),
		on("ship1", subject.EventACK, message.MethodResult), on("ship2", subject.EventACK, message.MethodResult),
	}
	ins = []store.Lane{
		{From: "ship1", Subject: on("central", subject.CommandACK, "Job")}, {From: "ship2", Subject: on("central", subject.CommandACK, "Job")},
		{From: "ship1", Subject: on("central", subject.CommandNACK, "Job")},
	}
	results = store.Lane{From: "ship1", Subject: on("central", subject.EventACK, message.MethodResult)}
	peers   = []uuid.UUID{uuid.MustParse("00000000-0000-4000-8000-00000000000a"), uuid.MustParse("00000000-0000-4000-8000-00000000000b")}
)

// some draws a place in a list, or skips the step if it is empty.
func some[T any](t *rapid.T, list []T, what string) T {
	if len(list) == 0 {
		t.Skip("no " + what)
	}
	return rapid.SampledFrom(list).Draw(t, what)
}

func (j *journal) subject(t *rapid.T) (subject.Subject, *outRoad) {
	s := rapid.SampledFrom(outs).Draw(t, "subject")
	return s, j.model.road(s)
}

// prefix draws how much of list a step is about.
func prefix(t *rapid.T, list []*letter) []*letter {
	if len(list) == 0 {
		t.Skip("nothing there")
	}
	return list[:rapid.IntRange(1, len(list)).Draw(t, "of them")]
}

func places(list []*letter) (places []message.Place) {
	for _, l := range list {
		places = append(places, l.place)
	}
	return places
}

// Accept takes a few messages over, or none because one of them cannot be.
func (j *journal) Accept(t *rapid.T) {
	var ms []*message.Message
	for range rapid.IntRange(1, 3).Draw(t, "messages") {
		s := rapid.SampledFrom(outs[:5]).Draw(t, "subject")
		j.n++
		m := &message.Message{ToNode: s.Node, Kind: s.Kind, Method: s.Method, Data: []string{fmt.Sprint(j.n)}}
		m.OnUnknown = rapid.SampledFrom([]message.OnUnknown{"", message.Rerun}).Draw(t, "onUnknown")
		m.Expires = time.Now().Add(rapid.SampledFrom([]time.Duration{time.Hour, 24 * time.Hour}).Draw(t, "life"))
		j.db.Fresh(m, time.Now())
		ms = append(ms, m)
	}
	note := store.Note{Key: "note", Value: []byte(fmt.Sprint(j.n))}
	if err := j.db.Accept(t.Context(), ms, false, note); err != nil {
		t.Fatal(err)
	}
	j.model.commit(func() {
		for _, m := range ms {
			j.model.accept(m)
		}
		j.model.note = string(note.Value)
	})
}

// Attempt sends what waits, as far as the journal knows, or does not after all.
func (j *journal) Attempt(t *rapid.T) {
	s, r := j.subject(t)
	nobody := rapid.Bool().Draw(t, "nobody listens")
	if !nobody {
		j.unlock(t, s, r)
	}
	list := prefix(t, r.next(message.Place{}, 4))
	out := j.next(t, s, list, len(list))
	if nobody {
		j.db.Unsent(s, out)
		j.db.Shut(s)
		r.shut()
	} else {
		r.attempted = highest(r.attempted, list[len(list)-1].place)
	}
}

// unlock opens a road on which something is to be sent.
func (j *journal) unlock(t *rapid.T, s subject.Subject, r *outRoad) {
	if r.shutAt == nil || !r.used {
		return
	}
	if _, err := j.db.Met(s, r.store); err != nil {
		t.Fatal(err)
	}
	j.model.flush()
	j.model.met(r, r.store)
}

// Stop shuts a road.
func (j *journal) Stop(t *rapid.T) {
	s, r := j.subject(t)
	if !r.used {
		t.Skip("nobody sends on it")
	}
	j.db.Shut(s)
	r.shut()
}

// next reads list, which waits.
func (j *journal) next(t *rapid.T, s subject.Subject, list []*letter, count int) store.Outgoing {
	out, err := j.db.Next(s, message.Place{}, count, 1<<20)
	if err != nil || !slices.EqualFunc(out.Entries, list, func(e store.Entry, l *letter) bool {
		return e.ID == l.id && e.Place == l.place && e.Void == l.void && len(e.Event) > 0
	}) {
		t.Fatalf("next of %s: %+v, want %d, %v", s, out.Entries, len(list), err)
	}
	return out
}

// Acks answers some of what waits.
func (j *journal) Acks(t *rapid.T) {
	s, r := j.subject(t)
	j.unlock(t, s, r)
	list := prefix(t, r.next(message.Place{}, 4))
	answers := make([]store.Answer, len(list))
	for i, l := range list {
		verdicts := []ack.Verdict{ack.Accepted, ack.Accepted, ack.Rejected, ack.Stale}
		void := l.void
		switch {
		case !s.Kind.Acked():
			verdicts = []ack.Verdict{ack.SentOut}
		case l.void && rapid.Bool().Draw(t, "to what was sent before"):
			void = false
		case l.void:
			verdicts = append(verdicts, ack.Voided, ack.Voided)
		}
		answers[i] = store.Answer{ID: l.id, Place: l.place, Void: void, Ack: ack.Ack{Verdict: rapid.SampledFrom(verdicts).Draw(t, "verdict")}}
	}
	j.next(t, s, list, len(list))
	patient := rapid.Bool().Draw(t, "patient")
	if err := j.db.Acked(s, answers, patient, nil); err != nil {
		t.Fatal(err)
	}
	r.attempted = highest(r.attempted, list[len(list)-1].place)
	j.model.later = append(j.model.later, func() {
		for i, l := range list {
			j.model.answered(l, answers[i].Ack.Verdict, answers[i].Void, false)
		}
	})
	if !patient {
		j.model.flush()
	}
}

// Refuse ends a message that can never be sent.
func (j *journal) Refuse(t *rapid.T) {
	s, r := j.subject(t)
	l := prefix(t, r.next(message.Place{}, 1))[0]
	if _, err := j.db.Refuse(s, store.Entry{ID: l.id, Place: l.place}, "too big"); err != nil {
		t.Fatal(err)
	}
	j.model.flush()
	j.model.answered(l, ack.Rejected, l.void, true)
}

// Pass lets what waits for company find none.
func (j *journal) Pass(*rapid.T) {
	time.Sleep(time.Second)
	j.model.flush()
}

// GiveUp cancels messages, or ends those that are to be sent no more.
func (j *journal) GiveUp(t *rapid.T) {
	s, r := j.subject(t)
	l := some(t, r.queue, "message")
	outcome := rapid.SampledFrom([]ack.Outcome{ack.Cancelled, ack.Expired, ack.Undelivered}).Draw(t, "outcome")
	if _, err := j.db.GiveUp(s, []message.Place{l.place}, outcome, "for the test", func(message.Place) int { return 0 }); err != nil {
		t.Fatal(err)
	}
	j.model.commit(func() { j.model.giveUp(l, outcome) })
}

// Meet finds another journal at the other end, or the same.
func (j *journal) Meet(t *rapid.T) {
	s, r := j.subject(t)
	if !r.used {
		t.Skip("a publisher with nothing to send asks nobody")
	}
	id := rapid.SampledFrom(peers).Draw(t, "peer")
	if _, err := j.db.Met(s, id); err != nil {
		t.Fatal(err)
	}
	j.model.flush() // what was answered before was answered by the one before
	j.model.met(r, id)
}

// Lose ends commands of which the receiver has no trace.
func (j *journal) Lose(t *rapid.T) {
	s, r := j.subject(t)
	list := prefix(t, r.awaiting())
	if _, err := j.db.Lost(s, places(list), "gone"); err != nil {
		t.Fatal(err)
	}
	j.model.commit(func() {
		for _, l := range list {
			l.end(ack.Unknown)
		}
	})
}

// Prune forgets all that ended, or what is too much.
func (j *journal) Prune(t *rapid.T) {
	all, at := rapid.Bool().Draw(t, "all"), time.Now()
	if all {
		at, j.plain = at.AddDate(100, 0, 0), nil
	}
	if more, err := j.db.Prune(at); err != nil || more {
		t.Fatal(more, err)
	}
	j.model.commit(func() { j.model.prune(all, keepEnded) })
}

// Reopen closes the journal and opens it.
func (j *journal) Reopen(t *rapid.T) {
	if err := j.db.Close(); err != nil {
		t.Fatal(err)
	}
	j.open(t)
	j.model.flush()
	if e := j.db.Epoch(); e.String() <= j.model.epoch.String() || j.db.ID() != j.model.store || j.db.Copied() {
		t.Fatalf("opening %s of %s after %s of %s", e, j.db.ID(), j.model.epoch, j.model.store)
	}
	j.model.epoch = j.db.Epoch()
	for _, r := range j.model.roads {
		r.reopened(j.model.epoch)
	}
}
