package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/subject"
)

// Notice is what the error kernel has to hear of: an outcome for which
// Options.Notify asks, an unknown one that was refined, or a message that this
// node refused. It is left in the transaction that made it so, and stays until
// Told: a node that dies between the two tells of it in its next life.
type Notice struct {
	ID      uuid.UUID   `json:"-"` // later ones are higher
	At      time.Time   `json:"at"`
	Message uuid.UUID   `json:"message"`
	Subject string      `json:"subject"`
	Outcome ack.Outcome `json:"outcome,omitempty"` // empty: refused here
	Refined bool        `json:"refined,omitempty"` // it had ended as unknown
	From    string      `json:"from,omitempty"`    // sender of what was refused
	Reason  string      `json:"reason,omitempty"`
}

// Notices lie among the notes, which other parts of the node name by words.
var noticeKey = []byte("notice/")

const (
	noticeReason = 2 << 10 // bytes of a reason that are kept
	noticeChunk  = 2000    // that one transaction forgets
)

// notice leaves one with the transaction whose tally is t. It is for what went
// wrong: nothing else pays for it.
func (db *DB) notice(tx *bolt.Tx, t *tally, n Notice) error {
	if db.opts.Notify == nil {
		return nil
	}
	if len(n.Reason) > noticeReason {
		n.Reason = n.Reason[:noticeReason]
	}
	v, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("leave a notice of %s: %w", n.Message, err)
	}
	id := db.newID()
	t.noticed = true
	return putNote(tx, bucketNotes, append(bytes.Clone(noticeKey), id[:]...), v)
}

// ends adds an outcome to what t brought. again says that the message had ended as
// unknown: unless it is known now, that is no news.
func (db *DB) ends(tx *bolt.Tx, t *tally, s Settled, again bool, now time.Time) error {
	if again && s.Outcome == ack.Unknown {
		return nil
	}
	s.Refined = again
	t.ended = append(t.ended, s)
	if !again && (db.opts.Notify == nil || !db.opts.Notify(s.Outcome)) {
		return nil
	}
	return db.notice(tx, t, Notice{At: now, Message: s.ID, Subject: s.Subject, Outcome: s.Outcome, Refined: again, Reason: s.Reason})
}

// refused leaves a notice of a message to s that is rejected here.
func (db *DB) refused(tx *bolt.Tx, t *tally, s subject.Subject, item Item, reason string) error {
	return db.notice(tx, t, Notice{At: time.Now(), Message: item.ID, Subject: s.String(), From: item.From, Reason: reason})
}

// Notices reads those beyond after, oldest first.
func (db *DB) Notices(after uuid.UUID, limit int) (list []Notice, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketNotes).Cursor()
		for k, v := c.Seek(append(bytes.Clone(noticeKey), after[:]...)); bytes.HasPrefix(k, noticeKey) && len(list) < limit; k, v = c.Next() {
			p, err := unseal(bucketNotes, k, v)
			if err != nil {
				return err
			}
			var n Notice
			if err := json.Unmarshal(p, &n); err != nil {
				return fmt.Errorf("%w: notice %x: %w", ErrCorrupt, k, err)
			}
			if copy(n.ID[:], k[len(noticeKey):]); n.ID != after {
				list = append(list, n)
			}
		}
		return nil
	})
	return list, err
}

// Told forgets notices up to last, soon: what they are about is kept elsewhere.
func (db *DB) Told(last uuid.UUID) { db.w.append(db.forget(last)) }

func (db *DB) forget(last uuid.UUID) *op {
	end, more := append(bytes.Clone(noticeKey), last[:]...), false
	return &op{run: func(tx *bolt.Tx) error {
		more = false
		c, n := tx.Bucket(bucketNotes).Cursor(), 0
		for k, _ := c.Seek(noticeKey); k != nil && bytes.Compare(k, end) <= 0; k, _ = c.Seek(noticeKey) {
			if n++; n > noticeChunk {
				more = true
				return nil
			}
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	}, then: func() {
		if more {
			db.w.append(db.forget(last))
		}
	}}
}

// unknownKey is where it is kept which failure an unknown message is part of.
func unknownKey(message []byte) []byte { return append([]byte("unknown/"), message...) }

// PutUnknown keeps soon which failure message is part of that ended as unknown, as
// long as the message itself.
func (db *DB) PutUnknown(message uuid.UUID, failure string) {
	db.PutNoteSoon(string(unknownKey(message[:])), []byte(failure))
}

// UnknownIn is the failure that PutUnknown kept, or empty.
func (db *DB) UnknownIn(message uuid.UUID) (failure string, err error) {
	v, err := db.Note(string(unknownKey(message[:])))
	return string(v), err
}

// lastNotice is the id of the newest notice, or Nil.
func lastNotice(tx *bolt.Tx) (id uuid.UUID) {
	c := tx.Bucket(bucketNotes).Cursor()
	end := append(bytes.Clone(noticeKey), uuid.Max[:]...)
	k, _ := c.Seek(end)
	if k == nil {
		k, _ = c.Last()
	} else if !bytes.Equal(k, end) {
		k, _ = c.Prev()
	}
	if bytes.HasPrefix(k, noticeKey) {
		copy(id[:], k[len(noticeKey):])
	}
	return id
}
