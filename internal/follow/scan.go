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
	t.meet()
	t.match()
	for _, x := range slices.Clone(t.files) {
		t.locate(x, folders, now)
	}
	next := t.adopt(folders, now)
	t.unseen(next, folders, now)
	t.discover(next, folders, now)
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

// replaced deals with a file that no longer holds what was read from it: its
// inode belongs to something new. Where a copy of it was made, that is read on.
func (t *tail) replaced(x *file, folders folders, now time.Time) {
	x.truncated = true
	delete(folders, filepath.Dir(x.Real)) // the copy may be younger
	if x.Offset == 0 {
		t.restart(x, folders, now)
		return
	}
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

// restart forgets x, of which nothing was read: what is beside it, and what it is
// now, are taken up in their order.
func (t *tail) restart(x *file, folders folders, now time.Time) {
	found, err := t.beside(x, folders)
	if err != nil {
		t.again(now)
		t.stumble(x.Path, err)
		return
	}
	kept := func(e entry) bool { return e.holds(x.position) }
	if !x.Missing && x.unread() > 0 && !slices.ContainsFunc(found, kept) {
		if t.rotatedSince(filepath.Dir(x.Path), folders)[x.Path] {
			t.again(now)
			return
		}
		t.report(x.Path, fmt.Errorf("%s was truncated or replaced before it was read, and there is no copy of it: %s cannot be read any more", x.Path, x.lost()))
	}
	t.drop(x)
}

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

// parents are the folders that the pattern names.
func (t *tail) parents() []string {
	dirs := []string{filepath.Dir(t.source.Path)}
	if strings.ContainsAny(dirs[0], `*?[\`) {
		dirs, _ = filepath.Glob(dirs[0]) // the pattern was checked
	}
	return dirs[:min(len(dirs), MaxFiles)]
}

// watched are the folders in which something can happen.
func (t *tail) watched() map[string]bool {
	dirs := map[string]bool{}
	for _, dir := range t.parents() {
		dirs[dir] = true
	}
	for _, x := range t.files {
		if x.f != nil && len(dirs) < 2*MaxFiles {
			dirs[filepath.Dir(x.Real)] = true
		}
	}
	return dirs
}
