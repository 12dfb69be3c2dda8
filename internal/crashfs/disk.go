// Package crashfs is a file system in memory that can lose its power: what was
// not synced is gone then, or is there in part. It shows what a program has
// really made durable.
package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Mode says what a loss of power leaves.
type Mode string

// The modes.
const (
	Lost   Mode = "lost"   // nothing that was not synced; any fsync keeps all names, as ext4's journal does
	Torn   Mode = "torn"   // of what was not synced any pages, and all names or none
	Strict Mode = "strict" // names only by an fsync of their folder, which is all that POSIX promises; but a rename is one step
)

// Fault is what the disk says to who writes; zero is a good disk.
type Fault struct {
	Write syscall.Errno // of a write
	Sync  syscall.Errno // of an fsync; what it was to bring to the disk is lost for good
	Names syscall.Errno // of making, renaming and deleting files
	Full  bool          // there is no free byte, and statfs says so
	Room  int64         // bytes by which files may grow until there is none; 0: enough
}

// Disk is what lies on the file system, as it is seen and as it would be found
// after a loss of power. Methods may be called concurrently.
type Disk struct {
	mode Mode

	mu     sync.Mutex
	power  power
	turned *sync.Cond // power changed
	life   int        // number of the present time with power
	files  map[uint64]*file
	last   uint64 // inode number
	fault  Fault
	syncs  int
	moves  [][2]uint64 // folders between which something was renamed, and that is not durable yet
}

type power int

const (
	on     power = iota
	frozen       // whoever wants something waits
	off          // and gets an error
)

const (
	rootIno = 1
	page    = 4096
	size    = 4 << 30 // of the disk
)

// file is a file or a folder.
type file struct {
	ino     uint64
	mode    uint32
	changed time.Time

	data    []byte
	kept    []byte   // what is on the disk
	pending []change // what is not, in order

	names map[string]uint64 // of a folder
	safe  map[string]uint64 // those on the disk
}

// change is a write that was not synced; without data it sets the length.
type change struct {
	at   int64
	data []byte
}

// New makes an empty disk.
func New(mode Mode) *Disk {
	d := &Disk{mode: mode, files: map[uint64]*file{}, last: rootIno - 1}
	d.turned = sync.NewCond(&d.mu)
	d.make(syscall.S_IFDIR | 0o755)
	return d
}

func (d *Disk) make(mode uint32) *file {
	d.last++
	f := &file{ino: d.last, mode: mode, changed: time.Now()}
	if f.dir() {
		f.names, f.safe = map[string]uint64{}, map[string]uint64{}
	}
	d.files[f.ino] = f
	return f
}

func (f *file) dir() bool { return f.mode&syscall.S_IFMT == syscall.S_IFDIR }

// Freeze stops all that goes on, as it is at this moment.
func (d *Disk) Freeze() { d.turn(frozen) }

// Off takes the power: what was not durable is gone, as the mode says, and who
// waits gets an error.
func (d *Disk) Off(rng *rand.Rand) {
	d.mu.Lock()
	names := d.mode == Torn && rng.IntN(2) == 0
	for _, ino := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[ino]
		if d.mode == Torn {
			for _, c := range f.pending {
				f.tear(c, rng)
			}
		}
		f.data, f.pending = slices.Clone(f.kept), nil
		if !names {
			f.names = maps.Clone(f.safe)
		}
		f.safe = maps.Clone(f.names)
	}
	d.life++
	d.moves = nil
	d.mu.Unlock()
	d.turn(off)
}

// On gives the power back. Nobody may have files of it open.
func (d *Disk) On() { d.turn(on) }

func (d *Disk) turn(p power) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.power = p
	d.turned.Broadcast()
}

// Break gives the disk a fault, or mends it.
func (d *Disk) Break(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// Syncs is how often something was synced.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Life is the number of the present time with power: who holds a file of another one
// would have died with that.
func (d *Disk) Life() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.life
}

// enter lets an operation in, which calls mu.Unlock at its end; or says no.
func (d *Disk) enter() syscall.Errno {
	d.mu.Lock()
	life := d.life
	for d.power == frozen {
		d.turned.Wait()
	}
	if d.power == off || d.life != life {
		d.mu.Unlock()
		return syscall.EIO
	}
	return 0
}

// tear brings some pages of c to the disk.
func (f *file) tear(c change, rng *rand.Rand) {
	if c.data == nil {
		if rng.IntN(2) == 0 {
			f.kept = c.apply(f.kept)
		}
		return
	}
	for from := 0; from < len(c.data); {
		to := min(len(c.data), from+page-int((c.at+int64(from))%page))
		if rng.IntN(2) == 0 {
			f.kept = change{c.at + int64(from), c.data[from:to]}.apply(f.kept)
		}
		from = to
	}
}

func (c change) apply(b []byte) []byte {
	end := c.at + int64(len(c.data))
	switch {
	case c.data == nil && int64(len(b)) > c.at:
		return b[:c.at]
	case int64(len(b)) < end:
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.at:], c.data)
	return b
}

// write changes f, as it is seen.
func (d *Disk) write(f *file, c change) syscall.Errno {
	if e := d.fault.Write; e != 0 {
		return e
	}
	if d.fault.Room > 0 && !d.grow(c.at+int64(len(c.data))-int64(len(f.data))) {
		return syscall.ENOSPC
	}
	f.data, f.changed = c.apply(f.data), time.Now()
	f.pending = append(f.pending, c)
	return 0
}

// grow takes n bytes of the room that is left, if there are so many.
func (d *Disk) grow(n int64) bool {
	if n <= 0 {
		return true
	}
	if n >= d.fault.Room {
		return false
	}
	d.fault.Room -= n
	return true
}

// free is how many bytes of it are free.
func (d *Disk) free() int64 {
	switch {
	case d.fault.Full:
		return 0
	case d.fault.Room > 0:
		return d.fault.Room
	}
	return size
}

// sync brings f to the disk, and the names that go with it.
func (d *Disk) sync(f *file) syscall.Errno {
	if e := d.fault.Sync; e != 0 {
		f.pending = nil // the kernel takes its pages for clean from now on
		return e
	}
	d.syncs++
	for _, c := range f.pending {
		f.kept = c.apply(f.kept)
	}
	f.pending = nil
	if d.mode != Strict {
		for _, g := range d.files {
			g.safe = maps.Clone(g.names)
		}
	} else if f.dir() {
		d.keepNames(f.ino)
	}
	return 0
}

// keepNames makes the names in a folder durable, and those in the folders that
// something was renamed from or to: no file is in none of them.
func (d *Disk) keepNames(ino uint64) {
	d.files[ino].safe = maps.Clone(d.files[ino].names)
	for i, m := range d.moves {
		if m[0] == ino || m[1] == ino {
			d.moves = slices.Delete(d.moves, i, i+1)
			d.keepNames(m[0])
			d.keepNames(m[1])
			return
		}
	}
}
