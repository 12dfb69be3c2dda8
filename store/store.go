// Package store is the journal of a node: everything that it promised, in one
// bbolt file.
//
// The outbox holds what this node must deliver, the inbox what it was given to
// do, both in order, per subject. Each method that writes is one durable step of
// a message's road and returns after an fsync'ed commit; one goroutine folds
// the steps of all callers into one transaction (group commit). All methods may
// be called concurrently.
package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// The buckets. Keys are in time order wherever a backlog can grow: a random key
// costs four to eight times as much.
var (
	bucketMeta     = []byte("meta")     // name -> value
	bucketMessages = []byte("messages") // message id -> body
	bucketStates   = []byte("states")   // message id -> status
	bucketOutbox   = []byte("outbox")   // subject -> (place -> slot)
	bucketRoads    = []byte("roads")    // subject -> road
	bucketInbox    = []byte("inbox")    // lane -> (place -> pending)
	bucketLanes    = []byte("lanes")    // lane -> lane
	bucketFences   = []byte("fences")   // sender -> newest epoch met
	bucketPlain    = []byte("plain")    // source, id (as a UUID) and subject of a plain CloudEvent -> end of its lifetime
	bucketPeers    = []byte("peers")    // node -> Peer
	bucketNotes    = []byte("notes")    // key -> value of another part of the node
	bucketFailures = []byte("failures") // failure id -> what the error kernel made of it
)

var buckets = [][]byte{
	bucketMeta, bucketMessages, bucketStates, bucketOutbox, bucketRoads, bucketInbox, bucketLanes,
	bucketFences, bucketPlain, bucketPeers, bucketNotes, bucketFailures,
}

// Options of Open; the zero value of each field works.
type Options struct {
	Node         string        // name of the node; a journal belongs to one
	Prefix       string        // of its subjects; subject.Prefix if empty
	HistoryAge   time.Duration // ended messages are forgotten when older; 30 days if zero
	HistoryCount int           // and when there are more; 1,000,000 if zero
	InboxLimit   int           // messages that may wait to be run, over all senders; 100,000 if zero
	Traces       []string      // files and folders beside the journal that only a node with one leaves: without it they tell that it is lost
	MinFree      int64         // bytes of disk below which new work is refused; 64 MiB or 5% if zero
	Observe      func(ops int, took time.Duration)
	Changed      func([]Change) // own messages whose record changed, after the commit; must not block

	// Notify says which outcomes leave a Notice; nil: nothing does. Noticed is called
	// after a commit that left some; it must not block.
	Notify  func(ack.Outcome) bool
	Noticed func()
}

// Change is an own message whose record changed.
type Change struct {
	ID     uuid.UUID
	ByFile bool // its submitter wants results/<id>.json

	status status
	result *message.Result
}

// Ended reports whether the message has its outcome.
func (c Change) Ended() bool { return c.status.state == Ended }

// Record is the record of m, whose change c is, after it.
func (c Change) Record(m *message.Message) Record {
	r := c.status.record(m)
	r.Result = c.result
	return r
}

// DB is an open journal.
type DB struct {
	opts    Options
	bolt    *bolt.DB
	path    string
	w       *writer
	id      uuid.UUID // identity of the journal; written under mu, on the writer's goroutine
	epoch   uuid.UUID // of this opening; written like id
	first   uuid.UUID // that it began with
	opening uuid.UUID // this one's id, see opening
	copy    bool      // this opening found itself to be a copy
	space   *diskSpace

	mu       sync.Mutex
	out      map[string]*outStat
	inbox    int // messages waiting to be run
	inboxes  map[string]int
	ended    int // records of ended messages
	lastID   uuid.UUID
	gaveLast bool // lastID was given in this life
	accepted uint64

	pruneFrom []byte // id of the message at which the next Prune begins
	aheadFrom []byte // and of what has a foreign id
	plainFrom []byte // and of the plain event
}

// outStat is what the store remembers of a subject between transactions.
type outStat struct {
	acked     message.Place // durable
	settled   message.Place // of it, what the receiver store acked
	store     uuid.UUID     // receiver store that acked it
	attempted message.Place // highest place that may have been sent since Open; see Next
	found     message.Place // highest place that may have been sent before
	shut      bool          // the journal says so, or will with its next commit; see Shut
	waiting   int           // beyond acked
	awaiting  int           // acked, and their outcome still to come
	voids     map[message.Place]bool
	leaving   map[message.Place]bool // given up unsent; the commit is on its way, and Next passes over them
}

