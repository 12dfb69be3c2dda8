package store

import (
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
)

// Note is a value that another part of the node keeps in the same transaction
// as the messages that it goes with: how far a file was read, say. A nil Value
// deletes it.
type Note struct {
	Key   string
	Value []byte
}

// Accept promises to deliver ms, in this order, and keeps notes, all or nothing.
// When it returns nil, that survives a crash. Fresh must have been called on each
// message; Accept gives it its place. ErrFull: nothing was accepted, try later.
func (db *DB) Accept(_ context.Context, ms []*message.Message, byFile bool, notes ...Note) error {
	if len(ms) > 0 && db.space.Low() {
		return ErrFull
	}
	return db.accept(ms, byFile, func(tx *bolt.Tx) error { return putNotes(tx, notes) })
}

// AcceptOwn is Accept for what the node itself has to say: it may use the room
// that is kept free of new work.
func (db *DB) AcceptOwn(ms ...*message.Message) error {
	return db.accept(ms, false, func(*bolt.Tx) error { return nil })
}

// accept puts ms into the outbox, together with what beside writes.
func (db *DB) accept(ms []*message.Message, byFile bool, beside func(*bolt.Tx) error) error {
	out, err := db.encode(ms, byFile)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.Accepting)
	return db.w.do(func(tx *bolt.Tx) error {
		if err := beside(tx); err != nil {
			return err
		}
		return db.putOut(tx, out)
	}, func() {
		failpoint.Hit(failpoint.Accepted)
		db.countNew(out)
	})
}

// outgoing is a message that is to be accepted.
type outgoing struct {
	m       *message.Message
	subject string
	byFile  bool
	record  []byte // of its body; place and checksum come with the transaction
}

func (db *DB) encode(ms []*message.Message, byFile bool) ([]outgoing, error) {
	out, epoch := make([]outgoing, len(ms)), db.Epoch()
	for i, m := range ms {
		m.Place.Epoch = epoch
		name := m.Subject(db.opts.Prefix).String()
		record, err := m.Append(body{subject: name, byFile: byFile}.head(m.Size()), db.opts.Prefix)
		if err != nil {
			return nil, err
		}
		out[i] = outgoing{m, name, byFile, record}
	}
	return out, nil
}

// putOut assigns places, in order, and fills the outbox.
func (db *DB) putOut(tx *bolt.Tx, list []outgoing) error {
	bodies, out := tx.Bucket(bucketMessages), tx.Bucket(bucketOutbox)
	bodies.FillPercent = 0.9 // keys come in order
	for _, o := range list {
		seq, err := out.NextSequence()
		if err != nil {
			return err
		}
		m := o.m
		m.Place = message.Place{Epoch: db.epoch, Seq: seq}
		queue := out.Bucket([]byte(o.subject))
		if queue == nil {
			if queue, err = out.CreateBucket([]byte(o.subject)); err != nil {
				return err
			}
			if err := db.newRoad(tx, o.subject); err != nil {
				return err
			}
		}
		queue.FillPercent = 0.9
		id, key := m.ID, placeKey(m.Place)
		if err := bodies.Put(id[:], placed(o.record, id[:], m.Place)); err != nil {
			return err
		}
		if err := queue.Put(key, slotOf(m, o.byFile).encode(key)); err != nil {
			return err
		}
	}
	return nil
}

// newRoad notes that nothing was ever sent on a subject.
func (db *DB) newRoad(tx *bolt.Tx, name string) error {
	roads, key := tx.Bucket(bucketRoads), []byte(name)
	if roads.Get(key) != nil {
		return nil
	}
	return roads.Put(key, road{shutBy: db.id}.encode(key))
}

func slotOf(m *message.Message, byFile bool) slot {
	return slot{
		id: m.ID, rerun: m.OnUnknown == message.Rerun || m.Method == message.MethodResult, command: m.Kind.Command(), noAck: !m.Kind.Acked(),
		expires: m.Expires, ackTimeout: m.AckTimeout, retries: uint32(m.Retries), byFile: byFile,
	}
}

func (db *DB) countNew(list []outgoing) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, o := range list {
		db.stat(o.subject).waiting++
	}
	db.accepted += uint64(len(list))
}
