package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
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
	db.space = diskSpace{dir: filepath.Dir(abs), min: opts.MinFree}
	g, err := newGround(b)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	db.w = newWriter(b, g, opts.Observe)
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

// checkLength refuses a file that ends before the last page that its header
// speaks of: bbolt would map it all the same, and the kernel would end us with a
// signal. A meta page holds, after a page header of 16 bytes, magic, version,
// page size and flags of 4 bytes each, root and its sequence, freelist, and the
// number of pages in use, of 8 each.
func checkLength(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	const magic, head = 0xED0CDAED, 16
	first := make([]byte, 4096)
	if _, err := f.ReadAt(first, 0); err != nil {
		return fmt.Errorf("%w: it is shorter than its header; restore it from a backup", ErrCorrupt)
	}
	size := int64(os.Getpagesize())
	if binary.LittleEndian.Uint32(first[head:]) == magic {
		size = int64(binary.LittleEndian.Uint32(first[head+8:]))
	}
	for _, at := range []int64{0, size} {
		page := make([]byte, 80)
		if _, err := f.ReadAt(page, at); err != nil || binary.LittleEndian.Uint32(page[head:]) != magic {
			continue
		}
		if pages := int64(binary.LittleEndian.Uint64(page[head+40:])); pages > 0 && size > 0 && pages*size > fi.Size() && pages < 1<<40 {
			return fmt.Errorf("%w: it has %d bytes where its header speaks of %d; restore it from a backup, or move it away to begin without history", ErrCorrupt, fi.Size(), pages*size)
		}
	}
	return nil
}

// guarded runs f, and turns what a damaged file makes it do into an error: a
// panic, an access beyond the map, a walk that does not end.
func guarded(f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("%w: %v; `steward store check` tells more", ErrCorrupt, v)
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(openLimit):
		return fmt.Errorf("%w: reading it did not end within %s; `steward store check` tells more", ErrCorrupt, openLimit)
	}
}

// Names in bucketMeta.
var (
	keySchema = []byte("schema")
	keyNode   = []byte("node")
	keyID     = []byte("id")
	keyEpoch  = []byte("epoch")
	keyHome   = []byte("home") // device and inode that the journal was made in
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
		return db.countEnded(tx)
	})
}

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
	for _, key := range [][]byte{keySchema, keyNode, keyID, keyEpoch, keyHome} {
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
	case v != nil && (len(v) != 1 || v[0] > schema):
		return fmt.Errorf("%w (schema %d, this one knows %d)", ErrNewer, v, schema)
	}
	if v := values["node"]; v != nil && db.opts.Node != "" && string(v) != db.opts.Node {
		return fmt.Errorf("%w: it is %q's, this node is %q: give each node its own data folder", ErrForeign, v, db.opts.Node)
	}
	db.opts.Node = cmp.Or(db.opts.Node, string(values["node"]))
	db.copy = values["home"] != nil && !bytes.Equal(values["home"], home)
	if copy(db.id[:], values["id"]); db.id == uuid.Nil || db.copy {
		db.id = uuid.New()
	}
	var last uuid.UUID
	copy(last[:], values["epoch"])
	if db.epoch = uuid.Must(uuid.NewV7()); bytes.Compare(db.epoch[:], last[:]) <= 0 {
		db.epoch = next(last)
	}
	db.first = db.epoch
	if db.copy {
		if err := suspect(tx); err != nil {
			return err
		}
	}
	for _, kv := range [][2][]byte{{keySchema, {schema}}, {keyNode, []byte(db.opts.Node)}, {keyID, db.id[:]}, {keyEpoch, db.epoch[:]}, {keyHome, home}} {
		if err := meta.Put(kv[0], seal(kv[0], kv[1])); err != nil {
			return err
		}
	}
	return nil
}

