package store

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Note is a value that another part of the node keeps in the same transaction
// as the messages that it goes with: how far a file was read, say. A nil Value
// deletes it.
type Note struct {
	Key   string
	Value []byte
}

// Accept promises to deliver ms, in this order, and keeps notes, all or nothing.
// When it returns nil, that survives a crash. Fresh must have been called on each
// message; Accept gives it its place. ErrFull: nothing was accepted, try later.
func (db *DB) Accept(_ context.Context, ms []*message.Message, byFile bool, notes ...Note) error {
	if len(ms) > 0 && db.space.Low() {
		return ErrFull
	}
	out, err := db.encode(ms, byFile)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.Accepting)
	return db.w.do(func(tx *bolt.Tx) error {
		if err := db.putOut(tx, out); err != nil {
			return err
		}
		return putNotes(tx, notes)
	}, func() {
		failpoint.Hit(failpoint.Accepted)
		db.countNew(out)
	})
}

// outgoing is a message that is to be accepted.
type outgoing struct {
	m       *message.Message
	subject string
	byFile  bool
	record  []byte // of its body; place and checksum come with the transaction
}

func (db *DB) encode(ms []*message.Message, byFile bool) ([]outgoing, error) {
	out, epoch := make([]outgoing, len(ms)), db.Epoch()
	for i, m := range ms {
		m.Place.Epoch = epoch
		name := m.Subject(db.opts.Prefix).String()
		record, err := m.Append(body{subject: name, byFile: byFile}.head(m.Size()), db.opts.Prefix)
		if err != nil {
			return nil, err
		}
		out[i] = outgoing{m, name, byFile, record}
	}
	return out, nil
}

// putOut assigns places, in order, and fills the outbox.
func (db *DB) putOut(tx *bolt.Tx, list []outgoing) error {
	bodies, out := tx.Bucket(bucketMessages), tx.Bucket(bucketOutbox)
	bodies.FillPercent = 0.9 // keys come in order
	for _, o := range list {
		seq, err := out.NextSequence()
		if err != nil {
			return err
		}
		m := o.m
		m.Place = message.Place{Epoch: db.epoch, Seq: seq}
		queue := out.Bucket([]byte(o.subject))
		if queue == nil {
			if queue, err = out.CreateBucket([]byte(o.subject)); err != nil {
				return err
			}
		}
		queue.FillPercent = 0.9
		id, key := m.ID, placeKey(m.Place)
		if err := bodies.Put(id[:], placed(o.record, id[:], m.Place)); err != nil {
			return err
		}
		if err := queue.Put(key, slotOf(m, o.byFile).encode(key)); err != nil {
			return err
		}
	}
	return nil
}

func slotOf(m *message.Message, byFile bool) slot {
	return slot{
		id: m.ID, rerun: m.OnUnknown == message.Rerun || m.Method == message.MethodResult, command: m.Kind.Command(), noAck: !m.Kind.Acked(),
		expires: m.Expires, ackTimeout: m.AckTimeout, retries: uint32(m.Retries), byFile: byFile,
	}
}

func (db *DB) countNew(list []outgoing) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, o := range list {
		db.stat(o.subject).waiting++
	}
	db.accepted += uint64(len(list))
}

// Entry is a message that waits in an outbox.
type Entry struct {
	ID         uuid.UUID
	Place      message.Place
	Void       bool // given up: what travels is a void in its place
	NoAck      bool
	Command    bool
	Expires    time.Time
	AckTimeout time.Duration // 0: the node's default
	Retries    int           // 0: the node's default
	Event      []byte        // as it goes over the wire
}

// Outgoing is what Next read: messages, and the payload that carries them.
type Outgoing struct {
	Entries     []Entry
	Payload     []byte
	ContentType string

	before message.Place // what counted as sent before it
}

