package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Lane is the road from one sender to one subject of this node.
type Lane struct {
	From    string
	Subject subject.Subject
}

// Key names the lane in the journal.
func (l Lane) Key() string { return l.From + " " + l.Subject.String() }

// lane names the one in whose inbox r, received from a sender, lies until it was handled.
func (r body) lane(from string) string {
	if r.plain {
		from = plainMark + from
	}
	return from + " " + r.subject
}

func parseLane(key string) (l Lane, err error) {
	from, s, ok := strings.Cut(key, " ")
	if !ok {
		return l, fmt.Errorf("%w: lane %q", ErrCorrupt, key)
	}
	l.From = from
	l.Subject, err = subject.Parse(s)
	return l, err
}

func (db *DB) addInbox(key string, n int) {
	db.inbox += n
	if db.inboxes[key] += n; db.inboxes[key] <= 0 {
		delete(db.inboxes, key)
	}
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
				w.Message, err = b.receivedAs(l, w.Place)
			}
			w.Err = err
			work = append(work, w)
		}
		return nil
	})
	return work, err
}

// errAnother is what lies under the id of a message and is not that one.
var errAnother = errors.New("its id is that of another message")

// receivedAs is the message that r holds, if it was received at place p of lane l.
func (r body) receivedAs(l Lane, p message.Place) (*message.Message, error) {
	if !r.incoming || r.place != p {
		return nil, errAnother
	}
	m, err := message.DecodeStored(r.event)
	if err == nil && r.lane(m.FromNode) != l.Key() {
		return nil, errAnother
	}
	return m, err
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
	if err := db.putOut(tx, f.out); err != nil || errors.Is(f.Work.Err, errAnother) { // what lies there did not end
		return err
	}
	return putStatus(tx, id, st)
}
