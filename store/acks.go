package store

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Answer is a receiver's ack for an entry.
type Answer struct {
	ID       uuid.UUID
	Place    message.Place
	Ack      ack.Ack
	Void     bool // what it answers is a void
	Attempts int
	At       time.Time // when it came; now if zero
}

// Settled is a message that got its outcome in a transaction.
type Settled struct {
	ID      uuid.UUID
	Subject string
	Outcome ack.Outcome
	Reason  string
	Refined bool            // it had ended as unknown
	Result  *message.Result // of a command, where one came
}

// Acked keeps what the receiver answered, in the order of the batch. Events and
// refused messages end here; a command goes on until its result comes. patient
// says that the commit may wait for company; then nothing is returned and done
// (which may be nil) is called with what ended, on the writer's goroutine.
func (db *DB) Acked(s subject.Subject, answers []Answer, patient bool, done func([]Settled)) error {
	return db.answers(s, answers, patient, done, false)
}

// answers is Acked; local says that it is this node, not the receiver, that decided.
func (db *DB) answers(s subject.Subject, answers []Answer, patient bool, done func([]Settled), local bool) error {
	name := s.String()
	var t tally
	var r road
	run := func(tx *bolt.Tx) error {
		t = tally{}
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		var err error
		if r, err = getRoad(tx, name); err != nil {
			return err
		}
		for _, a := range answers {
			if err := db.answered(tx, queue, s, a, &t); err != nil {
				return err
			}
			if a.Place.Compare(r.acked) > 0 {
				r.acked = a.Place
			}
			if a.Place.Compare(r.settled) > 0 && !local {
				r.settled = a.Place
			}
		}
		return tx.Bucket(bucketRoads).Put([]byte(name), r.encode([]byte(name)))
	}
	then := func() {
		failpoint.Hit(failpoint.Acked)
		db.mu.Lock()
		db.advance(name, r, t)
		db.mu.Unlock()
		db.changed(t)
		if done != nil {
			done(t.ended)
		}
	}
	failpoint.Hit(failpoint.Acking)
	if patient {
		db.w.later(run, then)
		return nil
	}
	return db.w.inOrder(run, then)
}

// tally is what a transaction changed, for the numbers that live in memory.
type tally struct {
	gone    []goneEntry // entries that left an outbox
	kept    []goneEntry // entries that stay, now below the mark
	ended   []Settled
	ids     []Change
	flag    []goneEntry // entries that became voids
	records int         // messages that became history
	noticed bool        // something is to be told
}

func (t *tally) changed(id uuid.UUID, byFile bool, st status, result *message.Result) {
	st.said = nil // it may lie in the transaction's pages
	t.ids = append(t.ids, Change{ID: id, ByFile: byFile, status: st, result: result})
}

type goneEntry struct {
	subject string
	place   message.Place
	slot    slot
}

// advance applies a tally and a new mark to the numbers; mu is held.
func (db *DB) advance(name string, r road, t tally) {
	o := db.stat(name)
	db.subtract(t)
	for _, k := range t.kept {
		switch {
		case k.slot.void:
			delete(o.voids, k.place)
			o.awaiting++
		case k.place.Compare(o.acked) > 0:
			o.waiting--
			o.awaiting++
		}
	}
	if r.acked.Compare(o.acked) > 0 {
		o.acked = r.acked
	}
	if r.settled.Compare(o.settled) > 0 {
		o.settled = r.settled
	}
}

// subtract applies what left outboxes; mu is held.
func (db *DB) subtract(t tally) {
	for _, g := range t.gone {
		db.count(db.stat(g.subject), g.place, g.slot, -1)
	}
	for _, f := range t.flag {
		o := db.stat(f.subject)
		if f.place.Compare(o.acked) > 0 {
			o.waiting--
		} else {
			o.awaiting--
		}
		o.voids[f.place] = true
	}
	db.ended += t.records
}

func (db *DB) changed(t tally) {
	if db.opts.Changed != nil && len(t.ids) > 0 {
		db.opts.Changed(t.ids)
	}
	if db.opts.Noticed != nil && t.noticed {
		db.opts.Noticed()
	}
}

