package store

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Disk is how much room the disk of the journal has.
type Disk struct {
	Free    int64     // bytes, at the last look
	Reserve int64     // of them, what new work does not get
	Full    string    // why new work is refused; empty if it is not
	Since   time.Time // Full
}

// diskSpace tells whether there is room for new work. What was begun may use
// the rest: a result that cannot be kept would be a truth lost.
type diskSpace struct {
	dir    string
	min    int64         // bytes; 0: 64 MiB, or 5% of a small disk
	turned chan struct{} // of size one: it became full, or has room again

	mu      sync.Mutex
	at      time.Time // of the last look
	refused time.Time // a commit found no room, last
	low     bool
	noted   Disk
}

// refusedHold is for how long a commit that found no room says that the disk is
// full: those that want no more of it succeed in between.
const refusedHold = 2 * time.Second

// Low reports whether new work is to be refused. It asks the disk at most five
// times a second.
func (d *diskSpace) Low() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.at) >= 200*time.Millisecond || now.Before(d.at) {
		d.at = now
		var st syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &st); err == nil {
			d.noted.Free = int64(st.Bavail) * st.Bsize
			d.noted.Reserve = cmp.Or(d.min, min(64<<20, int64(st.Blocks)*st.Bsize/20))
			d.low = d.noted.Free < d.noted.Reserve
		}
	}
	d.note()
	return d.low
}

// refuses notes that a commit found no room.
func (d *diskSpace) refuses() {
	d.mu.Lock()
	d.at, d.refused = time.Time{}, time.Now()
	d.mu.Unlock()
	d.Low()
}

// note keeps why the disk is full, and since when; the caller holds mu.
func (d *diskSpace) note() {
	why := ""
	switch {
	case d.low:
		why = fmt.Sprintf("the disk of %s has %s left, and %s are kept for what was begun", d.dir, Size(d.noted.Free), Size(d.noted.Reserve))
	case time.Since(d.refused) < refusedHold:
		why = "the disk of " + d.dir + " has no room for what is to be written"
	}
	turned := (why == "") != (d.noted.Full == "")
	if d.noted.Full = why; !turned {
		return
	}
	if d.noted.Since = (time.Time{}); why != "" {
		d.noted.Since = time.Now()
	}
	select {
	case d.turned <- struct{}{}:
	default: // somebody is about to look
	}
}

// Size is n bytes for people.
func Size(n int64) string {
	unit := "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if n>>10 < 10<<10 {
			break
		}
		n, unit = n>>10, next
	}
	return fmt.Sprintf("%d %s", n>>10, unit)
}

// NoRoom reports whether err says that there is no room: for the journal, or for a
// file beside it.
func NoRoom(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Disk looks at the disk of the journal.
func (db *DB) Disk() Disk {
	db.space.Low()
	db.space.mu.Lock()
	defer db.space.mu.Unlock()
	return db.space.noted
}

// DiskTurned tells, to one who listens, that the disk became full or has room again.
func (db *DB) DiskTurned() <-chan struct{} { return db.space.turned }
