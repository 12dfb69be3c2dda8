package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/message"
)

// KeyLife is for how long a submission is known by its key.
const KeyLife = time.Hour

// Errors of AcceptOnce.
var (
	ErrKey     = errors.New("a key is a UUID of version 7, not older than an hour")
	ErrKeyUsed = errors.New("the key stands for another submission")
)

// Submission is what a submitter calls its own, so that it may repeat it until it
// has an answer: a key made for it, and the digest of what it said.
type Submission struct {
	Key uuid.UUID
	Sum [sha256.Size]byte
}

// AcceptOnce is Accept for what may be a repeat. If key stands for a submission
// already, nothing is accepted, and earlier are that one's messages. The key counts
// as long as its own time says, so it need not be remembered for longer.
func (db *DB) AcceptOnce(_ context.Context, s Submission, ms []*message.Message) (earlier []uuid.UUID, err error) {
	if age := time.Since(idTime(s.Key[:])); s.Key.Version() != 7 || age > KeyLife || age < -KeyLife {
		return nil, fmt.Errorf("%w: this is %s", ErrKey, s.Key)
	}
	if earlier, err = db.submitted(s); err != nil || earlier != nil { // also where there is no room for anything new
		return earlier, err
	}
	if db.space.Low() {
		return nil, ErrFull
	}
	value := bytes.Clone(s.Sum[:])
	for _, m := range ms {
		value = append(value, m.ID[:]...)
	}
	repeat := errors.New("a repeat") // that came at the same time
	err = db.accept(ms, false, func(tx *bolt.Tx) error {
		if earlier, err = s.find(tx); err != nil {
			return err
		}
		if earlier != nil {
			return repeat
		}
		return putNote(tx, bucketNotes, submissionKey(s.Key), value)
	})
	if errors.Is(err, repeat) {
		return earlier, nil
	}
	return nil, err
}

func (db *DB) submitted(s Submission) (earlier []uuid.UUID, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		earlier, err = s.find(tx)
		return err
	})
	return earlier, err
}

// find returns the messages that were accepted as s, or nil.
func (s Submission) find(tx *bolt.Tx) (earlier []uuid.UUID, err error) {
	key := submissionKey(s.Key)
	v := tx.Bucket(bucketNotes).Get(key)
	if v == nil {
		return nil, nil
	}
	if v, err = unseal(bucketNotes, key, v); err != nil {
		return nil, err
	}
	if len(v)%16 != 0 || !bytes.HasPrefix(v, s.Sum[:]) {
		return nil, ErrKeyUsed
	}
	for v = v[len(s.Sum):]; len(v) > 0; v = v[16:] {
		earlier = append(earlier, uuid.UUID(v[:16]))
	}
	return earlier, nil
}

var submissionPrefix = []byte("submission/")

func submissionKey(key uuid.UUID) []byte { return append(bytes.Clone(submissionPrefix), key[:]...) }

// pruneKeys forgets keys that do not count any more, the oldest first.
func pruneKeys(tx *bolt.Tx, now time.Time) error {
	c, n := tx.Bucket(bucketNotes).Cursor(), 0
	for k, _ := c.Seek(submissionPrefix); bytes.HasPrefix(k, submissionPrefix) && n < pruneChunk; k, _ = c.Seek(submissionPrefix) {
		if now.Sub(idTime(k[len(submissionPrefix):])) <= 2*KeyLife { // a clock may be set back
			return nil
		}
		if err := c.Delete(); err != nil {
			return err
		}
		n++
	}
	return nil
}