// Next reads what is to be sent to subject s: voids of messages that were acked
// before, then a prefix of what has no ack, in order, up to count messages and
// size bytes (but at least one). Messages up to after have been answered, by acks
// whose commit may still be on its way.
//
// From the call on, what it reads counts as sent: whoever gives it up meanwhile
// learns that it may have arrived. Unsent takes that back. Only one goroutine may
// call both for a subject.
func (db *DB) Next(s subject.Subject, after message.Place, count, size int) (out Outgoing, err error) {
	name := s.String()
	db.mu.Lock()
	o := db.stat(name)
	acked := o.acked
	if after.Compare(acked) > 0 {
		acked = after
	}
	from := acked
	for p := range o.voids {
		if p.Compare(from) < 0 {
			from = p
		}
	}
	leaving := maps.Clone(o.leaving)
	out.before = o.attempted
	o.attempted = message.Place{Epoch: uuid.Max, Seq: math.MaxUint64} // what is read is not known yet
	db.mu.Unlock()
	defer func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		o.attempted = out.before
		if n := len(out.Entries); n > 0 && out.Entries[n-1].Place.Compare(out.before) > 0 {
			o.attempted = out.Entries[n-1].Place
		}
	}()
	err = db.view(func(tx *bolt.Tx) error {
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		var events [][]byte
		bodies, c := tx.Bucket(bucketMessages).Cursor(), queue.Cursor()
		for k, v := c.Seek(placeKey(from)); k != nil && len(events) < count; k, v = c.Next() {
			at := readPlace(k)
			sl, err := decodeSlot(k, v)
			if err != nil {
				return err
			}
			if leaving[at] || at.Compare(acked) <= 0 && !sl.void { // the latter waits for its result
				continue
			}
			event, err := db.eventAt(bodies, at, sl)
			if err != nil {
				return err
			}
			if size -= len(event) + 1; size < 0 && len(events) > 0 {
				break
			}
			events = append(events, event)
			out.Entries = append(out.Entries, Entry{
				ID: sl.id, Place: at, Void: sl.void, NoAck: sl.noAck, Command: sl.command,
				Expires: sl.expires, AckTimeout: sl.ackTimeout, Retries: int(sl.retries),
			})
		}
		out.Payload, out.ContentType = message.Join(events)
		for i := range events {
			out.Entries[i].Event = events[i]
		}
		return nil
	})
	return out, err
}

// eventAt is what travels for slot sl. It may lie in the transaction's pages.
func (db *DB) eventAt(bodies *bolt.Cursor, at message.Place, sl slot) ([]byte, error) {
	if sl.void {
		return message.EncodeVoid(db.opts.Prefix, sl.id, at, db.opts.Node), nil
	}
	k, v := bodies.Seek(sl.id[:]) // a cursor keeps its room, which Get would ask for each time
	if !bytes.Equal(k, sl.id[:]) {
		v = nil
	}
	b, err := decodeBody(sl.id[:], v)
	return b.event, err
}

// Unsent tells that out was certainly not received. It need not be durable: what
// an opening finds waiting counts as sent.
func (db *DB) Unsent(s subject.Subject, out Outgoing) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.stat(s.String()).attempted = out.before
}

// Subjects lists the subjects with something to send, and those that only wait
// for results.
func (db *DB) Subjects() (waiting, awaiting []subject.Subject) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for name, o := range db.out {
		s, err := subject.Parse(name)
		if err != nil {
			continue
		}
		if o.waiting+len(o.voids) > 0 {
			waiting = append(waiting, s)
		} else if o.awaiting > 0 {
			awaiting = append(awaiting, s)
		}
	}
	return waiting, awaiting
}

// Road is what the sender of a batch tells of itself.
type Road struct {
	Store   uuid.UUID     // receiver store that the batch is for; Nil: not met yet
	Settled message.Place // the sender holds all acks up to here, durably
}

// RoadOf is what a batch for s must say.
func (db *DB) RoadOf(s subject.Subject) Road {
	db.mu.Lock()
	defer db.mu.Unlock()
	o := db.stat(s.String())
	return Road{o.store, o.settled}
}

func (db *DB) mayHaveBeenSent(o *outStat, p message.Place) bool {
	return bytes.Compare(p.Epoch[:], db.first[:]) < 0 || p.Compare(o.attempted) <= 0
}

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
		db.changed(t.ids)
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

