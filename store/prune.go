package store

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
)

// pruneChunk bounds one transaction of Prune, so that it delays nobody.
const pruneChunk = 2000

// Prune forgets what ended long ago or is too much, failures and plain events
// with it, and reports whether there is more to forget. A message without an
// outcome is never forgotten, nor a result that is still on its way. A call looks
// at a part of the journal, and the next goes on there.
func (db *DB) Prune(now time.Time) (more bool, err error) {
	db.mu.Lock()
	excess, from, ahead, plain := db.ended-db.opts.HistoryCount, db.pruneFrom, db.aheadFrom, db.plainFrom
	db.mu.Unlock()
	var then, aheadThen, plainThen []byte
	oldest := now.Add(-db.opts.HistoryAge)
	removed := 0
	err = db.w.do(func(tx *bolt.Tx) (err error) {
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
			if free, hasState, at, err := db.forgettable(tx, k, v, now); err != nil {
				return err
			} else if free && (at.Before(oldest) || ended < excess) {
				gone = append(gone, slices.Clone(k))
				if hasState {
					ended++
				}
			}
		}
		if err := forgetAll(tx, gone); err != nil {
			return err
		}
		removed, more, then = ended, len(gone) == pruneChunk, next
		if ended, aheadThen, err = db.pruneForeign(tx, ahead, oldest, now); err != nil {
			return err
		}
		removed += ended
		if err := pruneKeys(tx, now); err != nil {
			return err
		}
		if plainThen, err = prunePlain(tx, plain, now); err != nil {
			return err
		}
		return pruneFailures(tx, oldest)
	}, func() {
		db.mu.Lock()
		db.ended = max(0, db.ended-removed)
		db.pruneFrom, db.aheadFrom, db.plainFrom = then, aheadThen, plainThen
		db.mu.Unlock()
	})
	return more && err == nil, err
}

// pruneForeign forgets what ended before oldest of what has a foreign id, and so lies
// behind all that Prune comes to by age. It looks at a part of it, from from on, and
// tells where the next one begins.
func (db *DB) pruneForeign(tx *bolt.Tx, from []byte, oldest, now time.Time) (ended int, next []byte, err error) {
	var gone [][]byte
	c, seen := tx.Bucket(bucketMessages).Cursor(), 0
	if from == nil {
		from = timeKey(now.Add(clocksDiffer + time.Millisecond))
	}
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if seen++; seen > pruneChunk {
			next = slices.Clone(k)
			break
		}
		free, hasState, at, err := db.forgettable(tx, k, v, now)
		if err != nil {
			return 0, nil, err
		}
		if free && at.Before(oldest) {
			gone = append(gone, slices.Clone(k))
			if hasState {
				ended++
			}
		}
	}
	return ended, next, forgetAll(tx, gone)
}

func forgetAll(tx *bolt.Tx, gone [][]byte) error {
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
	return nil
}

// forgettable: it ended, or (a result) left the outbox; and when. The id of a message
// says so too, if it is not foreign: the clock may have been wrong when it ended.
func (db *DB) forgettable(tx *bolt.Tx, k, v []byte, now time.Time) (free, hasState bool, at time.Time, err error) {
	b, err := decodeBody(k, v)
	if err != nil {
		return false, false, at, err
	}
	in := tx.Bucket(bucketOutbox).Bucket([]byte(b.subject))
	if b.incoming {
		from, err := senderOf(b.event)
		if err != nil {
			return false, false, at, err
		}
		in = tx.Bucket(bucketInbox).Bucket([]byte(b.lane(from)))
	}
	if in != nil && in.Get(placeKey(b.place)) != nil {
		return false, false, at, nil
	}
	st, hasState, err := getStatus(tx, uuid.UUID(k))
	if b.incoming && foreign(k, now) {
		return true, hasState, st.ended, err
	}
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

// timeKey is below all ids of UUIDv7 of at and later.
func timeKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())<<16)[:6]
}

// clocksDiffer is how far the clock of a sender may be ahead of this one's, or its ids
// are foreign.
const clocksDiffer = 24 * time.Hour

// foreign reports whether the id k tells no time that anybody could go by.
func foreign(k []byte, now time.Time) bool { return idTime(k).After(now.Add(clocksDiffer)) }

// prunePlain forgets plain events whose lifetime is over, of a part of them that
// begins at from, and tells where the next part begins. Their ids are in no order.
func prunePlain(tx *bolt.Tx, from []byte, now time.Time) (next []byte, err error) {
	plain := tx.Bucket(bucketPlain)
	var gone [][]byte
	c, seen := plain.Cursor(), 0
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if seen++; seen > 4*pruneChunk || len(gone) == pruneChunk {
			next = slices.Clone(k)
			break
		}
		p, err := unseal(bucketPlain, k, v)
		if err != nil {
			return nil, err
		}
		if end, err := strconv.ParseInt(string(p), 10, 64); err == nil && now.UnixNano() > end {
			gone = append(gone, slices.Clone(k))
		}
	}
	for _, k := range gone {
		if err := plain.Delete(k); err != nil {
			return nil, err
		}
	}
	return next, nil
}

const maxFailures = 100_000

// pruneFailures forgets the oldest that are too old, or too many.
func pruneFailures(tx *bolt.Tx, oldest time.Time) error {
	failures := tx.Bucket(bucketFailures)
	excess := failures.Stats().KeyN - maxFailures
	c := failures.Cursor()
	for range pruneChunk {
		k, v := c.First()
		if k == nil {
			return nil
		}
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