// ID is the identity of the journal: another one when the file was lost, or is a copy.
func (db *DB) ID() uuid.UUID {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.id
}

// Epoch is this opening's: above every earlier one of the journal. See Outlive.
func (db *DB) Epoch() uuid.UUID {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.epoch
}

// Copied reports whether this opening found the file at another place than the
// one it was made in: what waits in its inbox may have run elsewhere.
func (db *DB) Copied() bool { return db.copy }

// Path is where the file is.
func (db *DB) Path() string { return db.path }

// Fault is the error after which nothing more is written, or nil.
func (db *DB) Fault() error { return db.w.fault() }

// Broken is closed when there is a Fault.
func (db *DB) Broken() <-chan struct{} { return db.w.broken }

// Close commits what waits and releases the file.
func (db *DB) Close() error {
	db.w.close()
	if db.w.stuck {
		return db.Fault()
	}
	if db.Fault() == nil {
		listFree(db.bolt)
	}
	if err := db.bolt.Close(); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// listFree adds the list of free pages, which a journal in use does without. With it
// the next opening can tell of each page what it is for, and sees that one was
// left out. What fails here changes nothing else.
func listFree(b *bolt.DB) {
	b.NoFreelistSync = false
	_ = b.Update(func(*bolt.Tx) error { return nil })
}

// Counts is how much waits where.
type Counts struct {
	Waiting  int `json:"waiting"`         // own messages that no receiver has acknowledged
	Awaiting int `json:"awaitingResults"` // own commands that run, or whose result is on its way
	Voids    int `json:"voids"`           // own messages that were given up, and whose receiver has not said yet whether it has them
	Inbox    int `json:"inbox"`           // messages of others waiting to be handled here
}

// Counts is how much waits where, over all subjects.
func (db *DB) Counts() (c Counts) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, o := range db.out {
		c.Waiting += o.waiting
		c.Awaiting += o.awaiting
		c.Voids += len(o.voids)
	}
	c.Inbox = db.inbox
	return c
}

// WaitingFor counts unacknowledged messages by subject.
func (db *DB) WaitingFor() map[string]int {
	db.mu.Lock()
	defer db.mu.Unlock()
	m := map[string]int{}
	for s, o := range db.out {
		if n := o.waiting + len(o.voids); n > 0 {
			m[s] = n
		}
	}
	return m
}

func (db *DB) stat(subject string) *outStat {
	o := db.out[subject]
	if o == nil {
		o = &outStat{shut: true, voids: map[message.Place]bool{}, leaving: map[message.Place]bool{}}
		db.out[subject] = o
	}
	return o
}

// newID gives ids that rise within this opening, so that keys stay in order
// also when the clock steps back.
func (db *DB) newID() uuid.UUID {
	id := uuid.Must(uuid.NewV7())
	db.mu.Lock()
	defer db.mu.Unlock()
	if c := string(id[:]); c <= string(db.lastID[:]) {
		if id = next(db.lastID); db.gaveLast {
			id = after(db.lastID)
		}
	}
	db.lastID, db.gaveLast = id, true
	return id
}

// after is the smallest UUIDv7 above id, which is of this life.
func after(id uuid.UUID) uuid.UUID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// next is a UUIDv7 above id: a millisecond above, and random below that. A journal
// comes here from the same id again when it is opened twice while the clock is
// behind, or was put back; what it gave then it must not give once more.
func next(id uuid.UUID) uuid.UUID {
	above := uuid.New()
	copy(above[:6], id[:6])
	for i := 5; i >= 0; i-- {
		if above[i]++; above[i] != 0 {
			break
		}
	}
	above[6], above[8] = above[6]&0x0f|0x70, above[8]&0x3f|0x80
	return above
}

// Fresh gives m what the accepting node fills in, except its place.
func (db *DB) Fresh(m *message.Message, now time.Time) {
	m.ID, m.FromNode, m.Time = db.newID(), db.opts.Node, now
	if m.Expires.IsZero() {
		m.Expires = now.Add(message.DefaultLife)
	}
}

// view is a read transaction that turns a damaged page into an error.
func (db *DB) view(f func(tx *bolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v; `steward store check` tells more", ErrCorrupt, v)
		}
	}()
	err = db.bolt.View(f)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
