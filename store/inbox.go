package store

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Refusal is why a receiver did not look into a batch at all.
type Refusal string

const (
	RefusedStore  Refusal = "store"  // the batch is for another journal than the one that answers
	RefusedFenced Refusal = "fenced" // a later opening of the sender's journal was met: this one is an old copy, or a twin
)

// Item is a message of a batch, with what was decided about it before: a Verdict
// of "" lets the store decide.
type Item struct {
	message.Decoded
	Event []byte
	Ack   ack.Ack   // Rejected with a reason: by policy, method or form
	Done  *Finished // it was handled already; that counts if nothing waits before it
}

// Batch is a request as it came.
type Batch struct {
	Subject subject.Subject
	From    string        // sender
	For     uuid.UUID     // receiver store that it is for
	Epoch   uuid.UUID     // of the sender's present opening
	Settled message.Place // the sender holds all acks up to here
	Items   []Item
}

// Reply answers a batch: a refusal, or one ack for each item from the first on.
type Reply struct {
	Store   uuid.UUID // who answers
	Refused Refusal
	Fence   uuid.UUID // with RefusedFenced: the epoch that was met
	Lost    bool      // the mark was below Settled: this journal lost history, and has adopted it
	Acks    []ack.Ack
}

// Received is what a transaction of Receive brought.
type Received struct {
	Replies []Reply
	Lanes   map[string]Lane // lanes with something new to handle, by their key
	Settled []Settled       // own commands whose result came
	Done    []*Finished     // items that ended with their acceptance; their replies are queued
	New     int             // messages accepted into the inbox
}

// Lane is the road from one sender to one subject of this node.
type Lane struct {
	From    string
	Subject subject.Subject
}

// Key names the lane in the journal.
func (l Lane) Key() string { return l.From + " " + l.Subject.String() }

func parseLane(key string) (l Lane, err error) {
	from, s, ok := strings.Cut(key, " ")
	if !ok {
		return l, fmt.Errorf("%w: lane %q", ErrCorrupt, key)
	}
	l.From = from
	l.Subject, err = subject.Parse(s)
	return l, err
}

// Receive decides on batches, in order. What it accepts is in the inbox, with
// the lane's mark and the acks, in one transaction: a repeat gets the same word
// again, and nothing below the mark is ever accepted. Results are settled in the
// same transaction and have no entry in the inbox.
func (db *DB) Receive(batches ...Batch) (got Received, err error) {
	low := db.space.Low()
	for _, b := range batches {
		for _, item := range b.Items {
			if item.Done != nil {
				if err := item.Done.encode(db); err != nil {
					return got, err
				}
			}
		}
	}
	var t tally
	var taken map[string]int
	failpoint.Hit(failpoint.Receiving)
	err = db.w.do(func(tx *bolt.Tx) error {
		got, t, taken = Received{Lanes: map[string]Lane{}}, tally{}, map[string]int{}
		for _, b := range batches {
			r := receiver{db: db, tx: tx, b: b, got: &got, t: &t, taken: taken, low: low, now: time.Now()}
			reply, err := r.receive()
			if err != nil {
				return err
			}
			got.Replies = append(got.Replies, reply)
		}
		return nil
	}, func() {
		failpoint.Hit(failpoint.Received)
		db.mu.Lock()
		db.subtract(t)
		for key, n := range taken {
			db.addInbox(key, n)
		}
		db.ended += len(got.Done)
		db.mu.Unlock()
		for _, f := range got.Done {
			db.countNew(f.out)
		}
		db.changed(t.ids)
	})
	got.Settled = t.ended
	return got, err
}

func (db *DB) addInbox(key string, n int) {
	db.inbox += n
	if db.inboxes[key] += n; db.inboxes[key] <= 0 {
		delete(db.inboxes, key)
	}
}

// receiver decides on one batch inside a transaction.
type receiver struct {
	db    *DB
	tx    *bolt.Tx
	b     Batch
	got   *Received
	t     *tally
	taken map[string]int
	low   bool
	now   time.Time

	key   []byte
	lane  lane
	inbox *bolt.Bucket
	queue queueState
}

