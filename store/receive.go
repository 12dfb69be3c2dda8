package store

import (
	"bytes"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// maxRuns bounds what is remembered of a lane: it is many batches, of which a sender
// that can write to its disk leaves one or two unclaimed. maxSaid bounds their reasons.
const (
	maxRuns = 1 << 14
	maxSaid = 2 << 20
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
	Heard   uuid.UUID     // the Loss that the sender has heard of
	Items   []Item
}

// Reply answers a batch: a refusal, or one ack for each item from the first on.
type Reply struct {
	Store   uuid.UUID // who answers
	Refused Refusal
	Fence   uuid.UUID // with RefusedFenced: the epoch that was met
	Loss    uuid.UUID // a mark was below Settled: this journal lost history, and has adopted it; said until a batch says that it was heard
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
		db.changed(t)
	})
	got.Settled = t.ended
	return got, err
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

	key    []byte
	lane   lane
	inbox  *bolt.Bucket
	bodies *bolt.Cursor
	queue  queueState
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
	question := len(r.b.Items) == 0 // it changes nothing, whatever it claims
	if reply.Fence, err = r.fence(question); err != nil || reply.Fence != uuid.Nil {
		reply.Refused = RefusedFenced
		return reply, err
	}
	r.key = []byte(Lane{r.b.From, r.b.Subject}.Key())
	if v := r.tx.Bucket(bucketLanes).Get(r.key); v != nil {
		if r.lane, err = decodeLane(r.key, v); err != nil {
			return reply, err
		}
	}
	switch {
	case question:
		reply.Loss = r.lane.loss
		return reply, nil
	case unacked:
	case r.lane.mark.Compare(r.b.Settled) < 0:
		r.lane = lane{mark: r.b.Settled, loss: uuid.New()}
	case r.lane.loss == r.b.Heard:
		r.lane.loss = uuid.Nil
	}
	reply.Loss = r.lane.loss
	for len(r.lane.runs) > 0 && r.lane.runs[0].to.Compare(r.b.Settled) <= 0 {
		r.lane.forget()
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
func (r *receiver) fence(question bool) (uuid.UUID, error) {
	fences, key := r.tx.Bucket(bucketFences), []byte(r.b.From)
	var met uuid.UUID
	if v := fences.Get(key); v != nil {
		b, err := unseal(bucketFences, key, v)
		if err != nil {
			return met, err
		}
		copy(met[:], b)
	}
	if !Believed(met, r.now) { // it was kept before that was asked: nobody could outlive it
		met = uuid.Nil
	}
	switch c := bytes.Compare(r.b.Epoch[:], met[:]); {
	case c < 0:
		return met, nil
	case c > 0 && !question:
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
	case r.another(item):
		a = ack.Ack{Verdict: ack.Rejected, Reason: "its id is that of another message"}
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
	if a.Verdict == ack.Rejected { // now, and not before: to say it again is no news
		if err := r.db.refused(r.tx, r.t, r.b.Subject, item, a.Reason); err != nil {
			return a, err
		}
	}
	r.remember(item.Place, a)
	return a, nil
}

// another reports whether the journal holds something else under item's id. Nobody may
// overwrite that, or hear how it ended: an id is no secret, and anybody can send it.
func (r *receiver) another(item Item) bool {
	if r.bodies == nil {
		r.bodies = r.tx.Bucket(bucketMessages).Cursor() // it keeps its room, which Get would ask for each time
	}
	id := r.db.localID(r.b.From, item.ID)
	k, v := r.bodies.Seek(id[:])
	if !bytes.Equal(k, id[:]) {
		return false
	}
	b, err := decodeBody(id[:], v)
	if err == nil {
		_, err = b.receivedAs(Lane{r.b.From, r.b.Subject}, item.Place)
	}
	return err != nil // if it is damaged, what is left of it is not this one's to replace
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
// holds it. Neighbours with the same ack share a run; what lies between runs was
// not decided on. A sender that claims nothing makes the oldest be forgotten.
func (r *receiver) remember(p message.Place, a ack.Ack) {
	r.lane.mark = p
	n := len(r.lane.runs)
	switch {
	case !r.b.Subject.Kind.Acked(): // nobody will ask
	case n > 0 && r.lane.runs[n-1].takes(p, a):
		r.lane.runs[n-1].to = p
	default:
		r.lane.add(run{p, p, a})
	}
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
	if a.Verdict == ack.Rejected || r.another(item) {
		return a, nil
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
	if err != nil || !p.started.IsZero() || !item.Void || p.id != id {
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
		incoming: true, plain: item.Plain, place: item.Place, subject: r.b.Subject.String(), event: item.Event,
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
