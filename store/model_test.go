package store_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// model is what a journal promises, without disk, transactions and counters:
// every number is counted when it is asked for.
type model struct {
	epoch  uuid.UUID // of the present opening
	store  uuid.UUID // the journal's identity
	known  map[uuid.UUID]*letter
	roads  map[subject.Subject]*outRoad
	lanes  map[store.Lane]*inLane
	fences map[string]uuid.UUID
	note   string
	later  []func() // what waits for company
}

// letter is a message that the journal knows.
type letter struct {
	id      uuid.UUID
	place   message.Place
	state   store.State
	outcome ack.Outcome
	m       *message.Message
	queued  bool // in an outbox or an inbox
	counts  bool // as history: it ended with a record of how

	road   *outRoad // of an own one
	void   bool
	wanted ack.Outcome
	result bool // has come

	lane  store.Lane // of a received one
	reply *letter    // the result that went out
}

func (l *letter) GoString() string { return l.String() }

func (l *letter) String() string {
	return fmt.Sprintf("%s %v %s %s, void %t, queued %t", l.m.Subject("").String(), l.m.Data, l.state, l.outcome, l.void, l.queued)
}

type outRoad struct {
	queue                     []*letter
	acked, settled, attempted message.Place
	found                     message.Place // by this opening, and may have been sent
	shutAt                    *message.Place
	store                     uuid.UUID
	used                      bool
}

type inLane struct {
	queue []*letter
	mark  message.Place
	loss  uuid.UUID
	acks  map[message.Place]ack.Verdict
	told  map[message.Place]ack.Verdict // acks that the sender holds: they may be forgotten
}

func newModel(db *store.DB) *model {
	return &model{
		epoch: db.Epoch(), store: db.ID(), known: map[uuid.UUID]*letter{}, roads: map[subject.Subject]*outRoad{},
		lanes: map[store.Lane]*inLane{}, fences: map[string]uuid.UUID{},
	}
}

func (m *model) road(s subject.Subject) *outRoad {
	if m.roads[s] == nil {
		m.roads[s] = &outRoad{shutAt: &message.Place{}}
	}
	return m.roads[s]
}

func (m *model) lane(l store.Lane) *inLane {
	if m.lanes[l] == nil {
		m.lanes[l] = &inLane{acks: map[message.Place]ack.Verdict{}, told: map[message.Place]ack.Verdict{}}
	}
	return m.lanes[l]
}

// commit is a step that somebody waits for; what waits for company comes after it.
func (m *model) commit(step func()) {
	step()
	m.flush()
}

func (m *model) flush() {
	for _, f := range m.later {
		f()
	}
	m.later = nil
}

// accept puts an own message into its outbox.
func (m *model) accept(msg *message.Message) *letter {
	l := &letter{id: msg.ID, place: msg.Place, state: store.Waiting, m: msg, queued: true, road: m.road(msg.Subject(subject.Prefix))}
	l.road.queue, l.road.used = append(l.road.queue, l), true
	m.known[l.id] = l
	return l
}

func (l *letter) leave(queue *[]*letter) {
	*queue = slices.DeleteFunc(*queue, func(x *letter) bool { return x == l })
	l.queued = false
}

// end takes an own message out of its outbox.
func (l *letter) end(outcome ack.Outcome) {
	l.leave(&l.road.queue)
	l.state, l.outcome = store.Ended, outcome
	l.counts = l.m.Method != message.MethodResult || outcome != ack.Delivered || l.wanted != "" // a result that arrived is only gone
}

func atMost(p, q message.Place) bool { return p.Compare(q) <= 0 }

func highest(p, q message.Place) message.Place {
	if atMost(p, q) {
		return q
	}
	return p
}

// answered is one ack for an own message; local: this node says it.
func (m *model) answered(l *letter, v ack.Verdict, void, local bool) {
	l.road.acked = highest(l.road.acked, l.place)
	if !local {
		l.road.settled = highest(l.road.settled, l.place)
	}
	if !l.queued {
		return
	}
	switch v {
	case ack.Accepted:
		switch {
		case l.m.Kind != subject.CommandACK:
			l.end(ack.Delivered)
		case l.void && !void: // it answers what was sent before
		default:
			l.void = false
			if l.state != store.Ended {
				l.state = store.StateTaken
			}
		}
	case ack.Rejected:
		l.never(ack.RejectedEnd)
	case ack.Voided:
		l.end(l.wanted)
	case ack.SentOut:
		if l.void { // whether the message itself was sent, nobody knows
			l.end(ack.Unknown)
		} else {
			l.end(ack.Sent)
		}
	default:
		l.end(ack.Unknown)
	}
}