// queueState is what is known of a lane's inbox inside a transaction.
type queueState byte

const (
	queueUnknown queueState = iota
	queueEmpty
	queueFilled
)

func (r *receiver) receive() (reply Reply, err error) {
	reply.Store = r.db.id
	unacked := !r.b.Subject.Kind.Acked() // nobody waits for an answer that would tell the store
	if r.b.For != r.db.id && !(unacked && r.b.For == uuid.Nil) {
		reply.Refused = RefusedStore
		return reply, nil
	}
	if reply.Fence, err = r.fence(); err != nil || reply.Fence != uuid.Nil {
		reply.Refused = RefusedFenced
		return reply, err
	}
	r.key = []byte(Lane{r.b.From, r.b.Subject}.Key())
	if v := r.tx.Bucket(bucketLanes).Get(r.key); v != nil {
		if r.lane, err = decodeLane(r.key, v); err != nil {
			return reply, err
		}
	}
	if r.lane.mark.Compare(r.b.Settled) < 0 && r.b.Subject.Kind.Acked() {
		reply.Lost = !r.lane.mark.IsZero() || !r.b.Settled.IsZero()
		r.lane = lane{mark: r.b.Settled}
	}
	for len(r.lane.runs) > 0 && r.lane.runs[0].to.Compare(r.b.Settled) <= 0 {
		r.lane.runs = r.lane.runs[1:]
	}
	for _, item := range r.b.Items {
		a, err := r.decide(item)
		if err != nil {
			return reply, err
		}
		if a.Verdict == ack.Busy {
			reply.Acks = append(reply.Acks, a)
			break // order: nothing after it may be accepted
		}
		reply.Acks = append(reply.Acks, a)
	}
	return reply, r.tx.Bucket(bucketLanes).Put(r.key, r.lane.encode(r.key))
}

// fence keeps the newest epoch met of each sender, and returns it if the batch
// comes from an earlier one.
func (r *receiver) fence() (uuid.UUID, error) {
	fences, key := r.tx.Bucket(bucketFences), []byte(r.b.From)
	var met uuid.UUID
	if v := fences.Get(key); v != nil {
		b, err := unseal(bucketFences, key, v)
		if err != nil {
			return met, err
		}
		copy(met[:], b)
	}
	switch bytes.Compare(r.b.Epoch[:], met[:]) {
	case -1:
		return met, nil
	case 1:
		return uuid.Nil, fences.Put(key, seal(key, r.b.Epoch[:]))
	}
	return uuid.Nil, nil
}

func (r *receiver) decide(item Item) (ack.Ack, error) {
	if item.Place.Compare(r.lane.mark) <= 0 {
		return r.repeat(item)
	}
	a := item.Ack
	switch {
	case a.Verdict == ack.Rejected:
	case item.Void:
		a = ack.Ack{Verdict: ack.Voided}
	case item.Message.Method == message.MethodResult:
		var err error
		if a, err = r.settle(item); err != nil {
			return a, err
		}
	case r.low:
		return ack.Ack{Verdict: ack.Busy, Reason: "the receiver's disk is full"}, nil
	case r.db.inboxSize(r.taken) >= r.db.opts.InboxLimit:
		return ack.Ack{Verdict: ack.Busy, Reason: "the receiver's inbox is full"}, nil
	case item.Done != nil && r.nothingWaits():
		a = ack.Ack{Verdict: ack.Accepted}
		if err := r.finish(item); err != nil {
			return a, err
		}
	default:
		a = ack.Ack{Verdict: ack.Accepted}
		if err := r.take(item); err != nil {
			return a, err
		}
	}
	r.remember(item.Place, a)
	return a, nil
}

func (db *DB) inboxSize(taken map[string]int) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := db.inbox
	for _, k := range taken {
		n += k
	}
	return n
}

