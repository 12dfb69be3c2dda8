package store

import (
	"cmp"
	"errors"
	"sync"
	"syscall"
	"time"
)

// diskSpace tells whether there is room for new work. What was begun may use
// the rest: a result that cannot be kept would be a truth lost.
type diskSpace struct {
	dir string
	min int64 // bytes; 0: 64 MiB, or 5% of a small disk

	mu   sync.Mutex
	at   time.Time
	low  bool
	free int64
}

// Low reports whether new work is to be refused. It asks the disk at most five
// times a second.
func (d *diskSpace) Low() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.at) >= 200*time.Millisecond || now.Before(d.at) {
		d.at = now
		var st syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &st); err == nil {
			d.free = int64(st.Bavail) * st.Bsize
			limit := cmp.Or(d.min, min(64<<20, int64(st.Blocks)*st.Bsize/20))
			d.low = d.free < limit
		}
	}
	return d.low
}

// NoRoom reports whether err says that there is no room: for the journal, or for a
// file beside it.
func NoRoom(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Free is the number of bytes that were free at the last look.
func (d *diskSpace) Free() int64 {
	d.Low()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free
}

// FreeBytes is how much room the disk of the journal has.
func (db *DB) FreeBytes() int64 { return db.space.Free() }