// maybeSent reports whether an attempt of l may have arrived somewhere.
func (m *model) maybeSent(l *letter) bool {
	return atMost(l.place, l.road.acked) || atMost(l.place, l.road.found) || atMost(l.place, l.road.attempted)
}

func (m *model) giveUp(l *letter, outcome ack.Outcome) {
	switch {
	case !l.queued, l.void, atMost(l.place, l.road.acked) && outcome != ack.Cancelled:
	case !m.maybeSent(l):
		l.end(outcome)
	default:
		if l.void = true; l.wanted != ack.Unknown {
			l.wanted = outcome
		}
		if l.state = store.Cancelling; outcome != ack.Cancelled {
			l.state, l.outcome = store.Ended, ack.Unknown
		}
	}
}

// never is an outcome that nobody can know of what may have run before.
func (l *letter) never(outcome ack.Outcome) {
	if l.wanted == ack.Unknown {
		outcome = ack.Unknown
	}
	l.end(outcome)
}

// met: what may have been sent to another journal is unknown, or goes out again.
func (m *model) met(r *outRoad, id uuid.UUID) {
	r.shutAt = nil
	if r.store == id {
		return
	}
	if r.store != uuid.Nil {
		for _, l := range slices.Clone(r.queue) {
			switch rerun := l.m.OnUnknown == message.Rerun || l.m.Method == message.MethodResult; {
			case !m.maybeSent(l):
			case !rerun || l.void:
				l.end(ack.Unknown)
			default:
				if l.m.Method != message.MethodResult || l.wanted != "" {
					l.wanted = ack.Unknown // it may have run there
				}
				if atMost(l.place, r.acked) {
					r.acked = l.place
					r.acked.Seq--
				}
			}
		}
		for _, l := range r.queue {
			if !atMost(l.place, r.acked) && !l.void && l.state != store.Ended {
				l.state = store.Waiting
			}
		}
	}
	r.store, r.settled = id, message.Place{}
}

// shut: what was never sent is known to the next opening too.
func (r *outRoad) shut() {
	if r.shutAt == nil {
		at := highest(r.found, r.attempted)
		r.shutAt = &at
	}
}

// reopened: of what is found on an open road anything may have been sent.
func (r *outRoad) reopened(epoch uuid.UUID) {
	r.attempted, r.found = message.Place{}, message.Place{Epoch: epoch}
	if r.shutAt != nil {
		r.found = *r.shutAt
	}
}

// next is what a publisher is to send, with at most count entries.
func (r *outRoad) next(after message.Place, count int) (list []*letter) {
	for _, l := range r.queue {
		if (l.void || !atMost(l.place, highest(after, r.acked))) && len(list) < count {
			list = append(list, l)
		}
	}
	return list
}

// awaiting is what was taken and has no result.
func (r *outRoad) awaiting() (list []*letter) {
	for _, l := range r.queue {
		if atMost(l.place, r.acked) && !l.void {
			list = append(list, l)
		}
	}
	return list
}

func (m *model) counts() (c store.Counts) {
	for _, r := range m.roads {
		n := len(r.awaiting())
		c.Awaiting += n
		for _, l := range r.queue {
			if l.void {
				c.Voids++
			} else {
				c.Waiting++
			}
		}
		c.Waiting -= n
	}
	for _, l := range m.lanes {
		c.Inbox += len(l.queue)
	}
	return c
}

// receive decides on a batch, which got was the answer to; limit is of the whole inbox.
func (m *model) receive(b store.Batch, got store.Reply, limit int) (want store.Reply) {
	want.Store = m.store
	if b.For != m.store && (b.Subject.Kind.Acked() || b.For != uuid.Nil) {
		want.Refused = store.RefusedStore
		return want
	}
	if met := m.fences[b.From]; bytes.Compare(b.Epoch[:], met[:]) < 0 {
		want.Refused, want.Fence = store.RefusedFenced, met
		return want
	}
	l := m.lane(store.Lane{From: b.From, Subject: b.Subject})
	if len(b.Items) == 0 { // a question changes nothing
		want.Loss = l.loss
		return want
	}
	m.fences[b.From] = b.Epoch
	if b.Heard == l.loss {
		l.loss = uuid.Nil
	}
	if !atMost(b.Settled, l.mark) {
		l.mark, l.loss = b.Settled, got.Loss // any that is new
		clear(l.acks)
		clear(l.told)
	}
	want.Loss = l.loss
	for p, v := range l.acks {
		if atMost(p, b.Settled) {
			l.told[p] = v
			delete(l.acks, p)
		}
	}
	for i, item := range b.Items {
		v := m.decide(l, b, item, limit)
		if told, ok := l.told[item.Place]; v == ack.Stale && ok && i < len(got.Acks) && got.Acks[i].Verdict == told {
			v = told
		}
		want.Acks = append(want.Acks, ack.Ack{Verdict: v})
		if v == ack.Busy {
			break
		}
	}
	return want
}