// remember advances the mark, and keeps the ack until the sender says that it
// holds it. Neighbours with the same ack share a run.
func (r *receiver) remember(p message.Place, a ack.Ack) {
	r.lane.mark = p
	if n := len(r.lane.runs); n > 0 && r.lane.runs[n-1].ack == a {
		r.lane.runs[n-1].to = p
		return
	}
	r.lane.runs = append(r.lane.runs, run{p, p, a})
}

// repeat answers what was decided before, with the word that was given then, or
// with what the journal says of the message, which may be more: that its end is
// known, or that it was taken out. A void may still change it: a message that
// nobody has begun to run is taken out, and never will be.
func (r *receiver) repeat(item Item) (ack.Ack, error) {
	a := ack.Ack{Verdict: ack.Stale}
	for _, run := range r.lane.runs {
		if run.from.Compare(item.Place) <= 0 && item.Place.Compare(run.to) <= 0 {
			a = run.ack
		}
	}
	accepted := ack.Ack{Verdict: ack.Accepted}
	id := r.db.localID(r.b.From, item.ID)
	st, found, err := getStatus(r.tx, id)
	if err != nil || found && st.outcome == ack.Cancelled {
		return ack.Ack{Verdict: ack.Voided}, err
	}
	if found && st.state == Ended {
		return accepted, nil
	}
	queue := r.tx.Bucket(bucketInbox).Bucket(r.key)
	if queue == nil {
		return a, nil
	}
	v := queue.Get(placeKey(item.Place))
	if v == nil {
		return a, nil
	}
	p, err := decodePending(placeKey(item.Place), v)
	if err != nil || !p.started.IsZero() || !item.Void {
		return accepted, err
	}
	r.taken[string(r.key)]--
	r.t.records++
	st = status{state: Ended, outcome: ack.Cancelled, delivered: p.received, ended: r.now, reason: "given up by its sender"}
	if err := putStatus(r.tx, id, st); err != nil {
		return a, err
	}
	return ack.Ack{Verdict: ack.Voided}, queue.Delete(placeKey(item.Place))
}

func (r *receiver) take(item Item) error {
	if err := r.keep(item); err != nil {
		return err
	}
	if r.inbox == nil {
		var err error
		if r.inbox, err = r.tx.Bucket(bucketInbox).CreateBucketIfNotExists(r.key); err != nil {
			return err
		}
		r.inbox.FillPercent = 0.9
	}
	r.queue = queueFilled
	r.taken[string(r.key)]++
	r.got.New++
	r.got.Lanes[string(r.key)] = Lane{r.b.From, r.b.Subject}
	key := placeKey(item.Place)
	return r.inbox.Put(key, pending{id: r.db.localID(r.b.From, item.ID), received: r.now}.encode(key))
}

// nothingWaits: a message that ends at once must not overtake another.
func (r *receiver) nothingWaits() bool {
	if r.queue == queueUnknown {
		r.queue = queueEmpty
		if queue := r.tx.Bucket(bucketInbox).Bucket(r.key); queue != nil {
			if k, _ := queue.Cursor().First(); k != nil {
				r.queue = queueFilled
			}
		}
	}
	return r.queue == queueEmpty
}

// finish accepts and ends a message in one step.
func (r *receiver) finish(item Item) error {
	if err := r.keep(item); err != nil {
		return err
	}
	r.got.New++
	r.got.Done = append(r.got.Done, item.Done)
	return r.db.finished(r.tx, r.db.localID(r.b.From, item.ID), *item.Done, r.now)
}

func (r *receiver) keep(item Item) error {
	id := r.db.localID(r.b.From, item.ID)
	return r.tx.Bucket(bucketMessages).Put(id[:], body{
		incoming: true, place: item.Place, subject: r.b.Subject.String(), event: item.Event,
	}.encode(id[:]))
}

// localID is the id under which a message is kept as received: its own, but for
// what a node sends to itself, which it has under its own id as sent. It is then
// of version 8, in which the bits are ours.
func (db *DB) localID(from string, id uuid.UUID) uuid.UUID {
	if from == db.opts.Node {
		id[6] = id[6]&0x0f | 0x80
	}
	return id
}

