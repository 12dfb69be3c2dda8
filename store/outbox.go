package store

import (
	"bytes"
	"maps"
	"math"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Entry is a message that waits in an outbox.
type Entry struct {
	ID         uuid.UUID
	Place      message.Place
	Void       bool // given up: what travels is a void in its place
	NoAck      bool
	Command    bool
	Expires    time.Time
	AckTimeout time.Duration // 0: the node's default
	Retries    int           // 0: the node's default
	Event      []byte        // as it goes over the wire
}

// Outgoing is what Next read: messages, and the payload that carries them.
type Outgoing struct {
	Entries     []Entry
	Payload     []byte
	ContentType string
	Shut        bool // the road was: it may not be sent before Met

	before message.Place // what counted as sent before it
}

// Next reads what is to be sent to subject s: voids of messages that were acked
// before, then a prefix of what has no ack, in order, up to count messages and
// size bytes (but at least one). Messages up to after have been answered, by acks
// whose commit may still be on its way.
//
// From the call on, what it reads counts as sent, but on a shut road: whoever gives
// it up meanwhile learns that it may have arrived. Unsent takes that back. Only one goroutine may
// call both, and Shut and Met, for a subject.
func (db *DB) Next(s subject.Subject, after message.Place, count, size int) (out Outgoing, err error) {
	name := s.String()
	db.mu.Lock()
	o := db.stat(name)
	acked := o.acked
	if after.Compare(acked) > 0 {
		acked = after
	}
	from := acked
	for p := range o.voids {
		if p.Compare(from) < 0 {
			from = p
		}
	}
	leaving := maps.Clone(o.leaving)
	out.before, out.Shut = o.attempted, o.shut
	if !out.Shut {
		o.attempted = message.Place{Epoch: uuid.Max, Seq: math.MaxUint64} // what is read is not known yet
	}
	db.mu.Unlock()
	defer func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		o.attempted = out.before
		if n := len(out.Entries); n > 0 && !out.Shut && out.Entries[n-1].Place.Compare(out.before) > 0 {
			o.attempted = out.Entries[n-1].Place
		}
	}()
	err = db.view(func(tx *bolt.Tx) error {
		queue := tx.Bucket(bucketOutbox).Bucket([]byte(name))
		if queue == nil {
			return nil
		}
		var events [][]byte
		bodies, c := tx.Bucket(bucketMessages).Cursor(), queue.Cursor()
		for k, v := c.Seek(placeKey(from)); k != nil && len(events) < count; k, v = c.Next() {
			at := readPlace(k)
			sl, err := decodeSlot(k, v)
			if err != nil {
				return err
			}
			if leaving[at] || at.Compare(acked) <= 0 && !sl.void { // the latter waits for its result
				continue
			}
			event, err := db.eventAt(bodies, at, sl)
			if err != nil {
				return err
			}
			if size -= len(event) + 1; size < 0 && len(events) > 0 {
				break
			}
			events = append(events, event)
			out.Entries = append(out.Entries, Entry{
				ID: sl.id, Place: at, Void: sl.void, NoAck: sl.noAck, Command: sl.command,
				Expires: sl.expires, AckTimeout: sl.ackTimeout, Retries: int(sl.retries),
			})
		}
		out.Payload, out.ContentType = message.Join(events)
		for i := range events {
			out.Entries[i].Event = events[i]
		}
		return nil
	})
	return out, err
}

// eventAt is what travels for slot sl. It may lie in the transaction's pages.
func (db *DB) eventAt(bodies *bolt.Cursor, at message.Place, sl slot) ([]byte, error) {
	if sl.void {
		return message.EncodeVoid(db.opts.Prefix, sl.id, at, db.opts.Node), nil
	}
	k, v := bodies.Seek(sl.id[:]) // a cursor keeps its room, which Get would ask for each time
	if !bytes.Equal(k, sl.id[:]) {
		v = nil
	}
	b, err := decodeBody(sl.id[:], v)
	return b.event, err
}

