package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Receive decides on batches of one or two senders.
func (j *journal) Receive(t *rapid.T) {
	var batches []store.Batch
	for range rapid.IntRange(1, 2).Draw(t, "batches") {
		l := rapid.SampledFrom(ins).Draw(t, "lane")
		batches = append(batches, j.batch(t, l, func(store.Lane) *message.Message {
			j.n++
			return &message.Message{Data: []string{fmt.Sprint(j.n)}}
		}))
	}
	j.receive(t, batches)
}

// Result brings results of own messages, which may be anything by now.
func (j *journal) Result(t *rapid.T) {
	var causes []uuid.UUID
	for id, l := range j.model.known {
		if l.road != nil && l.m.Method != message.MethodResult && l.m.Kind.Acked() {
			causes = append(causes, id)
		}
	}
	slices.SortFunc(causes, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	causes = append(causes, uuid.Max)
	j.receive(t, []store.Batch{j.batch(t, results, func(store.Lane) *message.Message {
		return &message.Message{
			CausationID: rapid.SampledFrom(causes).Draw(t, "cause"),
			Result:      &message.Result{Outcome: rapid.SampledFrom([]ack.Outcome{ack.Done, ack.Failed, ack.Expired}).Draw(t, "outcome")},
		}
	})})
}

func (j *journal) sender(name string) *sender {
	if j.senders[name] == nil {
		j.senders[name] = &sender{epoch: uuid.Must(uuid.NewV7()), sent: map[store.Lane][]store.Item{}}
	}
	return j.senders[name]
}

// batch is some of what l's sender sent before, and then what is new.
func (j *journal) batch(t *rapid.T, l store.Lane, fresh func(store.Lane) *message.Message) store.Batch {
	s := j.sender(l.From)
	b := store.Batch{Subject: l.Subject, From: l.From, For: j.db.ID(), Epoch: s.epoch}
	switch rapid.IntRange(0, 9).Draw(t, "sender") {
	case 0:
		b.For = peers[0]
	case 1:
		b.Epoch = s.old
	case 2: // it was restarted
		s.old, s.epoch, s.seq = s.epoch, uuid.Must(uuid.NewV7()), 0
		b.Epoch = s.epoch
	}
	if loss := j.model.lane(l).loss; rapid.Bool().Draw(t, "the loss was heard of") {
		b.Heard = loss
	}
	old, mark := s.sent[l], j.model.lane(l).mark
	undecided := 0
	for undecided < len(old) && atMost(old[undecided].Place, mark) {
		undecided++
	}
	from := rapid.IntRange(max(0, undecided-3), undecided).Draw(t, "repeats")
	settled := from
	if l.Subject.Kind.Acked() && rapid.IntRange(0, 9).Draw(t, "the journal lost its history") == 0 {
		from = rapid.IntRange(from, len(old)).Draw(t, "goes on at")
		settled = from
	} else if from > 0 {
		settled = rapid.IntRange(max(0, from-3), from).Draw(t, "settled")
	}
	if settled > 0 && l.Subject.Kind.Acked() {
		b.Settled = old[settled-1].Place
	}
	for _, item := range old[from:] {
		item.Void = rapid.IntRange(0, 2).Draw(t, "void") == 0
		b.Items = append(b.Items, item)
	}
	for range rapid.IntRange(0, 3).Draw(t, "new") {
		item := j.item(t, l, fresh(l))
		s.sent[l] = append(s.sent[l], item)
		b.Items = append(b.Items, item)
	}
	return b
}

// idOf is a UUIDv7 of at. The clock of uuid.NewV7 does not go back to a bubble's.
func idOf(at time.Time) uuid.UUID {
	id := uuid.Must(uuid.NewV7())
	copy(id[:6], binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())<<16))
	return id
}