// isLocal reports whether k is the received half of a message to oneself.
func isLocal(k []byte) bool { return len(k) == 16 && k[6]>>4 == 8 }

// settle ends the command that a Result answers. A result for a command that is
// not known here is kept as an orphan; it is never refused, since nobody could
// say it again.
func (r *receiver) settle(item Item) (ack.Ack, error) {
	accepted := ack.Ack{Verdict: ack.Accepted}
	failpoint.Hit(failpoint.Settling)
	if item.Message.Result == nil || item.Message.CausationID == uuid.Nil {
		return ack.Ack{Verdict: ack.Rejected, Reason: "a Result has a result and names its message in causationid"}, nil
	}
	cause := item.Message.CausationID
	v := r.tx.Bucket(bucketMessages).Get(cause[:])
	if v == nil {
		return accepted, r.keep(item)
	}
	b, err := decodeBody(cause[:], v)
	if err != nil {
		return accepted, err
	}
	to, err := subject.Parse(b.subject)
	if err != nil || b.incoming || to.Node != r.b.From {
		return ack.Ack{Verdict: ack.Rejected, Reason: "the message that this answers did not go from here to " + r.b.From}, err
	}
	st, _, err := getStatus(r.tx, cause)
	if err != nil || st.final() && st.result != uuid.Nil {
		return accepted, err
	}
	res := item.Message.Result
	if st.said, err = item.ResultJSON(); err != nil {
		return accepted, err
	}
	st.result, st.started, st.finished = item.ID, res.StartedAt, res.EndedAt
	st.attempts = max(st.attempts, 1)
	st.delivered = orTime(st.delivered, orTime(res.ReceivedAt, r.now))
	if st.final() || !to.Kind.Command() {
		r.t.changed(cause, b.byFile, st, res)
		return accepted, putStatus(r.tx, cause, st) // an event's reply changes no outcome
	}
	st.state, st.outcome, st.ended, st.reason = Ended, res.Outcome, r.now, res.Error
	if !res.Outcome.Valid() {
		st.outcome, st.reason = ack.Unknown, "the receiver reports the outcome "+string(res.Outcome)
	}
	if err := putStatus(r.tx, cause, st); err != nil {
		return accepted, err
	}
	r.t.changed(cause, b.byFile, st, res)
	r.t.ended = append(r.t.ended, Settled{cause, b.subject, st.outcome, st.reason})
	return accepted, r.leaveOutbox(b, cause)
}

func (r *receiver) leaveOutbox(b body, id uuid.UUID) error {
	queue := r.tx.Bucket(bucketOutbox).Bucket([]byte(b.subject))
	if queue == nil {
		return nil
	}
	at, key := queue.Cursor(), placeKey(b.place)
	k, v := at.Seek(key)
	if !bytes.Equal(k, key) {
		return nil
	}
	sl, err := decodeSlot(key, v)
	if err != nil || sl.id != id {
		return err
	}
	r.t.gone = append(r.t.gone, goneEntry{b.subject, b.place, sl})
	r.t.records++
	return at.Delete()
}

// Plain takes a CloudEvent of a client that is no steward. It has no place, so
// its repeats are known by its source and id, until its lifetime ends.
func (db *DB) Plain(s subject.Subject, item Item) (a ack.Ack, l Lane, err error) {
	l = Lane{From: item.From, Subject: s}
	low, key := db.space.Low(), l.Key()
	fresh := false
	err = db.w.do(func(tx *bolt.Tx) error {
		fresh = false
		plain := tx.Bucket(bucketPlain)
		if a = item.Ack; a.Verdict == ack.Rejected {
			return nil
		}
		a = ack.Ack{Verdict: ack.Accepted}
		if plain.Get(item.ID[:]) != nil {
			return nil
		}
		if low || db.inboxSize(nil) >= db.opts.InboxLimit {
			a = ack.Ack{Verdict: ack.Busy, Reason: "the receiver has no room"}
			return nil
		}
		seq, err := plain.NextSequence()
		if err != nil {
			return err
		}
		item.Place = message.Place{Epoch: db.epoch, Seq: seq}
		end := item.Message.Expires
		if end.IsZero() {
			end = time.Now().Add(message.DefaultLife)
		}
		if err := plain.Put(item.ID[:], seal(item.ID[:], fmt.Appendf(nil, "%d", end.UnixNano()))); err != nil {
			return err
		}
		event, err := item.Message.Encode(db.opts.Prefix)
		if err != nil {
			return err
		}
		r := receiver{db: db, tx: tx, b: Batch{Subject: s, From: item.From}, key: []byte(key), now: time.Now(),
			got: &Received{Lanes: map[string]Lane{}}, taken: map[string]int{}}
		item.Event, fresh = event, true
		return r.take(item)
	}, func() {
		if fresh {
			db.mu.Lock()
			db.addInbox(key, 1)
			db.mu.Unlock()
		}
	})
	return a, l, err
}

