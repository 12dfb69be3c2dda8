package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/message"
)

func (db *DB) identify(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	get := func(key []byte) ([]byte, error) {
		v := meta.Get(key)
		if v == nil {
			return nil, nil
		}
		return unseal(bucketMeta, key, v)
	}
	values := map[string][]byte{}
	for _, key := range [][]byte{keySchema, keyNode, keyID, keyEpoch, keyHome, keyOpening} {
		v, err := get(key)
		if err != nil {
			return err
		}
		values[string(key)] = v
	}
	home, err := homeOf(db.path)
	if err != nil {
		return err
	}
	switch v := values["schema"]; {
	case v == nil && meta.Stats().KeyN > 0:
		return fmt.Errorf("%w: its schema version is gone", ErrCorrupt)
	case v != nil:
		if err := known(v); err != nil {
			return err
		}
	}
	if v := values["node"]; v != nil && db.opts.Node != "" && string(v) != db.opts.Node {
		return fmt.Errorf("%w: it is %q's, this node is %q: give each node its own data folder", ErrForeign, v, db.opts.Node)
	}
	db.opts.Node = cmp.Or(db.opts.Node, string(values["node"]))
	note := opening{db.path + ".opening"}
	db.copy = values["home"] != nil && !bytes.Equal(values["home"], home) || !note.knows(values["opening"])
	if copy(db.id[:], values["id"]); db.id == uuid.Nil || db.copy {
		db.id = uuid.New()
	}
	var last uuid.UUID
	copy(last[:], values["epoch"])
	if db.epoch = uuid.Must(uuid.NewV7()); bytes.Compare(db.epoch[:], last[:]) <= 0 {
		db.epoch = next(last)
	}
	db.first, db.opening = db.epoch, uuid.New()
	if err := note.begin(db.opening, values["opening"]); err != nil {
		return err
	}
	if db.copy {
		if err := suspect(tx); err != nil {
			return err
		}
	}
	for _, kv := range [][2][]byte{{keySchema, {schema}}, {keyNode, []byte(db.opts.Node)}, {keyID, db.id[:]}, {keyEpoch, db.epoch[:]}, {keyHome, home}, {keyOpening, db.opening[:]}} {
		if err := meta.Put(kv[0], seal(kv[0], kv[1])); err != nil {
			return err
		}
	}
	return nil
}

// known is nil if this steward can read a journal with schema v.
func known(v []byte) error {
	if len(v) != 1 || v[0] > schema {
		return fmt.Errorf("%w (schema %d, this one knows %d)", ErrNewer, v, schema)
	}
	return nil
}

// suspect marks what waits in the inbox of a copy: the original, or another copy,
// may have begun to run it, or ended it. It is done by the opening that finds out, since the
// next one does not.
func suspect(tx *bolt.Tx) error {
	in := tx.Bucket(bucketInbox)
	return in.ForEachBucket(func(name []byte) error {
		queue := in.Bucket(name)
		marked := map[string]pending{}
		err := queue.ForEach(func(k, v []byte) error {
			p, err := decodePending(k, v)
			if p.runs = 0; p.started.IsZero() {
				p.started = time.Now()
			}
			marked[string(k)] = p
			return err
		})
		if err != nil {
			return err
		}
		for k, p := range marked {
			if err := queue.Put([]byte(k), p.encode([]byte(k))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Renounce gives the journal another identity, because another node was met that
// has the same one. What waits in the inbox is marked as that of a copy is, and
// what this opening found in the outbox counts as sent.
func (db *DB) Renounce() error {
	id := uuid.New()
	return db.w.do(func(tx *bolt.Tx) error {
		if err := suspect(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyID, seal(keyID, id[:]))
	}, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.id = id
		for _, o := range db.out { // what was found waiting, the other may have sent
			o.found, o.shut = message.Place{Epoch: db.first}, false
		}
	})
}

// maxAhead is how far a sender's clock may be ahead of a receiver's. No clock is wrong
// by that much: times of this journal end in 2262, and one that was never set says
// 1970. It grows with the receiver's clock, so who has to go above the highest epoch
// that was believed is believed too, a moment later.
const maxAhead = 1000 * 365 * 24 * 60 * 60 * 1000 // milliseconds

// Believed reports whether epoch may be one that a node's clock gave. What is above
// would shut out all later openings of that node, for good.
func Believed(epoch uuid.UUID, now time.Time) bool {
	return int64(binary.BigEndian.Uint64(epoch[:8])>>16) <= now.UnixMilli()+maxAhead
}

// Outlive renews the epoch, above met: a receiver has met that one of a node with
// this name, and refuses all that are below. It is for who knows that the other
// does not serve any more. What is accepted from now on has places above.
func (db *DB) Outlive(met uuid.UUID) error {
	if met[0] >= 0x80 {
		return fmt.Errorf("%w: %s", ErrEpoch, met)
	}
	var epoch uuid.UUID
	return db.w.do(func(tx *bolt.Tx) error {
		if epoch = db.epoch; bytes.Compare(epoch[:], met[:]) > 0 {
			return nil
		}
		if epoch = uuid.Must(uuid.NewV7()); bytes.Compare(epoch[:], met[:]) <= 0 {
			epoch = next(met)
		}
		return tx.Bucket(bucketMeta).Put(keyEpoch, seal(keyEpoch, epoch[:]))
	}, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.epoch = epoch
	})
}

// homeOf is where a file lives: its device and inode.
func homeOf(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return []byte(path), nil
	}
	return fmt.Appendf(nil, "%d/%d", st.Dev, st.Ino), nil
}