// answered decides what one ack means for the message at its place.
func (db *DB) answered(tx *bolt.Tx, queue *bolt.Bucket, s subject.Subject, a Answer, t *tally) error {
	at, key := queue.Cursor(), placeKey(a.Place)
	k, v := at.Seek(key)
	if !bytes.Equal(k, key) { // it ended already: its result was faster than its ack
		return noteAttempts(tx, a)
	}
	sl, err := decodeSlot(key, v)
	if err != nil {
		return err
	}
	if s.Method == message.MethodResult && a.Ack.Verdict == ack.Accepted && !sl.void { // that it left says that it was delivered
		t.gone = append(t.gone, goneEntry{s.String(), a.Place, sl})
		t.ended = append(t.ended, Settled{ID: sl.id, Subject: s.String(), Outcome: ack.Delivered})
		return at.Delete()
	}
	st, _, err := getStatus(tx, a.ID)
	if err != nil {
		return err
	}
	now := time.Now()
	st.attempts = max(st.attempts, uint64(a.Attempts))
	entry := goneEntry{s.String(), a.Place, sl}
	switch a.Ack.Verdict {
	case ack.Accepted:
		st.delivered = orTime(st.delivered, orTime(a.At, now))
		if sl.command && !sl.noAck {
			if sl.void && !a.Void { // given up while this ack was on its way: the void goes out still
				return putStatus(tx, a.ID, st)
			}
			if st.state != Ended {
				st.state = StateTaken
			}
			if sl.void { // too late to give it up: its own outcome will come
				sl.void = false
				if err := queue.Put(key, sl.encode(key)); err != nil {
					return err
				}
			}
			t.kept = append(t.kept, entry)
			t.changed(a.ID, sl.byFile, st, nil)
			return putStatus(tx, a.ID, st)
		}
		st.outcome, st.reason = ack.Delivered, ""
	case ack.Rejected:
		st.never(ack.RejectedEnd, a.Ack.Reason)
	case ack.Voided:
		if st.outcome = cmp.Or(st.wanted, ack.Cancelled); st.outcome == ack.Unknown {
			st.reason = "given up after the receiver's journal was lost or replaced: it may have run before that"
		}
	case ack.SentOut:
		if st.outcome = ack.Sent; sl.void { // that a void was sent says nothing of the message
			st.outcome, st.reason = ack.Unknown, cmp.Or(st.reason, "it was given up after an attempt, and nobody acknowledges this kind")
		}
	default: // stale, or a word of a later version
		st.outcome = ack.Unknown
		st.reason = "the receiver decided on a later message of this subject and does not remember this one: one of the two journals was restored or lost"
	}
	return db.end(tx, queue, entry, st, now, t)
}

// never is an outcome which says that the message never ran. Where it asks to be run
// again, and may have run before its receiver's journal was lost, the one that says
// so now cannot know.
func (s *status) never(o ack.Outcome, reason string) {
	if s.outcome, s.reason = o, reason; s.wanted == ack.Unknown {
		s.outcome, s.reason = ack.Unknown, fmt.Sprintf("it may have run before the receiver's journal was lost or replaced; then it was %s: %s", o, reason)
	}
}

// noteAttempts keeps how often a message that ended was sent, if more than once.
func noteAttempts(tx *bolt.Tx, a Answer) error {
	if a.Attempts < 2 {
		return nil
	}
	st, found, err := getStatus(tx, a.ID)
	if err != nil || !found || st.attempts >= uint64(a.Attempts) {
		return err
	}
	st.attempts = uint64(a.Attempts)
	return putStatus(tx, a.ID, st)
}

// end records an outcome and takes the message out of its outbox.
func (db *DB) end(tx *bolt.Tx, queue *bolt.Bucket, g goneEntry, st status, now time.Time, t *tally) error {
	t.gone = append(t.gone, g)
	t.records++
	if err := db.ends(tx, t, Settled{ID: g.slot.id, Subject: g.subject, Outcome: st.outcome, Reason: st.reason}, st.state == Ended, now); err != nil {
		return err
	}
	st.state, st.ended = Ended, now
	if err := putStatus(tx, g.slot.id, st); err != nil {
		return err
	}
	t.changed(g.slot.id, g.slot.byFile, st, nil)
	return queue.Delete(placeKey(g.place))
}

// Refuse ends a message as rejected by its own node: it can never be sent.
func (db *DB) Refuse(s subject.Subject, e Entry, reason string) ([]Settled, error) {
	var ended []Settled
	err := db.answers(s, []Answer{{ID: e.ID, Place: e.Place, Ack: ack.Ack{Verdict: ack.Rejected, Reason: reason}}}, false,
		func(list []Settled) { ended = list }, true)
	return ended, err
}