func (j *journal) item(t *rapid.T, l store.Lane, m *message.Message) store.Item {
	s := j.senders[l.From]
	s.seq += uint64(rapid.IntRange(1, 2).Draw(t, "gap"))
	m.ToNode, m.Kind, m.Method, m.FromNode = l.Subject.Node, l.Subject.Kind, l.Subject.Method, l.From
	m.ID, m.Place, m.Time, m.Expires = idOf(time.Now()), message.Place{Epoch: s.epoch, Seq: s.seq}, time.Now(), time.Now().Add(time.Hour)
	event, err := m.Encode(subject.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	d, err := message.Decode(event, l.Subject)
	if err != nil {
		t.Fatal(err)
	}
	item := store.Item{Decoded: d, Event: event}
	switch rapid.IntRange(0, 7).Draw(t, "fate") {
	case 0:
		item.Ack = ack.Ack{Verdict: ack.Rejected, Reason: "not here"}
	case 1:
		item.Void = true
	case 2:
		if l.Subject.Kind == subject.CommandACK {
			f := j.finished(t, store.Work{ID: m.ID, Place: m.Place, Message: m})
			item.Done = &f
		}
	}
	return item
}

func (j *journal) receive(t *rapid.T, batches []store.Batch) {
	got, err := j.db.Receive(batches...)
	if err != nil {
		t.Fatal(err)
	}
	j.model.commit(func() {
		for i, b := range batches {
			want := j.model.receive(b, got.Replies[i], inboxLimit)
			for k := range got.Replies[i].Acks {
				got.Replies[i].Acks[k].Reason = ""
			}
			if g := got.Replies[i]; fmt.Sprint(g) != fmt.Sprint(want) {
				t.Fatalf("batch %d was answered\n%+v, want\n%+v", i, g, want)
			}
		}
	})
}

func (j *journal) finished(t *rapid.T, w store.Work) store.Finished {
	f := store.Finished{Work: w, Result: message.Result{Outcome: rapid.SampledFrom([]ack.Outcome{ack.Done, ack.Failed}).Draw(t, "outcome")}}
	if w.Message.Kind == subject.CommandACK {
		r := &message.Message{ToNode: w.Message.FromNode, Kind: subject.EventACK, Method: message.MethodResult, CausationID: w.ID, Result: &f.Result}
		j.db.Fresh(r, time.Now())
		f.Replies = append(f.Replies, r)
	}
	return f
}

// Start begins runs, of a message that was taken back meanwhile too.
func (j *journal) Start(t *rapid.T) {
	l := rapid.SampledFrom(ins).Draw(t, "lane")
	list := prefix(t, j.model.lane(l).queue)
	none := message.Place{Epoch: uuid.Max, Seq: 1}
	gone, err := j.db.Started(l, append(places(list), none)...)
	if err != nil || !slices.Equal(gone, []message.Place{none}) {
		t.Fatalf("gone %v, %v", gone, err)
	}
	j.model.commit(func() {
		for _, x := range list {
			x.state = store.Started
		}
	})
}

// Finish ends what stands in an inbox, in any order, and some of it twice.
func (j *journal) Finish(t *rapid.T) {
	l := rapid.SampledFrom(ins).Draw(t, "lane")
	x := some(t, j.model.lane(l).queue, "message")
	done := []store.Finished{j.finished(t, store.Work{ID: x.id, Place: x.place, Message: x.m})}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		if err := j.db.Finish(l, done); err != nil {
			t.Fatal(err)
		}
		j.model.commit(func() { j.model.finish(x, done[0]) })
	}
}

// Ask is a sender's question about what it sent once.
func (j *journal) Ask(t *rapid.T) {
	l := rapid.SampledFrom(ins).Draw(t, "lane")
	ids := []uuid.UUID{uuid.Max}
	for _, item := range j.sender(l.From).sent[rapid.SampledFrom(ins).Draw(t, "asked lane")] {
		ids = append(ids, item.ID)
	}
	got, again, err := j.db.Ask(l, ids)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, id := range ids {
		want, repeat := j.model.trace(l, id)
		if got[i] != want {
			t.Fatalf("message %s is %s, want %s", id, got[i], want)
		}
		if repeat {
			n++
		}
	}
	if len(again) != n {
		t.Fatalf("%d results go out again, want %d", len(again), n)
	}
	for _, m := range again {
		if left := time.Until(m.Expires); left < message.MaxLifetime-time.Minute {
			t.Fatalf("a result that is asked for lives for %s", left)
		}
	}
}

// Plain takes what a client that is no steward sent, and its repeats.
func (j *journal) Plain(t *rapid.T) {
	s := on("central", subject.EventACK, "Note")
	item := store.Item{Decoded: message.Decoded{ID: uuid.Must(uuid.NewV7()), From: "external", Plain: true}}
	item.Message = &message.Message{ID: item.ID, FromNode: "external", ToNode: s.Node, Kind: s.Kind, Method: s.Method, Time: time.Now()}
	repeat := len(j.plain) > 0 && rapid.Bool().Draw(t, "repeat")
	if repeat {
		item = rapid.SampledFrom(j.plain).Draw(t, "plain")
	}
	want := ack.Accepted
	if !repeat && j.model.counts().Inbox >= inboxLimit {
		want = ack.Busy
	}
	got, err := j.db.Plain(s, []store.Item{item})
	if err != nil || got.Replies[0].Acks[0].Verdict != want {
		t.Fatalf("%+v, %v; want %s", got, err, want)
	}
	j.model.commit(func() {
		if repeat || want == ack.Busy {
			return
		}
		j.plain = append(j.plain, item)
		l := store.Lane{From: "plain:external", Subject: s}
		work, err := j.db.Inbox(l, message.Place{}, inboxLimit)
		if err != nil || len(work) == 0 {
			t.Fatalf("inbox of %s: %v, %v", l.Key(), work, err)
		}
		item.Message = work[len(work)-1].Message // with the id that it got here
		x := &letter{id: item.Message.ID, state: store.StateTaken, lane: l, m: item.Message, queued: true}
		j.model.known[x.id], j.model.lane(l).queue = x, append(j.model.lane(l).queue, x)
	})
}
