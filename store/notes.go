package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
)

func putNotes(tx *bolt.Tx, notes []Note) error {
	for _, n := range notes {
		if err := putNote(tx, bucketNotes, []byte(n.Key), n.Value); err != nil {
			return err
		}
	}
	return nil
}

func putNote(tx *bolt.Tx, bucket, key, value []byte) error {
	if value == nil {
		return tx.Bucket(bucket).Delete(key)
	}
	return tx.Bucket(bucket).Put(key, seal(key, value))
}

// Note reads what was kept under key, or nil.
func (db *DB) Note(key string) (value []byte, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketNotes).Get([]byte(key)); v != nil {
			v, err := unseal(bucketNotes, []byte(key), v)
			value = bytes.Clone(v)
			return err
		}
		return nil
	})
	return value, err
}

// PutPeer keeps what is known of another node. It need not be durable at once:
// the next hello tells it again.
func (db *DB) PutPeer(p Peer) error {
	v, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("keep peer %s: %w", p.Name, err)
	}
	db.w.later(func(tx *bolt.Tx) error { return putNote(tx, bucketPeers, []byte(p.Name), v) }, nil)
	return nil
}

// Peers lists the nodes that this one knows, by name.
func (db *DB) Peers() (peers []Peer, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketPeers).ForEach(func(k, v []byte) error {
			v, err := unseal(bucketPeers, k, v)
			if err != nil {
				return err
			}
			var p Peer
			if err := json.Unmarshal(v, &p); err != nil {
				return fmt.Errorf("%w: peer %s: %w", ErrCorrupt, k, err)
			}
			peers = append(peers, p)
			return nil
		})
	})
	return peers, err
}

// PutFailure keeps a failure's record under its id, over an earlier one.
func (db *DB) PutFailure(id string, record []byte) error {
	return db.w.do(func(tx *bolt.Tx) error { return putNote(tx, bucketFailures, []byte(id), record) }, nil)
}

// Failure is the record that PutFailure kept, or nil.
func (db *DB) Failure(id string) (record []byte, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketFailures).Get([]byte(id)); v != nil {
			v, err := unseal(bucketFailures, []byte(id), v)
			record = bytes.Clone(v)
			return err
		}
		return nil
	})
	return record, err
}

// Failures reads the records of failures, newest id first, until f says false.
func (db *DB) Failures(f func(id string, record []byte) bool) error {
	return db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketFailures).Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			v, err := unseal(bucketFailures, k, v)
			if err != nil {
				return err
			}
			if !f(string(k), bytes.Clone(v)) {
				return nil
			}
		}
		return nil
	})
}

// pruneChunk bounds one transaction of Prune, so that it delays nobody.
const pruneChunk = 2000

// Prune forgets what ended long ago or is too much, failures and plain events
// with it, and reports whether there is more to forget. A message without an
// outcome is never forgotten, nor a result that is still on its way. A call looks
// at a part of the journal, and the next goes on there.
func (db *DB) Prune(now time.Time) (more bool, err error) {
	db.mu.Lock()
	excess, from := db.ended-db.opts.HistoryCount, db.pruneFrom
	db.mu.Unlock()
	var then []byte
	oldest := now.Add(-db.opts.HistoryAge)
	removed := 0
	err = db.w.do(func(tx *bolt.Tx) error {
		var gone [][]byte
		c := tx.Bucket(bucketMessages).Cursor()
		seen, ended, next := 0, 0, []byte(nil)
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			old := idTime(k).Before(oldest)
			if !old && ended >= excess {
				break
			}
			if seen++; len(gone) == pruneChunk || seen > 4*pruneChunk {
				next = slices.Clone(k)
				break
			}
			if free, hasState, at, err := db.forgettable(tx, k, v); err != nil {
				return err
			} else if free && (at.Before(oldest) || ended < excess) {
				gone = append(gone, slices.Clone(k))
				if hasState {
					ended++
				}
			}
		}
		for _, k := range gone {
			if err := tx.Bucket(bucketMessages).Delete(k); err != nil {
				return err
			}
			if err := tx.Bucket(bucketStates).Delete(k); err != nil {
				return err
			}
			if err := tx.Bucket(bucketNotes).Delete(unknownKey(k)); err != nil {
				return err
			}
		}
		removed, more, then = ended, len(gone) == pruneChunk, next
		return pruneSmall(tx, now, oldest)
	}, func() {
		db.mu.Lock()
		db.ended = max(0, db.ended-removed)
		db.pruneFrom = then
		db.mu.Unlock()
	})
	return more, err
}

// forgettable: it ended, or (a result) left the outbox; and when.
func (db *DB) forgettable(tx *bolt.Tx, k, v []byte) (free, hasState bool, at time.Time, err error) {
	b, err := decodeBody(k, v)
	if err != nil {
		return false, false, at, err
	}
	in := tx.Bucket(bucketOutbox).Bucket([]byte(b.subject))
	if b.incoming {
		m, err := senderOf(b.event)
		if err != nil {
			return false, false, at, err
		}
		in = tx.Bucket(bucketInbox).Bucket([]byte(m + " " + b.subject))
	}
	if in != nil && in.Get(placeKey(b.place)) != nil {
		return false, false, at, nil
	}
	st, hasState, err := getStatus(tx, uuid.UUID(k))
	if at = idTime(k); st.ended.After(at) {
		at = st.ended
	}
	return true, hasState, at, err
}

func senderOf(event []byte) (string, error) {
	var e struct{ Source string }
	err := json.Unmarshal(event, &e)
	return e.Source, err
}

// idTime is the time in a UUIDv7: milliseconds since 1970 in its first 48 bits.
func idTime(k []byte) time.Time {
	if len(k) < 6 {
		return time.Time{}
	}
	ms := int64(k[0])<<40 | int64(k[1])<<32 | int64(k[2])<<24 | int64(k[3])<<16 | int64(k[4])<<8 | int64(k[5])
	return time.UnixMilli(ms)
}

const maxFailures = 100_000

func pruneSmall(tx *bolt.Tx, now, oldest time.Time) error {
	if err := pruneKeys(tx, now); err != nil {
		return err
	}
	var gone [][]byte
	err := tx.Bucket(bucketPlain).ForEach(func(k, v []byte) error {
		p, err := unseal(bucketPlain, k, v)
		var end int64
		if _, e := fmt.Sscan(string(p), &end); err == nil && e == nil && now.UnixNano() > end && len(gone) < pruneChunk {
			gone = append(gone, slices.Clone(k))
		}
		return err
	})
	for _, k := range gone {
		if err := tx.Bucket(bucketPlain).Delete(k); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	failures := tx.Bucket(bucketFailures)
	excess := failures.Stats().KeyN - maxFailures
	c := failures.Cursor()
	for k, v := c.First(); k != nil; k, v = c.First() {
		p, err := unseal(bucketFailures, k, v)
		if err != nil {
			return err
		}
		var f struct{ Last, Kept time.Time } // it may have been long under way
		if json.Unmarshal(p, &f) == nil && (!f.Last.Before(oldest) || !f.Kept.Before(oldest)) && excess <= 0 {
			return nil
		}
		excess--
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// PutNoteSoon keeps a note with the next commit; nobody waits for it.
func (db *DB) PutNoteSoon(key string, value []byte) {
	db.w.later(func(tx *bolt.Tx) error { return putNote(tx, bucketNotes, []byte(key), value) }, nil)
}
