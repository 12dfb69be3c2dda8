package store

import (
	"strings"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// GiveUp ends messages of s that their sender no longer wants delivered: as
// outcome where no attempt of them can have been accepted; else as unknown, and
// a void travels in their place, whose ack may still tell that it came in time.
// A cancelled one is not unknown yet: it waits for that ack. What has its ack
// already is left alone, unless it is to be cancelled. attempts says how often the
// message at a place was tried.
func (db *DB) GiveUp(s subject.Subject, places []message.Place, outcome ack.Outcome, reason string, attempts func(message.Place) int) ([]Settled, error) {
	name := s.String()
	var t tally
	failpoint.Hit(failpoint.GivingUp)
	err := db.w.do(func(tx *bolt.Tx) error {
		t = tally{}
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		r, err := getRoad(tx, name)
		if err != nil {
			return err
		}
		for _, p := range places {
			if err := db.giveUp(tx, queue, r, name, p, outcome, reason, attempts(p), &t); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		failpoint.Hit(failpoint.GivenUp)
		db.mu.Lock()
		db.subtract(t)
		db.mu.Unlock()
		db.changed(t)
	})
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, p := range places {
		delete(db.stat(name).leaving, p)
	}
	return t.ended, err
}

func (db *DB) giveUp(tx *bolt.Tx, queue *bolt.Bucket, r road, name string, p message.Place, outcome ack.Outcome, reason string, attempts int, t *tally) error {
	key := placeKey(p)
	v := queue.Get(key)
	if v == nil {
		return nil
	}
	sl, err := decodeSlot(key, v)
	if err != nil || sl.void {
		return err
	}
	acked := p.Compare(r.acked) <= 0
	if acked && outcome != ack.Cancelled {
		return nil
	}
	st, _, err := getStatus(tx, sl.id)
	if err != nil {
		return err
	}
	st.attempts = max(st.attempts, uint64(attempts))
	now := time.Now()
	g := goneEntry{name, p, sl}
	db.mu.Lock()
	o := db.stat(name)
	sent := acked || mayHaveBeenSent(o, p)
	if !sent {
		o.leaving[p] = true
	}
	db.mu.Unlock()
	if !sent {
		st.outcome, st.reason = outcome, reason
		return db.end(tx, queue, g, st, now, t)
	}
	if st.wanted != ack.Unknown {
		st.wanted = outcome
	}
	if outcome == ack.Cancelled {
		st.state = Cancelling
	} else {
		st.reason = reason + ", but an attempt may have arrived; the receiver will be asked"
		if err := db.ends(tx, t, Settled{ID: sl.id, Subject: name, Outcome: ack.Unknown, Reason: st.reason}, st.state == Ended, now); err != nil {
			return err
		}
		st.state, st.outcome, st.ended = Ended, ack.Unknown, now
	}
	if err := putStatus(tx, sl.id, st); err != nil {
		return err
	}
	t.changed(sl.id, sl.byFile, st, nil)
	t.flag = append(t.flag, g)
	sl.void = true
	return queue.Put(key, sl.encode(key))
}

// Met keeps which receiver store answers on s (Nil: nobody answers on it), and opens
// the road: from now on what waits may be sent. If it is another store than before,
// whatever may have been sent to the old one ends as unknown, since the new one
// cannot know of it; what asked for a rerun goes on, and so does what was never
// sent.
func (db *DB) Met(s subject.Subject, store uuid.UUID) ([]Settled, error) {
	name := s.String()
	var t tally
	var r road
	failpoint.Hit(failpoint.Meeting)
	err := db.w.inOrder(func(tx *bolt.Tx) error { // acks on their way are of the store before
		t = tally{}
		var err error
		if r, err = getRoad(tx, name); err != nil || r.store == store && r.shutBy == uuid.Nil {
			return err
		}
		if queue := tx.Bucket(bucketOutbox).Bucket([]byte(name)); queue != nil && r.store != uuid.Nil && r.store != store {
			if r.acked, err = db.lostReceiver(tx, queue, name, r, &t); err != nil {
				return err
			}
		}
		if r.store != store {
			r.store, r.settled = store, message.Place{}
		}
		r.shutBy, r.shutAt = uuid.Nil, message.Place{}
		return tx.Bucket(bucketRoads).Put([]byte(name), r.encode([]byte(name)))
	}, func() {
		failpoint.Hit(failpoint.Met)
		db.mu.Lock()
		db.subtract(t)
		o := db.stat(name)
		o.store, o.settled, o.shut = store, r.settled, false
		if r.acked != o.acked { // reruns go out once more
			o.acked = r.acked
			o.waiting, o.awaiting = o.waiting+o.awaiting, 0
		}
		db.mu.Unlock()
		db.changed(t)
	})
	return t.ended, err
}

// lostReceiver returns the place up to which nothing is left to send.
func (db *DB) lostReceiver(tx *bolt.Tx, queue *bolt.Bucket, name string, r road, t *tally) (message.Place, error) {
	db.mu.Lock()
	attempted := *db.stat(name)
	db.mu.Unlock()
	type found struct {
		p  message.Place
		sl slot
	}
	var sent []found
	err := queue.ForEach(func(k, v []byte) error {
		sl, err := decodeSlot(k, v)
		if p := readPlace(k); err == nil && (p.Compare(r.acked) <= 0 || mayHaveBeenSent(&attempted, p)) {
			sent = append(sent, found{p, sl})
		}
		return err
	})
	if err != nil {
		return r.acked, err
	}
	acked, now, isResult := r.acked, time.Now(), strings.HasSuffix(name, "."+message.MethodResult)
	for _, f := range sent {
		st, found, err := getStatus(tx, f.sl.id)
		if err != nil {
			return acked, err
		}
		if f.sl.rerun && !f.sl.void {
			if f.p.Compare(acked) <= 0 {
				acked = before(f.p)
			}
			if found || !isResult { // it may have run there: no word of the new one tells that it did not
				if st.wanted = ack.Unknown; st.state != Ended {
					st.state, st.delivered = Waiting, time.Time{}
				}
				if err := putStatus(tx, f.sl.id, st); err != nil {
					return acked, err
				}
				t.changed(f.sl.id, f.sl.byFile, st, nil)
			}
			continue
		}
		st.outcome = ack.Unknown
		st.reason = "the receiver's journal was lost or replaced after an attempt to deliver this"
		if err := db.end(tx, queue, goneEntry{name, f.p, f.sl}, st, now, t); err != nil {
			return acked, err
		}
	}
	return acked, nil
}

func before(p message.Place) message.Place {
	if p.Seq > 0 {
		p.Seq--
	}
	return p
}

// Overdue is a command that was delivered and whose result has not come.
type Overdue struct {
	ID      uuid.UUID
	Place   message.Place
	Expires time.Time
}

// AwaitingResults lists the oldest commands of s that have their ack and no result.
func (db *DB) AwaitingResults(s subject.Subject, limit int) (list []Overdue, err error) {
	name := s.String()
	err = db.view(func(tx *bolt.Tx) error {
		r, err := getRoad(tx, name)
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if err != nil || queue == nil {
			return err
		}
		c := queue.Cursor()
		for k, v := c.First(); k != nil && len(list) < limit; k, v = c.Next() {
			p := readPlace(k)
			if p.Compare(r.acked) > 0 {
				return nil
			}
			sl, err := decodeSlot(k, v)
			if err != nil {
				return err
			}
			if !sl.void {
				list = append(list, Overdue{sl.id, p, sl.expires})
			}
		}
		return nil
	})
	return list, err
}

// Lost ends commands whose receiver, asked, has no trace of them, or whose
// result did not come in all its time.
func (db *DB) Lost(s subject.Subject, places []message.Place, reason string) ([]Settled, error) {
	name := s.String()
	var t tally
	err := db.w.do(func(tx *bolt.Tx) error {
		t = tally{}
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		for _, p := range places {
			v := queue.Get(placeKey(p))
			if v == nil {
				continue
			}
			sl, err := decodeSlot(placeKey(p), v)
			if err != nil {
				return err
			}
			st, _, err := getStatus(tx, sl.id)
			if err != nil {
				return err
			}
			st.outcome, st.reason = ack.Unknown, reason
			if err := db.end(tx, queue, goneEntry{name, p, sl}, st, time.Now(), &t); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		db.mu.Lock()
		db.subtract(t)
		db.mu.Unlock()
		db.changed(t)
	})
	return t.ended, err
}
