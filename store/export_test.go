package store

import (
	"fmt"
	"maps"

	bolt "go.etcd.io/bbolt"
)

// Drift tells how what db counts differs from what the next opening would count. It
// is for when nothing is on its way.
func (db *DB) Drift() (drift string) {
	again := &DB{opts: db.opts, out: map[string]*outStat{}, inboxes: map[string]int{}}
	err := db.view(func(tx *bolt.Tx) error {
		for _, count := range []func(*bolt.Tx) error{again.countOutbox, again.countInbox, again.countEnded} {
			if err := count(tx); err != nil {
				return err
			}
		}
		return nil
	})
	db.mu.Lock()
	is := fmt.Sprintln(db.inbox, db.ended, db.inboxes)
	db.mu.Unlock()
	would := fmt.Sprintln(again.inbox, again.ended, again.inboxes)
	if err != nil || is != would || db.Counts() != again.Counts() || !maps.Equal(db.WaitingFor(), again.WaitingFor()) {
		drift = fmt.Sprintf("%+v %v inbox, history, inboxes %swhere the file has %+v %v inbox, history, inboxes %s%v", db.Counts(), db.WaitingFor(), is, again.Counts(), again.WaitingFor(), would, err)
	}
	return drift
}