// Work is a message of an inbox.
type Work struct {
	ID       uuid.UUID
	Place    message.Place
	Message  *message.Message
	Received time.Time
	Started  time.Time // not zero: an earlier life of this node may have begun to run it
	Runs     int       // that were begun; 0 if the journal is a copy, and only the original can know
	Err      error     // it cannot be read; Message is nil
}

// Inbox reads the oldest messages of lane l beyond after, in order.
func (db *DB) Inbox(l Lane, after message.Place, limit int) (work []Work, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		queue := tx.Bucket(bucketInbox).Bucket([]byte(l.Key()))
		if queue == nil {
			return nil
		}
		bodies, c := tx.Bucket(bucketMessages), queue.Cursor()
		k, v := c.Seek(placeKey(after))
		if k != nil && !after.IsZero() && readPlace(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(work) < limit; k, v = c.Next() {
			p, err := decodePending(k, v)
			if err != nil {
				return err
			}
			w := Work{ID: p.id, Place: readPlace(k), Received: p.received, Started: p.started, Runs: int(p.runs)}
			b, err := decodeBody(p.id[:], bodies.Get(p.id[:]))
			if err == nil {
				w.Message, err = message.DecodeStored(b.event)
			}
			w.Err = err
			work = append(work, w)
		}
		return nil
	})
	return work, err
}

