package store

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Again queues results once more, each as a new message, which from now on is the
// result of its command; the old one is forgotten.
func (db *DB) Again(ms ...*message.Message) error {
	now := time.Now()
	for _, m := range ms {
		db.Fresh(m, now)
	}
	return db.accept(ms, false, func(tx *bolt.Tx) error {
		for _, m := range ms {
			if err := db.supersede(tx, m); err != nil {
				return fmt.Errorf("send the result of %s again: %w", m.CausationID, err)
			}
		}
		return nil
	})
}

func (db *DB) supersede(tx *bolt.Tx, m *message.Message) error {
	command := db.localID(m.ToNode, m.CausationID)
	st, found, err := getStatus(tx, command)
	if err != nil || !found || st.result == uuid.Nil {
		return err
	}
	if tx.Bucket(bucketStates).Get(st.result[:]) == nil { // else history has it, and counts it
		if err := tx.Bucket(bucketMessages).Delete(st.result[:]); err != nil {
			return err
		}
	}
	st.result = m.ID
	return putStatus(tx, command, st)
}

// Shrink cuts the result that e carries until its event has at most limit bytes:
// it must arrive, and what is known of its command's end with it. An error that
// wraps ErrNotFound says that it is not there any more, or is no result.
func (db *DB) Shrink(s subject.Subject, e Entry, limit int) error {
	return db.w.do(func(tx *bolt.Tx) error {
		bodies := tx.Bucket(bucketMessages)
		v := bodies.Get(e.ID[:])
		if v == nil {
			return fmt.Errorf("%w: message %s", ErrNotFound, e.ID)
		}
		b, err := decodeBody(e.ID[:], v)
		if err != nil {
			return err
		}
		m, err := message.DecodeStored(b.event)
		if err != nil {
			return fmt.Errorf("%w: message %s: %w", ErrCorrupt, e.ID, err)
		}
		if m.Result == nil || b.incoming || b.subject != s.String() {
			return fmt.Errorf("%w: message %s is no result for %s", ErrNotFound, e.ID, s)
		}
		if b.event, err = m.Shrink(db.opts.Prefix, limit); err != nil {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return bodies.Put(e.ID[:], b.encode(e.ID[:]))
	}, nil)
}