// suspect marks what waits in the inbox of a copy: the original, or another copy,
// may have begun to run it. It is done by the opening that finds out, since the
// next one does not.
func suspect(tx *bolt.Tx) error {
	in := tx.Bucket(bucketInbox)
	return in.ForEachBucket(func(name []byte) error {
		queue := in.Bucket(name)
		marked := map[string]pending{}
		err := queue.ForEach(func(k, v []byte) error {
			p, err := decodePending(k, v)
			if p.started.IsZero() {
				p.started = time.Now()
				marked[string(k)] = p
			}
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
// has the same one. What waits in the inbox is marked as that of a copy is.
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
	})
}

// Outlive renews the epoch, above met: a receiver has met that one of a node with
// this name, and refuses all that are below. It is for who knows that the other
// does not serve any more. What is accepted from now on has places above.
func (db *DB) Outlive(met uuid.UUID) error {
	if met[0] >= 0x80 {
		return fmt.Errorf("epoch %s is of a time far from now: it is not believed", met)
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

func (db *DB) countOutbox(tx *bolt.Tx) error {
	out, roads := tx.Bucket(bucketOutbox), tx.Bucket(bucketRoads)
	return out.ForEachBucket(func(name []byte) error {
		o := db.stat(string(name))
		if v := roads.Get(name); v != nil {
			r, err := decodeRoad(name, v)
			if err != nil {
				return err
			}
			o.acked, o.settled, o.store = r.acked, r.settled, r.store
		}
		return out.Bucket(name).ForEach(func(k, v []byte) error {
			s, err := decodeSlot(k, v)
			if err != nil {
				return err
			}
			db.count(o, readPlace(k), s, 1)
			return nil
		})
	})
}

// countEnded counts the history: what ended, and is not asked about any more.
func (db *DB) countEnded(tx *bolt.Tx) error {
	db.ended = 0
	return tx.Bucket(bucketStates).ForEach(func(k, v []byte) error {
		ended, unknown, err := hasEnded(k, v)
		if unknown {
			ended, _, _, err = db.forgettable(tx, k, tx.Bucket(bucketMessages).Get(k))
		}
		if ended {
			db.ended++
		}
		return err
	})
}

// count keeps the numbers of a subject; n is 1 for an entry that came, -1 for
// one that went.
func (db *DB) count(o *outStat, p message.Place, s slot, n int) {
	switch {
	case s.void && n > 0:
		o.voids[p] = true
	case s.void:
		delete(o.voids, p)
	case p.Compare(o.acked) > 0:
		o.waiting += n
	default:
		o.awaiting += n
	}
}

func (db *DB) countInbox(tx *bolt.Tx) error {
	in := tx.Bucket(bucketInbox)
	return in.ForEachBucket(func(name []byte) error {
		n := 0
		err := in.Bucket(name).ForEach(func(k, v []byte) error {
			n++
			_, err := decodePending(k, v)
			return err
		})
		db.inbox += n
		if n > 0 {
			db.inboxes[string(name)] = n
		}
		return err
	})
}

// verifyAll is the size up to which opening reads the whole file: a bit that
// flipped in a page, and not in a record, can hide records without a trace.
const verifyAll = 64 << 20

// preread walks a journal of ordinary size before it is opened for writing,
// which walks it too, but on a goroutine of bbolt's where an access beyond the
// map cannot be caught.
func preread(path string) error {
	fi, err := os.Stat(path)
	if err != nil || fi.Size() > verifyAll {
		return err
	}
	var b *bolt.DB
	err = guarded(func() (err error) {
		b, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
		if err != nil {
			return err
		}
		return b.View(readAll)
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrLocked
	case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if b != nil {
		err = errors.Join(err, b.Close())
	}
	return err
}

// readAll reads every record there is a way to.
func readAll(tx *bolt.Tx) error {
	var problems []string
	for _, name := range buckets {
		b := tx.Bucket(name)
		if b == nil {
			return fmt.Errorf("%w: it has no bucket %q: it is no journal of steward, or was cut", ErrCorrupt, name)
		}
		problems = append(problems, checkRecords(tx, name, b, nil)...)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %s (%d problems); restore it from a backup, or move it away to begin without history", ErrCorrupt, problems[0], len(problems))
	}
	return nil
}

func verifySmall(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketRoads, bucketLanes, bucketFences, bucketPeers, bucketNotes} {
		err := tx.Bucket(name).ForEach(func(k, v []byte) error {
			_, err := unseal(name, k, v)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