// Lanes lists the lanes with something in their inbox.
func (db *DB) Lanes() (lanes []Lane) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for key := range db.inboxes {
		if l, err := parseLane(key); err == nil {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// Started commits that runs of the messages at places begin: from here on a
// crash leaves their outcome unknown. It returns those that were taken out of
// the inbox meanwhile, which must not be run.
func (db *DB) Started(l Lane, places ...message.Place) (gone []message.Place, err error) {
	failpoint.Hit(failpoint.Starting)
	err = db.w.do(func(tx *bolt.Tx) error {
		gone = nil
		queue := tx.Bucket(bucketInbox).Bucket([]byte(l.Key()))
		for _, at := range places {
			key := placeKey(at)
			var v []byte
			if queue != nil {
				v = queue.Get(key)
			}
			if v == nil {
				gone = append(gone, at)
				continue
			}
			p, err := decodePending(key, v)
			if err != nil {
				return err
			}
			p.started, p.runs = time.Now(), min(p.runs, 254)+1
			if err := queue.Put(key, p.encode(key)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	return gone, err
}

// Finished is a message that was handled, and what goes out because of it.
type Finished struct {
	Work    Work
	Result  message.Result
	Replies []*message.Message // results and replies, Fresh

	out []outgoing // of the replies
}

// Finish takes messages out of the inbox of l, queues their replies and keeps
// notes, in one transaction: the custody passes from the inbox to the outbox.
// What was taken out meanwhile is left out, with its replies.
func (db *DB) Finish(l Lane, done []Finished, notes ...Note) error {
	for i := range done {
		if err := done[i].encode(db); err != nil {
			return err
		}
	}
	var sent []outgoing
	removed := 0
	failpoint.Hit(failpoint.Finishing)
	return db.w.do(func(tx *bolt.Tx) error {
		sent, removed = nil, 0
		queue := tx.Bucket(bucketInbox).Bucket([]byte(l.Key()))
		now := time.Now()
		for _, f := range done {
			key := placeKey(f.Work.Place)
			if queue == nil || queue.Get(key) == nil {
				continue
			}
			if err := queue.Delete(key); err != nil {
				return err
			}
			if err := db.finished(tx, f.Work.ID, f, now); err != nil {
				return err
			}
			removed++
			sent = append(sent, f.out...)
		}
		return putNotes(tx, notes)
	}, func() {
		failpoint.Hit(failpoint.Finished)
		db.mu.Lock()
		db.addInbox(l.Key(), -removed)
		db.ended += removed
		db.mu.Unlock()
		db.countNew(sent)
	})
}

// encode makes the records of f's replies; their places come later.
func (f *Finished) encode(db *DB) (err error) {
	f.out, err = db.encode(f.Replies, false)
	return err
}

// finished records how the message kept as id ended, and queues its replies.
func (db *DB) finished(tx *bolt.Tx, id uuid.UUID, f Finished, now time.Time) error {
	st := status{
		state: Ended, outcome: f.Result.Outcome, reason: f.Result.Error, delivered: f.Work.Received,
		started: f.Result.StartedAt, finished: f.Result.EndedAt, ended: now,
	}
	for _, m := range f.Replies {
		if m.Method == message.MethodResult {
			st.result = m.ID
		}
	}
	if err := db.putOut(tx, f.out); err != nil {
		return err
	}
	return putStatus(tx, id, st)
}

// Trace is what a receiver tells of a command that it is asked about.
type Trace string

const (
	TraceWaiting   Trace = "waiting"   // in the inbox
	TraceStarted   Trace = "started"   // a handler has it
	TraceAnswered  Trace = "answered"  // its result is on its way, or is sent again now
	TraceCancelled Trace = "cancelled" // taken out before it ran, as its sender wished
	TraceGone      Trace = "gone"      // no trace of it
)

// Ask tells how messages of l stand. A result that the sender must have lost,
// since it asks for a message whose result was delivered, is queued again.
func (db *DB) Ask(l Lane, ids []uuid.UUID) (traces []Trace, again []*message.Message, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		for _, id := range ids {
			t, m, err := db.ask(tx, l, id)
			if err != nil {
				return err
			}
			traces = append(traces, t)
			if m != nil {
				again = append(again, m)
			}
		}
		return nil
	})
	return traces, again, err
}

func (db *DB) ask(tx *bolt.Tx, l Lane, id uuid.UUID) (Trace, *message.Message, error) {
	id = db.localID(l.From, id)
	v := tx.Bucket(bucketMessages).Get(id[:])
	if v == nil {
		return TraceGone, nil, nil
	}
	b, err := decodeBody(id[:], v)
	if err != nil || !b.incoming || b.subject != l.Subject.String() {
		return TraceGone, nil, err
	}
	if queue := tx.Bucket(bucketInbox).Bucket([]byte(l.Key())); queue != nil {
		if v := queue.Get(placeKey(b.place)); v != nil {
			p, err := decodePending(placeKey(b.place), v)
			if err == nil && !p.started.IsZero() {
				return TraceStarted, nil, nil
			}
			return TraceWaiting, nil, err
		}
	}
	st, _, err := getStatus(tx, id)
	if err == nil && st.outcome == ack.Cancelled {
		return TraceCancelled, nil, nil
	}
	if err != nil || st.result == uuid.Nil {
		return TraceGone, nil, err
	}
	rv := tx.Bucket(bucketMessages).Get(st.result[:])
	if rv == nil {
		return TraceGone, nil, nil
	}
	rb, err := decodeBody(st.result[:], rv)
	if err != nil {
		return TraceGone, nil, err
	}
	if queue := tx.Bucket(bucketOutbox).Bucket([]byte(rb.subject)); queue != nil && queue.Get(placeKey(rb.place)) != nil {
		return TraceAnswered, nil, nil
	}
	m, err := message.DecodeStored(rb.event)
	return TraceAnswered, m, err
}
