package store

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/message"
)

func (db *DB) countOutbox(tx *bolt.Tx) error {
	out, roads := tx.Bucket(bucketOutbox), tx.Bucket(bucketRoads)
	return out.ForEachBucket(func(name []byte) error {
		o := db.stat(string(name))
		var r road
		if v := roads.Get(name); v != nil {
			var err error
			if r, err = decodeRoad(name, v); err != nil {
				return err
			}
		}
		o.acked, o.settled, o.store = r.acked, r.settled, r.store
		if o.shut, o.found = r.shutBy == db.id, r.shutAt; !o.shut {
			o.found = message.Place{Epoch: db.first} // above all that earlier openings accepted
		}
		return out.Bucket(name).ForEach(func(k, v []byte) error {
			s, err := decodeSlot(k, v)
			if err != nil {
				return err
			}
			db.count(o, readPlace(k), s, 1)
			return nil
		})
	})
}

// countEnded counts the history: what ended, and is not asked about any more.
func (db *DB) countEnded(tx *bolt.Tx) error {
	db.ended = 0
	return tx.Bucket(bucketStates).ForEach(func(k, v []byte) error {
		ended, unknown, err := hasEnded(k, v)
		if unknown {
			ended, _, _, err = db.forgettable(tx, k, tx.Bucket(bucketMessages).Get(k), time.Time{})
		}
		if ended {
			db.ended++
		}
		return err
	})
}

// count keeps the numbers of a subject; n is 1 for an entry that came, -1 for
// one that went.
func (db *DB) count(o *outStat, p message.Place, s slot, n int) {
	switch {
	case s.void && n > 0:
		o.voids[p] = true
	case s.void:
		delete(o.voids, p)
	case p.Compare(o.acked) > 0:
		o.waiting += n
	default:
		o.awaiting += n
	}
}

func (db *DB) countInbox(tx *bolt.Tx) error {
	in := tx.Bucket(bucketInbox)
	return in.ForEachBucket(func(name []byte) error {
		n := 0
		err := in.Bucket(name).ForEach(func(k, v []byte) error {
			n++
			_, err := decodePending(k, v)
			return err
		})
		db.inbox += n
		if n > 0 {
			db.inboxes[string(name)] = n
		}
		return err
	})
}
