package follow

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// find looks for a file that is not open, and opens it if there is something to
// read. Until it knows, x is unsure.
func (t *tail) find(x *file, folders folders, now time.Time) {
	x.unsure = true
	at, ino, err := t.whereabouts(x, folders)
	if err == nil && at == "" {
		x.unsure = false
		t.miss(x, now)
		return
	}
	var f *os.File
	if err == nil {
		x.at = at
		if fi, err := os.Stat(at); err == nil && x.rests(fi) {
			x.unsure = false
			return
		}
		var opened inode
		if f, _, opened, err = openRegular(at); err == nil && opened != ino {
			_ = f.Close() // only read
			err = errMoved
		}
	}
	if err != nil {
		x.unsure = passing(err)
		t.stumble(x.Path, err)
		return
	}
	x.dirty = x.dirty || ino != x.inode()
	x.unsure, x.resting, x.gone = false, false, time.Time{}
	x.Device, x.Inode = ino.device, ino.number
	x.f, x.quiet = f, now
}

// whereabouts is the path that leads to x's inode now, or empty. After a reboot a
// file system may have another device number: then what is in the file decides.
func (t *tail) whereabouts(x *file, folders folders) (string, inode, error) {
	for _, path := range []string{x.at, x.Path} {
		if path == "" {
			continue
		}
		if fi, err := os.Stat(path); err == nil {
			if ino, ok := inodeOf(fi); ok && ino == x.inode() {
				return path, ino, nil
			}
		}
	}
	entries, err := folders.list(filepath.Dir(x.Real))
	if err != nil {
		return "", inode{}, err
	}
	for _, e := range append(slices.Clone(t.matched), entries...) {
		if e.inode == x.inode() {
			return e.path, e.inode, nil
		}
	}
	for _, e := range entries {
		if e.inode.number == x.Inode && x.HeadLen > 0 && !t.known(e.inode) && e.holds(x.position) {
			return e.path, e.inode, nil
		}
	}
	return "", inode{}, nil
}

// miss notes that x is nowhere. It may come back: a file system that is not
// mounted, a folder that was moved.
func (t *tail) miss(x *file, now time.Time) {
	x.resting, x.live = false, false
	if x.gone.IsZero() {
		x.gone = now
	}
	if x.Missing || x.done() {
		return
	}
	x.Missing, x.dirty = true, true
	t.report(x.Path, fmt.Errorf("%s is gone, also under another name: %s cannot be read any more", x.Path, x.lost()))
}

// lost says what cannot be read any more of a file that went unwatched.
func (x *file) lost() string {
	if n := x.unread(); n > 0 {
		return fmt.Sprintf("at least %d bytes from byte %d on", n, x.Offset)
	}
	return fmt.Sprintf("whatever was written to it after byte %d", x.Offset)
}
