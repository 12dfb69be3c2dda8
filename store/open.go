package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/subject"
)

// schema is the version of all that lies in the file. Open refuses a higher one.
const schema = 2

// Open opens the journal at path, or makes it where there never was one. It
// verifies all of it, and fails with ErrLocked, ErrCorrupt, ErrNewer, ErrForeign or
// ErrGone instead of starting with less than was there.
func Open(path string, opts Options) (*DB, error) {
	opts.Prefix = cmp.Or(opts.Prefix, subject.Prefix)
	opts.HistoryAge = cmp.Or(opts.HistoryAge, 30*24*time.Hour)
	opts.HistoryCount = cmp.Or(opts.HistoryCount, 1_000_000)
	opts.InboxLimit = cmp.Or(opts.InboxLimit, 100_000)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := begin(abs, opts.Traces); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	b, err := openFile(abs, false)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, advised(err))
	}
	db := &DB{opts: opts, bolt: b, path: abs, out: map[string]*outStat{}, inboxes: map[string]int{}}
	db.space = &diskSpace{dir: filepath.Dir(abs), min: opts.MinFree, turned: make(chan struct{}, 1)}
	g, err := newGround(b)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	db.w = newWriter(b, g, db.space, opts.Observe)
	if err := guarded(func() error { return db.load() }); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, advised(err)), g.file.Close(), b.Close())
	}
	failpoint.Hit(failpoint.Opened)
	go db.w.loop() // ended by Close
	return db, nil
}

// openFile opens the bbolt file, of which nothing is believed before all of it was
// read.
func openFile(path string, readOnly bool) (*bolt.DB, error) {
	f, err := locked(path, readOnly)
	if err != nil {
		return nil, err
	}
	if err := sound(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return openSound(f, readOnly)
}

// openSound gives bbolt the file f, and its lock.
func openSound(f *os.File, readOnly bool) (b *bolt.DB, err error) {
	o := boltOptions()
	o.ReadOnly, o.PreLoadFreelist = readOnly, true
	o.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return f, nil }
	err = guarded(func() error {
		b, err = bolt.Open(f.Name(), 0o600, o)
		return err
	})
	return b, err
}

// boltOptions: the map freelist, kept in memory only, is five times as fast
// after a drained backlog; opening walks the pages instead. Each page is a write
// of its own, and a message takes a kilobyte: with pages of 16 KiB a commit costs
// a third less than with those of 4.
func boltOptions() *bolt.Options {
	return &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, PageSize: 16 << 10}
}

// Names in bucketMeta.
var (
	keySchema  = []byte("schema")
	keyNode    = []byte("node")
	keyID      = []byte("id")
	keyEpoch   = []byte("epoch")
	keyHome    = []byte("home")    // device and inode that the journal was made in
	keyOpening = []byte("opening") // id of the last opening
)

// load settles who this journal is and counts what waits in it.
func (db *DB) load() error {
	err := db.bolt.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: it has no bucket %q: it is no journal of steward, or was cut", ErrCorrupt, name)
			}
		}
		return db.identify(tx)
	})
	if err != nil {
		return err
	}
	opening{db.path + ".opening"}.done(db.opening)
	return db.bolt.View(func(tx *bolt.Tx) error {
		if err := db.countOutbox(tx); err != nil {
			return err
		}
		if err := db.countInbox(tx); err != nil {
			return err
		}
		if err := verifyEnds(tx); err != nil {
			return err
		}
		var err error
		if db.lastID, err = lastGiven(tx, time.Now()); err != nil {
			return err
		}
		if id := lastNotice(tx); bytes.Compare(id[:], db.lastID[:]) > 0 {
			db.lastID = id
		}
		return db.countEnded(tx)
	})
}

// lastGiven is the id above which this node gives its next ones: the highest of the
// journal, but for received ones that are foreign.
func lastGiven(tx *bolt.Tx, now time.Time) (id uuid.UUID, err error) {
	c := tx.Bucket(bucketMessages).Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		if foreign(k, now) {
			b, err := decodeBody(k, v)
			if err != nil {
				return id, err
			}
			if b.incoming {
				continue
			}
		}
		copy(id[:], k)
		return id, nil
	}
	return id, nil
}
