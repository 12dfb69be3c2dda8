package store_test

import (
	"maps"
	"slices"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Check holds all that the journal tells to the model.
func (j *journal) Check(t *rapid.T) {
	synctest.Wait() // what went along with the last commit is counted a moment later
	if got, want := j.db.Counts(), j.model.counts(); got != want {
		t.Fatalf("counts %+v, want %+v", got, want)
	}
	if drift := j.db.Drift(); drift != "" {
		t.Fatal(drift)
	}
	note, err := j.db.Note("note")
	if err != nil || string(note) != j.model.note {
		t.Fatalf("note %q, want %q, %v", note, j.model.note, err)
	}
	j.checkRecords(t)
	waiting, perRoad := map[subject.Subject]bool{}, map[string]int{}
	for s, r := range j.model.roads {
		j.checkRoad(t, s, r)
		n := len(r.queue) - len(r.awaiting())
		if n > 0 {
			perRoad[s.String()] = n
		}
		if len(r.queue) > 0 {
			waiting[s] = n > 0
		}
	}
	if got := j.db.WaitingFor(); !maps.Equal(got, perRoad) {
		t.Fatalf("waiting for %v, want %v", got, perRoad)
	}
	got := map[subject.Subject]bool{}
	send, await := j.db.Subjects()
	for i, s := range append(send, await...) {
		got[s] = i < len(send)
	}
	if !maps.Equal(got, waiting) {
		t.Fatalf("subjects with something to send %v, want %v", got, waiting)
	}
	lanes := len(j.db.Lanes())
	for l, x := range j.model.lanes {
		work, err := j.db.Inbox(l, message.Place{}, 100)
		if err != nil || !slices.EqualFunc(work, x.queue, func(w store.Work, x *letter) bool {
			return w.ID == x.id && !w.Started.IsZero() == (x.state == store.Started) && w.Err == nil
		}) {
			t.Fatalf("inbox of %v: %d, want %d; %v", l, len(work), len(x.queue), err)
		}
		if len(x.queue) > 0 {
			lanes--
		}
	}
	if lanes != 0 {
		t.Fatalf("lanes %v", j.db.Lanes())
	}
}

func (j *journal) checkRecords(t *rapid.T) {
	list, err := j.db.Records(store.Filter{Limit: 10_000, Results: true})
	if err != nil {
		t.Fatal(err)
	}
	missing := maps.Clone(j.model.known)
	for _, r := range list {
		id := uuid.MustParse(r.ID)
		l := j.model.known[id]
		delete(missing, id)
		if l == nil || r.State != l.state || r.Outcome != l.outcome {
			t.Fatalf("a message is %s %s, want %v", r.State, r.Outcome, l)
		}
		if ended, err := j.db.HasEnded(id); err != nil || ended != (l.state == store.Ended) {
			t.Fatalf("%v, has ended: %t, %v", l, ended, err)
		}
	}
	if len(missing) > 0 {
		t.Fatalf("nothing is known of %v", slices.Collect(maps.Values(missing)))
	}
}

func (j *journal) checkRoad(t *rapid.T, s subject.Subject, r *outRoad) {
	if got, want := j.db.RoadOf(s), (store.Road{Store: r.store, Settled: r.settled}); got != want {
		t.Fatalf("road of %s: %+v, want %+v", s, got, want)
	}
	if list := r.next(message.Place{}, 3); len(list) > 0 {
		out := j.next(t, s, list, 3)
		if j.db.Unsent(s, out); out.Shut != (r.shutAt != nil) {
			t.Fatalf("road of %s is shut: %t", s, out.Shut)
		}
	} else if out, err := j.db.Next(s, message.Place{}, 3, 1<<20); err != nil || len(out.Entries) > 0 {
		t.Fatalf("next of %s: %+v, want nothing, %v", s, out.Entries, err)
	}
	overdue, err := j.db.AwaitingResults(s, 100)
	if err != nil || !slices.EqualFunc(overdue, r.awaiting(), func(o store.Overdue, l *letter) bool { return o.ID == l.id && o.Place == l.place }) {
		t.Fatalf("awaiting results on %s: %+v, want %d, %v", s, overdue, len(r.awaiting()), err)
	}
	found, err := j.db.Expired(time.Now().Add(2*time.Hour), 1000)
	var want []message.Place
	for _, l := range r.next(message.Place{}, 1000) {
		if !l.void && l.m.Expires.Before(time.Now().Add(2*time.Hour)) {
			want = append(want, l.place)
		}
	}
	if err != nil || !slices.Equal(found[s], want) {
		t.Fatalf("expired on %s: %v, want %v, %v", s, found[s], want, err)
	}
}
