package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/subject"
)

// schema is the version of all that lies in the file. Open refuses a higher one.
const schema = 1

const openLimit = time.Minute // a damaged file may send a walk round in circles

// Open opens the journal at path, or makes it. It verifies what it is going to
// rely on, and fails with ErrLocked, ErrCorrupt, ErrNewer or ErrForeign instead
// of starting with less than was there.
func Open(path string, opts Options) (*DB, error) {
	opts.Prefix = cmp.Or(opts.Prefix, subject.Prefix)
	opts.HistoryAge = cmp.Or(opts.HistoryAge, 30*24*time.Hour)
	opts.HistoryCount = cmp.Or(opts.HistoryCount, 1_000_000)
	opts.InboxLimit = cmp.Or(opts.InboxLimit, 100_000)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	b, err := openFile(abs)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	db := &DB{opts: opts, bolt: b, path: abs, out: map[string]*outStat{}, inboxes: map[string]int{}}
	db.space = &diskSpace{dir: filepath.Dir(abs), min: opts.MinFree, turned: make(chan struct{}, 1)}
	g, err := newGround(b)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	db.w = newWriter(b, g, db.space, opts.Observe)
	if err := guarded(func() error { return db.load() }); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), g.file.Close(), b.Close())
	}
	failpoint.Hit(failpoint.Opened)
	go db.w.loop() // ended by Close
	return db, nil
}

// openFile opens the bbolt file, which it makes under another name first: a
// crash on the way must not leave an empty journal that looks like a good one.
func openFile(path string) (b *bolt.DB, err error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := create(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case fi.Size() == 0:
		return nil, fmt.Errorf("%w: it is empty; restore it from a backup, or move it away to begin without history", ErrCorrupt)
	}
	if err := checkLength(path); err != nil {
		return nil, err
	}
	if err := preread(path); err != nil {
		return nil, err
	}
	err = guarded(func() error {
		b, err = bolt.Open(path, 0o600, boltOptions())
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrLocked
	}
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return b, err
}

// boltOptions: the map freelist, kept in memory only, is five times as fast
// after a drained backlog; opening walks the pages instead. Each page is a write
// of its own, and a message takes a kilobyte: with pages of 16 KiB a commit costs
// a third less than with those of 4.
func boltOptions() *bolt.Options {
	return &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, PageSize: 16 << 10}
}

func create(path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := bolt.Open(tmp, 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	failpoint.Hit(failpoint.Creating)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path)) // bbolt does not
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
		if err := verifySmall(tx); err != nil {
			return err
		}
		if k, _ := tx.Bucket(bucketMessages).Cursor().Last(); len(k) == 16 {
			copy(db.lastID[:], k)
		}
		if id := lastNotice(tx); bytes.Compare(id[:], db.lastID[:]) > 0 {
			db.lastID = id
		}
		return db.countEnded(tx)
	})
}