func (m *model) decide(l *inLane, b store.Batch, item store.Item, limit int) (v ack.Verdict) {
	if atMost(item.Place, l.mark) {
		return m.repeat(l, item)
	}
	switch {
	case item.Ack.Verdict == ack.Rejected:
		v = ack.Rejected
	case item.Void:
		v = ack.Voided
	case b.Subject.Method == message.MethodResult:
		v = m.settle(b, item)
	case m.counts().Inbox >= limit:
		return ack.Busy
	default:
		v = ack.Accepted
		x := &letter{id: item.ID, place: item.Place, state: store.StateTaken, lane: store.Lane{From: b.From, Subject: b.Subject}, m: item.Message, queued: true}
		l.queue = append(l.queue, x)
		m.known[x.id] = x
		if item.Done != nil && len(l.queue) == 1 {
			m.finish(x, *item.Done)
		}
	}
	if l.mark = item.Place; b.Subject.Kind.Acked() {
		l.acks[item.Place] = v
	}
	return v
}

func (m *model) repeat(l *inLane, item store.Item) ack.Verdict {
	x := m.known[item.ID]
	switch {
	case x == nil, x.m.Method == message.MethodResult:
	case x.outcome == ack.Cancelled:
		return ack.Voided
	case x.state == store.Ended, x.state == store.Started, !item.Void:
		return ack.Accepted
	default:
		x.leave(&l.queue)
		x.state, x.outcome, x.counts = store.Ended, ack.Cancelled, true
		return ack.Voided
	}
	if v, ok := l.acks[item.Place]; ok {
		return v
	}
	return ack.Stale
}

// settle is the result of an own message.
func (m *model) settle(b store.Batch, item store.Item) ack.Verdict {
	l := m.known[item.Message.CausationID]
	switch {
	case l == nil: // kept for whoever asks, and known as delivered
		m.known[item.ID] = &letter{id: item.ID, state: store.Ended, outcome: ack.Delivered, m: item.Message}
	case l.road == nil, l.m.ToNode != b.From:
		return ack.Rejected
	case l.state == store.Ended && l.outcome != ack.Unknown, !l.m.Kind.Command():
		l.result = true // an event's reply, or a result that came twice
	default:
		outcome := item.Message.Result.Outcome
		if outcome == ack.Expired && l.wanted == ack.Unknown {
			outcome = ack.Unknown
		}
		l.result = true
		if l.queued {
			l.end(outcome)
		}
		l.state, l.outcome = store.Ended, outcome
	}
	return ack.Accepted
}

// finish takes a received message out of the inbox.
func (m *model) finish(x *letter, f store.Finished) {
	if !x.queued {
		return
	}
	x.leave(&m.lane(x.lane).queue)
	x.state, x.outcome, x.counts = store.Ended, f.Result.Outcome, true
	for _, r := range f.Replies {
		x.reply = m.accept(r)
	}
}

// trace is what the sender of a message is told.
func (m *model) trace(l store.Lane, id uuid.UUID) (t store.Trace, again bool) {
	x := m.known[id]
	switch {
	case x == nil, x.road != nil, x.lane != l:
	case x.queued && x.state == store.Started:
		return store.TraceStarted, false
	case x.queued:
		return store.TraceWaiting, false
	case x.outcome == ack.Cancelled:
		return store.TraceCancelled, false
	case x.reply != nil && m.known[x.reply.id] != nil:
		return store.TraceAnswered, !x.reply.queued
	}
	return store.TraceGone, false
}

// prune forgets what ended: all of it, or the oldest until keep are left.
func (m *model) prune(all bool, keep int) {
	excess := -keep
	var ids []uuid.UUID
	for id, l := range m.known {
		ids = append(ids, id)
		if l.counts && !l.queued {
			excess++
		}
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		l := m.known[id]
		if !all && excess <= 0 {
			return
		}
		if l.queued {
			continue
		}
		delete(m.known, id)
		if l.counts {
			excess--
		}
	}
}
