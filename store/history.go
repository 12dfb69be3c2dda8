package store

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// Record is what is known of message id, sent or received. ErrNotFound: nothing.
func (db *DB) Record(id uuid.UUID) (r Record, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMessages).Get(id[:])
		if v == nil {
			return fmt.Errorf("%w: %s", ErrNotFound, id)
		}
		b, err := decodeBody(id[:], v)
		if err == nil {
			r, err = db.record(tx, id, b)
		}
		return err
	})
	return r, err
}

// HasEnded reports whether message id, sent or received, has its outcome. It is
// much cheaper than Record.
func (db *DB) HasEnded(id uuid.UUID) (ended bool, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		st, found, err := getStatus(tx, id)
		if ended = st.state == Ended; err != nil || found {
			return err
		}
		v := tx.Bucket(bucketMessages).Get(id[:])
		if v == nil {
			return fmt.Errorf("%w: %s", ErrNotFound, id)
		}
		b, err := decodeBody(id[:], v)
		if err != nil || !b.incoming && !strings.HasSuffix(b.subject, "."+message.MethodResult) {
			return err
		}
		r, err := db.record(tx, id, b)
		ended = r.State == Ended
		return err
	})
	return ended, err
}

// NewestByFile lists the newest messages, up to limit, whose submitters want a file
// of their results. It looks at ten times as many.
func (db *DB) NewestByFile(limit int) (ids []uuid.UUID, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketMessages).Cursor()
		seen := 0
		for k, v := c.Last(); k != nil && len(ids) < limit && seen < 10*limit; k, v = c.Prev() {
			b, err := decodeBody(k, v)
			if err != nil {
				return err
			}
			if b.byFile && !b.incoming {
				ids = append(ids, uuid.UUID(k))
			}
			seen++
		}
		return nil
	})
	return ids, err
}

// Records lists messages newest first. Results are part of the messages that
// they answer, and are listed themselves only if f asks for them.
func (db *DB) Records(f Filter) (list []Record, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketMessages).Cursor()
		for k, v := c.Last(); k != nil && len(list) < limit; k, v = c.Prev() {
			if isLocal(k) {
				continue
			}
			b, err := decodeBody(k, v)
			if err != nil {
				return err
			}
			if !f.Results && strings.HasSuffix(b.subject, "."+message.MethodResult) {
				continue
			}
			if !f.Since.IsZero() && idTime(k).Before(f.Since.Truncate(0)) {
				return nil
			}
			r, err := db.record(tx, uuid.UUID(k), b)
			if err != nil {
				return err
			}
			if f.Live != nil {
				f.Live(&r)
			}
			if f.matches(r) {
				list = append(list, r)
			}
		}
		return nil
	})
	return list, err
}

func (f Filter) matches(r Record) bool {
	for k, v := range f.Labels {
		if r.Labels[k] != v {
			return false
		}
	}
	return (f.ToNode == "" || f.ToNode == r.ToNode) && (f.FromNode == "" || f.FromNode == r.FromNode) &&
		(f.Method == "" || f.Method == r.Method) && (f.State == "" || f.State == r.State) &&
		(f.Outcome == "" || f.Outcome == r.Outcome) && (f.Since.IsZero() || !r.AcceptedAt.Before(f.Since))
}

func (db *DB) record(tx *bolt.Tx, id uuid.UUID, b body) (r Record, err error) {
	m, err := message.DecodeStored(b.event)
	if err != nil {
		return r, fmt.Errorf("%w: message %s: %w", ErrCorrupt, id, err)
	}
	st, found, err := getStatus(tx, id)
	if err != nil {
		return r, err
	}
	r = st.record(m)
	r.ID, r.Seq, r.Epoch, r.Incoming = id.String(), b.place.Seq, b.place.Epoch.String(), b.incoming
	switch {
	case found:
	case b.incoming:
		if err := inboxState(tx, m, b, &r); err != nil {
			return r, err
		}
	case m.Method == message.MethodResult && m.FromNode == db.opts.Node && !db.inOutbox(tx, b):
		r.State, r.Outcome = Ended, ack.Delivered
	}
	if r.Result = m.Result; r.Result == nil { // else it is a Result itself
		r.Result, err = resultOf(tx, st)
	}
	return r, err
}

// record is what st and m together say.
func (s status) record(m *message.Message) Record {
	r := Record{
		ID: m.ID.String(), FromNode: m.FromNode, ToNode: m.ToNode, Kind: m.Kind, Method: m.Method, Data: m.Data,
		Labels: m.Labels, Seq: m.Place.Seq, Epoch: m.Place.Epoch.String(), State: cmp.Or(s.state, Waiting), Outcome: s.outcome,
		Reason: s.reason, Attempts: int(s.attempts), AcceptedAt: m.Time, DeliveredAt: s.delivered, StartedAt: s.started,
		FinishedAt: s.finished, EndedAt: s.ended, ExpiresAt: m.Expires, Message: m,
	}
	if m.CausationID != uuid.Nil {
		r.CausationID = m.CausationID.String()
	}
	return r
}

