package store

import (
	"bytes"
	"encoding/json"
	"fmt"

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

// Notes reads what was kept under the keys that begin with prefix, by what follows it.
func (db *DB) Notes(prefix string) (notes map[string][]byte, err error) {
	notes = map[string][]byte{}
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketNotes).Cursor()
		for k, v := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			v, err := unseal(bucketNotes, k, v)
			if err != nil {
				return err
			}
			notes[string(k[len(prefix):])] = bytes.Clone(v)
		}
		return nil
	})
	return notes, err
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

// PutNotes keeps notes, all or none, after what went to PutNoteSoon before. When it
// returns nil they survive a crash.
func (db *DB) PutNotes(notes ...Note) error {
	return db.w.inOrder(func(tx *bolt.Tx) error { return putNotes(tx, notes) }, nil)
}

// PutNoteSoon keeps a note with the next commit; nobody waits for it.
func (db *DB) PutNoteSoon(key string, value []byte) {
	db.w.later(func(tx *bolt.Tx) error { return putNote(tx, bucketNotes, []byte(key), value) }, nil)
}