func (db *DB) changed(ids []Change) {
	if db.opts.Changed != nil && len(ids) > 0 {
		db.opts.Changed(ids)
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
		t.ended = append(t.ended, Settled{sl.id, s.String(), ack.Delivered, ""})
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
		st.outcome, st.reason = ack.RejectedEnd, a.Ack.Reason
	case ack.Voided:
		st.outcome = st.wanted
		if st.outcome == "" {
			st.outcome = ack.Cancelled
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
	t.ended = append(t.ended, Settled{g.slot.id, g.subject, st.outcome, st.reason})
	t.records++
	st.state, st.ended = Ended, now
	if err := putStatus(tx, g.slot.id, st); err != nil {
		return err
	}
	t.changed(g.slot.id, g.slot.byFile, st, nil)
	return queue.Delete(placeKey(g.place))
}

// GiveUp ends messages of s that their sender no longer wants delivered: as
// outcome where no attempt of them can have been accepted; else as unknown, and
// a void travels in their place, whose ack may still tell that it came in time.
// A cancelled one is not unknown yet: it waits for that ack. What has its ack
// already is left alone, unless it is to be cancelled. attempts says how often the
// message at a place was tried.
func (db *DB) GiveUp(s subject.Subject, places []message.Place, outcome ack.Outcome, reason string, attempts func(message.Place) int) ([]Settled, error) {
	name := s.String()
	var t tally
	failpoint.Hit(failpoint.GivingUp)
	err := db.w.do(func(tx *bolt.Tx) error {
		t = tally{}
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		r, err := getRoad(tx, name)
		if err != nil {
			return err
		}
		for _, p := range places {
			if err := db.giveUp(tx, queue, r, name, p, outcome, reason, attempts(p), &t); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		failpoint.Hit(failpoint.GivenUp)
		db.mu.Lock()
		db.subtract(t)
		db.mu.Unlock()
		db.changed(t.ids)
	})
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, p := range places {
		delete(db.stat(name).leaving, p)
	}
	return t.ended, err
}

func (db *DB) giveUp(tx *bolt.Tx, queue *bolt.Bucket, r road, name string, p message.Place, outcome ack.Outcome, reason string, attempts int, t *tally) error {
	key := placeKey(p)
	v := queue.Get(key)
	if v == nil {
		return nil
	}
	sl, err := decodeSlot(key, v)
	if err != nil || sl.void {
		return err
	}
	acked := p.Compare(r.acked) <= 0
	if acked && outcome != ack.Cancelled {
		return nil
	}
	st, _, err := getStatus(tx, sl.id)
	if err != nil {
		return err
	}
	st.attempts = max(st.attempts, uint64(attempts))
	now := time.Now()
	g := goneEntry{name, p, sl}
	db.mu.Lock()
	o := db.stat(name)
	sent := acked || db.mayHaveBeenSent(o, p)
	if !sent {
		o.leaving[p] = true
	}
	db.mu.Unlock()
	if !sent {
		st.outcome, st.reason = outcome, reason
		return db.end(tx, queue, g, st, now, t)
	}
	st.wanted = outcome
	if outcome == ack.Cancelled {
		st.state = Cancelling
	} else {
		st.state, st.outcome, st.ended = Ended, ack.Unknown, now
		st.reason = reason + ", but an attempt may have arrived; the receiver will be asked"
		t.ended = append(t.ended, Settled{sl.id, name, ack.Unknown, st.reason})
	}
	if err := putStatus(tx, sl.id, st); err != nil {
		return err
	}
	t.changed(sl.id, sl.byFile, st, nil)
	t.flag = append(t.flag, g)
	sl.void = true
	return queue.Put(key, sl.encode(key))
}

// Met keeps which receiver store answers on s. If it is another one than before,
// whatever may have been sent to the old one ends as unknown, since the new one
// cannot know of it; what asked for a rerun goes on, and so does what was never
// sent.
func (db *DB) Met(s subject.Subject, store uuid.UUID) ([]Settled, error) {
	name := s.String()
	var t tally
	var r road
	failpoint.Hit(failpoint.Meeting)
	err := db.w.inOrder(func(tx *bolt.Tx) error { // acks on their way are of the store before
		t = tally{}
		var err error
		if r, err = getRoad(tx, name); err != nil || r.store == store {
			return err
		}
		if queue := tx.Bucket(bucketOutbox).Bucket([]byte(name)); queue != nil && r.store != uuid.Nil {
			if r.acked, err = db.lostReceiver(tx, queue, name, r, &t); err != nil {
				return err
			}
		}
		r.store, r.settled = store, message.Place{}
		return tx.Bucket(bucketRoads).Put([]byte(name), r.encode([]byte(name)))
	}, func() {
		failpoint.Hit(failpoint.Met)
		db.mu.Lock()
		db.subtract(t)
		o := db.stat(name)
		o.store, o.settled = store, r.settled
		if r.acked != o.acked { // reruns go out once more
			o.acked = r.acked
			o.waiting, o.awaiting = o.waiting+o.awaiting, 0
		}
		db.mu.Unlock()
		db.changed(t.ids)
	})
	return t.ended, err
}

// lostReceiver returns the place up to which nothing is left to send.
func (db *DB) lostReceiver(tx *bolt.Tx, queue *bolt.Bucket, name string, r road, t *tally) (message.Place, error) {
	db.mu.Lock()
	attempted := *db.stat(name)
	db.mu.Unlock()
	type found struct {
		p  message.Place
		sl slot
	}
	var sent []found
	err := queue.ForEach(func(k, v []byte) error {
		sl, err := decodeSlot(k, v)
		if p := readPlace(k); err == nil && (p.Compare(r.acked) <= 0 || db.mayHaveBeenSent(&attempted, p)) {
			sent = append(sent, found{p, sl})
		}
		return err
	})
	if err != nil {
		return r.acked, err
	}
	acked, now := r.acked, time.Now()
	for _, f := range sent {
		st, found, err := getStatus(tx, f.sl.id)
		if err != nil {
			return acked, err
		}
		if f.sl.rerun && !f.sl.void {
			if f.p.Compare(acked) <= 0 {
				acked = before(f.p)
			}
			if found && st.state != Ended {
				st.state, st.delivered = Waiting, time.Time{}
				if err := putStatus(tx, f.sl.id, st); err != nil {
					return acked, err
				}
				t.changed(f.sl.id, f.sl.byFile, st, nil)
			}
			continue
		}
		st.outcome = ack.Unknown
		st.reason = "the receiver's journal was lost or replaced after an attempt to deliver this"
		if err := db.end(tx, queue, goneEntry{name, f.p, f.sl}, st, now, t); err != nil {
			return acked, err
		}
	}
	return acked, nil
}

func before(p message.Place) message.Place {
	if p.Seq > 0 {
		p.Seq--
	}
	return p
}

// Expired lists what waits on subjects beyond its lifetime, at most limit of it.
// It reads the whole outbox, a million entries in well under a second.
func (db *DB) Expired(now time.Time, limit int) (map[subject.Subject][]message.Place, error) {
	found, n := map[subject.Subject][]message.Place{}, 0
	err := db.view(func(tx *bolt.Tx) error {
		out := tx.Bucket(bucketOutbox)
		return out.ForEachBucket(func(name []byte) error {
			s, err := subject.Parse(string(name))
			if err != nil {
				return err
			}
			r, err := getRoad(tx, string(name))
			if err != nil {
				return err
			}
			c := out.Bucket(name).Cursor()
			for k, v := c.Seek(placeKey(r.acked)); k != nil && n < limit; k, v = c.Next() {
				sl, err := decodeSlot(k, v)
				if err != nil {
					return err
				}
				if p := readPlace(k); p.Compare(r.acked) > 0 && !sl.void && now.After(sl.expires) {
					found[s] = append(found[s], p)
					n++
				}
			}
			return nil
		})
	})
	return found, err
}

// Overdue is a command that was delivered and whose result has not come.
type Overdue struct {
	ID      uuid.UUID
	Place   message.Place
	Expires time.Time
}

// AwaitingResults lists the oldest commands of s that have their ack and no result.
func (db *DB) AwaitingResults(s subject.Subject, limit int) (list []Overdue, err error) {
	name := s.String()
	err = db.view(func(tx *bolt.Tx) error {
		r, err := getRoad(tx, name)
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if err != nil || queue == nil {
			return err
		}
		c := queue.Cursor()
		for k, v := c.First(); k != nil && len(list) < limit; k, v = c.Next() {
			p := readPlace(k)
			if p.Compare(r.acked) > 0 {
				return nil
			}
			sl, err := decodeSlot(k, v)
			if err != nil {
				return err
			}
			if !sl.void {
				list = append(list, Overdue{sl.id, p, sl.expires})
			}
		}
		return nil
	})
	return list, err
}

// Lost ends commands whose receiver, asked, has no trace of them, or whose
// result did not come in all its time.
func (db *DB) Lost(s subject.Subject, places []message.Place, reason string) ([]Settled, error) {
	name := s.String()
	var t tally
	err := db.w.do(func(tx *bolt.Tx) error {
		t = tally{}
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		for _, p := range places {
			v := queue.Get(placeKey(p))
			if v == nil {
				continue
			}
			sl, err := decodeSlot(placeKey(p), v)
			if err != nil {
				return err
			}
			st, _, err := getStatus(tx, sl.id)
			if err != nil {
				return err
			}
			st.outcome, st.reason = ack.Unknown, reason
			if err := db.end(tx, queue, goneEntry{name, p, sl}, st, time.Now(), &t); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		db.mu.Lock()
		db.subtract(t)
		db.mu.Unlock()
		db.changed(t.ids)
	})
	return t.ended, err
}

// Refuse ends a message as rejected by its own node: it can never be sent.
func (db *DB) Refuse(s subject.Subject, e Entry, reason string) ([]Settled, error) {
	var ended []Settled
	err := db.answers(s, []Answer{{ID: e.ID, Place: e.Place, Ack: ack.Ack{Verdict: ack.Rejected, Reason: reason}}}, false,
		func(list []Settled) { ended = list }, true)
	return ended, err
}

func getRoad(tx *bolt.Tx, name string) (road, error) {
	v := tx.Bucket(bucketRoads).Get([]byte(name))
	if v == nil {
		return road{}, nil
	}
	return decodeRoad([]byte(name), v)
}

func getStatus(tx *bolt.Tx, id uuid.UUID) (st status, found bool, err error) {
	v := tx.Bucket(bucketStates).Get(id[:])
	if v == nil {
		return st, false, nil
	}
	st, err = decodeStatus(id[:], v)
	return st, true, err
}

func putStatus(tx *bolt.Tx, id uuid.UUID, st status) error {
	b := tx.Bucket(bucketStates)
	b.FillPercent = 0.9
	return b.Put(id[:], st.encode(id[:]))
}

func orTime(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}