// resultOf is the result that st speaks of: with its sender it lies in the
// status, with its receiver it is a message of its own.
func resultOf(tx *bolt.Tx, st status) (*message.Result, error) {
	if len(st.said) > 0 {
		r, err := message.DecodeResult(st.said)
		if err != nil {
			return nil, fmt.Errorf("%w: result %s: %w", ErrCorrupt, st.result, err)
		}
		return r, nil
	}
	v := tx.Bucket(bucketMessages).Get(st.result[:])
	if v == nil {
		return nil, nil
	}
	b, err := decodeBody(st.result[:], v)
	if err != nil {
		return nil, err
	}
	m, err := message.DecodeStored(b.event)
	if err != nil {
		return nil, fmt.Errorf("%w: result %s: %w", ErrCorrupt, st.result, err)
	}
	return m.Result, nil
}

func (db *DB) inOutbox(tx *bolt.Tx, b body) bool {
	queue := tx.Bucket(bucketOutbox).Bucket([]byte(b.subject))
	return queue != nil && queue.Get(placeKey(b.place)) != nil
}

// inboxState: received, and started or not; a Result has no place in an inbox.
func inboxState(tx *bolt.Tx, m *message.Message, b body, r *Record) error {
	r.State = StateTaken
	queue := tx.Bucket(bucketInbox).Bucket([]byte(b.lane(m.FromNode)))
	var v []byte
	if queue != nil {
		v = queue.Get(placeKey(b.place))
	}
	if v == nil {
		r.State, r.Outcome = Ended, ack.Delivered
		return nil
	}
	p, err := decodePending(placeKey(b.place), v)
	if r.DeliveredAt = p.received; !p.started.IsZero() {
		r.State, r.StartedAt = Started, p.started
	}
	return err
}

// Find is the id that key stands for: a whole id, a beginning or an end of one
// of at least eight characters, or "last" (the newest message submitted here).
// More than one match gives them all.
func (db *DB) Find(key string) (ids []uuid.UUID, err error) {
	if id, err := uuid.Parse(key); err == nil {
		return []uuid.UUID{id}, nil
	}
	last := key == "last"
	if !last && len(key) < 8 {
		return nil, fmt.Errorf("%w: %q: an id is shortened to eight characters at least", ErrNotFound, key)
	}
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketMessages).Cursor()
		for k, v := c.Last(); k != nil && len(ids) < 10; k, v = c.Prev() {
			if isLocal(k) {
				continue
			}
			if last {
				b, err := decodeBody(k, v)
				if err != nil {
					return err
				}
				if own := !b.incoming && !strings.HasSuffix(b.subject, "."+message.MethodResult) && !strings.HasSuffix(b.subject, "."+message.MethodErrorLog); own {
					ids = append(ids, uuid.UUID(k))
					return nil
				}
				continue
			}
			if s := uuid.UUID(k).String(); strings.HasPrefix(s, key) || strings.HasSuffix(s, key) {
				ids = append(ids, uuid.UUID(k))
			}
		}
		return nil
	})
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%w: %q", ErrNotFound, key)
	}
	return ids, err
}

// PlaceOf tells on which subject and at which place an own message stands.
func (db *DB) PlaceOf(id uuid.UUID) (s string, p message.Place, incoming bool, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMessages).Get(id[:])
		if v == nil {
			return fmt.Errorf("%w: %s", ErrNotFound, id)
		}
		b, err := decodeBody(id[:], v)
		s, p, incoming = b.subject, b.place, b.incoming
		return err
	})
	return s, p, incoming, err
}

// Processed is an own message that has left the waiting part of its outbox.
type Processed struct {
	Subject string
	Place   message.Place
	Event   []byte // as it went over the wire
}

// Processed lists messages that were accepted at from, an id or the beginning of
// one, or later, oldest first, of those that wanted says. It looks at limit of
// them; next is where to go on, and Nil when all were seen.
func (db *DB) Processed(from uuid.UUID, limit int, wanted func(subject string, p message.Place) bool) (list []Processed, next uuid.UUID, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c, states := tx.Bucket(bucketMessages).Cursor(), tx.Bucket(bucketStates)
		for k, v := c.Seek(from[:]); k != nil; k, v = c.Next() {
			if limit--; limit < 0 {
				next = uuid.UUID(k)
				return nil
			}
			b, err := decodeBody(k, v)
			if err != nil {
				return err
			}
			if b.incoming || !wanted(b.subject, b.place) || states.Get(k) == nil {
				continue
			}
			list = append(list, Processed{b.subject, b.place, bytes.Clone(b.event)})
		}
		return nil
	})
	return list, next, err
}
