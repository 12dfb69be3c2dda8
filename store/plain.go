package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Plain takes a CloudEvent of a client that is no steward. It has no place, so
// its repeats are known by its source and id, until its lifetime ends.
func (db *DB) Plain(s subject.Subject, item Item) (a ack.Ack, l Lane, err error) {
	l = Lane{From: item.From, Subject: s}
	low, key := db.space.Low(), l.Key()
	fresh := false
	var t tally
	err = db.w.do(func(tx *bolt.Tx) error {
		fresh, t = false, tally{}
		plain := tx.Bucket(bucketPlain)
		if a = item.Ack; a.Verdict == ack.Rejected {
			return db.refused(tx, &t, s, item, a.Reason)
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
		db.changed(t)
	})
	return a, l, err
}
