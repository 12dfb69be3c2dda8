package store

import (
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

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
// since it asks for a message whose result was delivered, is to be queued again. It
// begins a new life: the clock may have been wrong when the command ended, or was
// set since, and what has expired before it is sent never arrives.
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
	if err != nil { // it cannot be sent again; whoever asks ends it as unknown, and tells
		return TraceGone, nil, nil //nolint:nilerr // one result must not end all questions
	}
	m.Expires = time.Now().Add(message.MaxLifetime)
	return TraceAnswered, m, nil
}