// Unsent tells that out was certainly not received. It is not durable: see Shut.
func (db *DB) Unsent(s subject.Subject, out Outgoing) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.stat(s.String()).attempted = out.before
}

// Shut lets the journal say, from one of its next commits on, that what waits on s
// above all that counts as sent was never sent: so the next opening knows it too.
// Of what an opening finds on a road that is not shut anything may have been sent.
// Before anything is sent on a shut road it must be opened again, by Met.
func (db *DB) Shut(s subject.Subject) {
	name := s.String()
	db.mu.Lock()
	o, by := db.stat(name), db.id
	was, at := o.shut, o.found
	if o.attempted.Compare(at) > 0 {
		at = o.attempted
	}
	o.shut = true
	db.mu.Unlock()
	if was {
		return
	}
	db.w.later(func(tx *bolt.Tx) error {
		r, err := getRoad(tx, name)
		if err != nil {
			return err
		}
		r.shutBy, r.shutAt = by, at
		return tx.Bucket(bucketRoads).Put([]byte(name), r.encode([]byte(name)))
	}, nil)
}

// Subjects lists the subjects with something to send, and those that only wait
// for results.
func (db *DB) Subjects() (waiting, awaiting []subject.Subject) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for name, o := range db.out {
		s, err := subject.Parse(name)
		if err != nil {
			continue
		}
		if o.waiting+len(o.voids) > 0 {
			waiting = append(waiting, s)
		} else if o.awaiting > 0 {
			awaiting = append(awaiting, s)
		}
	}
	return waiting, awaiting
}

// Road is what the sender of a batch tells of itself.
type Road struct {
	Store   uuid.UUID     // receiver store that the batch is for; Nil: not met yet
	Settled message.Place // the sender holds all acks up to here, durably
}

// RoadOf is what a batch for s must say.
func (db *DB) RoadOf(s subject.Subject) Road {
	db.mu.Lock()
	defer db.mu.Unlock()
	o := db.stat(s.String())
	return Road{o.store, o.settled}
}

func mayHaveBeenSent(o *outStat, p message.Place) bool {
	return p.Compare(o.found) <= 0 || p.Compare(o.attempted) <= 0
}

// Expired lists what waits on subjects beyond its lifetime, at most limit of it.
// It reads the whole outbox, a million entries in well under a second.
func (db *DB) Expired(now time.Time, limit int) (map[subject.Subject][]message.Place, error) {
	found, n := map[subject.Subject][]message.Place{}, 0
	err := db.view(func(tx *bolt.Tx) error {
		out := tx.Bucket(bucketOutbox)
		return out.ForEachBucket(func(name []byte) error {
			s, err := subject.Parse(string(name))
			if err != nil {
				return err
			}
			r, err := getRoad(tx, string(name))
			if err != nil {
				return err
			}
			c := out.Bucket(name).Cursor()
			for k, v := c.Seek(placeKey(r.acked)); k != nil && n < limit; k, v = c.Next() {
				sl, err := decodeSlot(k, v)
				if err != nil {
					return err
				}
				if p := readPlace(k); p.Compare(r.acked) > 0 && !sl.void && now.After(sl.expires) {
					found[s] = append(found[s], p)
					n++
				}
			}
			return nil
		})
	})
	return found, err
}

func getRoad(tx *bolt.Tx, name string) (road, error) {
	v := tx.Bucket(bucketRoads).Get([]byte(name))
	if v == nil {
		return road{}, nil
	}
	return decodeRoad([]byte(name), v)
}

func getStatus(tx *bolt.Tx, id uuid.UUID) (st status, found bool, err error) {
	v := tx.Bucket(bucketStates).Get(id[:])
	if v == nil {
		return st, false, nil
	}
	st, err = decodeStatus(id[:], v)
	return st, true, err
}

func putStatus(tx *bolt.Tx, id uuid.UUID, st status) error {
	b := tx.Bucket(bucketStates)
	b.FillPercent = 0.9
	return b.Put(id[:], st.encode(id[:]))
}

func orTime(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}
