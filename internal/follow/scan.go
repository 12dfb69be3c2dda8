package follow

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scan brings what is known in line with what the folders hold. It stores nothing.
func (t *tail) scan(now time.Time) {
	folders := folders{}
	t.match()
	for _, x := range slices.Clone(t.files) {
		t.locate(x, folders, now)
	}
	t.discover(t.adopt(folders, now), now)
	t.forget(now)
	t.watch.set(t.watched())
	t.told[1], t.told[0] = t.told[0], nil
}

// locate finds out where x is, and whether it is still what it was.
func (t *tail) locate(x *file, folders folders, now time.Time) {
	if x.f == nil {
		t.find(x, folders, now)
	}
	if x.f == nil {
		return
	}
	err := x.verify(now)
	if x.truncated || errors.Is(err, errTruncated) {
		t.replaced(x, folders, now)
		return
	}
	if err != nil {
		t.complain(x.at, err)
	}
	if x.Missing {
		x.Missing, x.dirty = false, true
	}
	x.loaded = false
	t.place(x, now)
}

// place finds out whether x still has its name.
func (t *tail) place(x *file, now time.Time) {
	live := false
	if fi, err := os.Stat(x.Path); err == nil {
		ino, ok := inodeOf(fi)
		live = ok && ino == x.inode()
	}
	switch {
	case live:
		x.at = x.Path
		x.dirty = x.dirty || x.Rotated
		x.Rotated = false
	case x.live:
		x.quiet = now
	}
	x.live = live
}

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

// replaced deals with a file that no longer holds what was read from it: its
// inode belongs to something new. Where a copy of it was made, that is read on.
func (t *tail) replaced(x *file, folders folders, now time.Time) {
	x.truncated = true
	took, err := t.takeOver(x, folders, now)
	if err != nil && passing(err) {
		t.again(now)
		return
	}
	if err != nil {
		t.complain(x.Path, err)
	}
	if took {
		return
	}
	if !x.Missing && (x.unread() > 0 || x.loaded && !x.done()) {
		t.report(x.Path, fmt.Errorf("%s was truncated or replaced, and there is no copy of it: %s cannot be read any more", x.Path, x.lost()))
	}
	x.close()
	x.buried, x.truncated, x.live = true, false, false
}

// discover takes up the files that match and are not known.
//
// next says what may follow where a path led to another file before.
func (t *tail) discover(next map[string]inode, now time.Time) {
	if t.fresh && len(t.matched) == 0 {
		t.f.Log.Info("nothing to follow yet", "path", t.source.Path)
	}
	for _, e := range t.matched {
		if t.known(e.inode) {
			continue
		}
		if only, ok := next[e.path]; ok && e.inode != only {
			t.again(now) // it was rotated since
			continue
		}
		if t.copyInProgress(e, now) {
			continue
		}
		if !t.room() {
			return
		}
		x, err := newFile(e.path, e.path, now)
		if err == nil && x.inode() != e.inode {
			x.close()
			err = errMoved
		}
		if err == nil && t.fresh && t.source.FromEnd {
			if err = x.skipToEnd(t.f.MaxLine); err != nil {
				x.close()
			}
		}
		if err != nil {
			t.stumble(e.path, err)
			continue
		}
		t.f.Log.Info("following", "path", e.path, "offset", x.Offset)
		t.add(x)
	}
	t.fresh = false
}

// match notes the regular files that match the pattern, oldest first.
func (t *tail) match() {
	t.matched = t.matched[:0]
	paths, err := filepath.Glob(t.source.Path)
	if err != nil {
		t.complain(t.source.Path, err)
	}
	for _, path := range paths {
		fi, err := os.Stat(path)
		if err != nil {
			t.stumble(path, err)
			continue
		}
		if !fi.Mode().IsRegular() {
			if !fi.IsDir() {
				t.stumble(path, fmt.Errorf("%s: %w", path, errNotRegular))
			}
			continue
		}
		if ino, ok := inodeOf(fi); ok {
			t.matched = append(t.matched, entry{path: path, inode: ino, size: fi.Size(), mtime: fi.ModTime().UnixNano()})
		}
	}
	slices.SortStableFunc(t.matched, entry.compare)
}

// again asks for another scan soon: what this one looked at was on the move.
func (t *tail) again(now time.Time) { t.scanAt = now.Add(t.f.Poll / 10) }

// passing reports whether err is that of files on the move.
func passing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMoved) || errors.Is(err, errRestless)
}

// stumble complains of err, unless the next scan can do better.
func (t *tail) stumble(path string, err error) {
	if !passing(err) {
		t.complain(path, fmt.Errorf("%w: it is not followed", err))
	}
}

// known reports whether an inode is that of a file that is followed, or missing:
// then the next scan finds out whether it is the same file.
func (t *tail) known(ino inode) bool {
	return slices.ContainsFunc(t.files, func(x *file) bool { return !x.buried && x.inode() == ino })
}

// room reports whether one more file may be followed, and complains if not.
func (t *tail) room() bool {
	n := 0
	for _, x := range t.files {
		if x.gone.IsZero() && !x.buried {
			n++
		}
	}
	if n >= MaxFiles {
		t.complain(t.source.Path, fmt.Errorf("more than %d files: the others wait; narrow the pattern, or write several entries", MaxFiles))
	}
	return n < MaxFiles
}

// forget drops what is missing for long, or too much of it.
func (t *tail) forget(now time.Time) {
	missing := 0
	for _, x := range slices.Backward(slices.Clone(t.files)) {
		if x.gone.IsZero() {
			continue
		}
		if missing++; missing > MaxFiles || now.Sub(x.gone) >= forgetPolls*t.f.Poll {
			t.drop(x)
		}
	}
}

// watched are the folders in which something can happen.
func (t *tail) watched() map[string]bool {
	dirs := map[string]bool{}
	parents := []string{filepath.Dir(t.source.Path)}
	if strings.ContainsAny(parents[0], `*?[\`) {
		parents, _ = filepath.Glob(parents[0]) // the pattern was checked
	}
	for _, dir := range parents[:min(len(parents), MaxFiles)] {
		dirs[dir] = true
	}
	for _, x := range t.files {
		if x.f != nil && len(dirs) < 2*MaxFiles {
			dirs[filepath.Dir(x.Real)] = true
		}
	}
	return dirs
}
