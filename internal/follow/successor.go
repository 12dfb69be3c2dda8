package follow

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What rotation puts after a name, and what it may put before the name's ending.
var (
	turnEnd = regexp.MustCompile(`^[-._]([0-9][-0-9._T:]*|old|prev)$`)
	dateEnd = regexp.MustCompile(`^[-._][0-9][-0-9._T:]*$`)
)

// rotatedFrom reports whether name is one that a file gets that was called first.
func rotatedFrom(first, name string) bool {
	if end, ok := strings.CutPrefix(name, first); ok && turnEnd.MatchString(end) {
		return true
	}
	ext := filepath.Ext(first)
	date, ok := strings.CutPrefix(name, strings.TrimSuffix(first, ext))
	if ok {
		date, ok = strings.CutSuffix(date, ext)
	}
	return ok && dateEnd.MatchString(date)
}

// beside are the unknown files beside x that have names of rotated ones and were
// written after x was last looked at, the oldest first.
func (t *tail) beside(x *file, folders folders) ([]entry, error) {
	entries, err := folders.list(filepath.Dir(x.Real))
	if err != nil {
		return nil, err
	}
	var found []entry
	for _, e := range entries {
		if e.mtime >= x.Mtime && rotatedFrom(filepath.Base(x.Real), filepath.Base(e.path)) && !t.known(e.inode) {
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, entry.compare)
	return found, nil
}

// adopt takes up the files between the last one that is known of a path and the
// one that has that name now: they were rotated before anyone saw them. It
// returns what each path led to when they were looked for: only that may follow.
func (t *tail) adopt(folders folders, now time.Time) map[string]inode {
	last, unsure := map[string]*file{}, map[string]bool{}
	for _, x := range t.files {
		last[x.Path] = x
		unsure[x.Path] = unsure[x.Path] || x.unsure || x.truncated
	}
	next := map[string]inode{}
	for _, x := range slices.Clone(t.files) {
		if last[x.Path] != x || x.live {
			continue
		}
		next[x.Path] = inode{}
		if unsure[x.Path] {
			t.again(now)
			continue
		}
		if err := t.adoptAfter(x, folders, now); err != nil {
			unsure[x.Path] = true
			t.again(now)
			t.stumble(x.Path, err)
			continue
		}
		next[x.Path] = t.present(x, folders)
	}
	for _, x := range slices.Clone(t.files) {
		if x.buried && !unsure[x.Path] {
			t.drop(x)
		}
	}
	return next
}

// adoptAfter takes up all that came after x and lost its name. An error means
// that some may be left, and nothing younger may be taken up.
func (t *tail) adoptAfter(x *file, folders folders, now time.Time) error {
	found, err := t.beside(x, folders)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(e entry) bool {
		return t.isPassed(e, now) || x.f != nil && e.size >= probe && e.copies(x, now)
	})
	_, err = t.takeUp(x.Path, x.Real, nil, found, folders, now)
	return err
}

// present is the inode that x's path led to when the folder was listed.
func (t *tail) present(x *file, folders folders) inode {
	real, err := filepath.EvalSymlinks(x.Path)
	if err != nil {
		return inode{}
	}
	if filepath.Dir(real) != filepath.Dir(x.Real) { // a link that leads elsewhere now
		fi, err := os.Stat(real)
		if err != nil {
			return inode{}
		}
		ino, _ := inodeOf(fi)
		return ino
	}
	entries, _ := folders.list(filepath.Dir(x.Real)) // listed before
	for _, e := range entries {
		if e.path == real {
			return e.inode
		}
	}
	return inode{}
}

// takeOver goes on in the copy of a truncated file, if there is one.
func (t *tail) takeOver(x *file, folders folders, now time.Time) (bool, error) {
	if x.HeadLen == 0 {
		return false, nil
	}
	found, err := t.beside(x, folders)
	if err != nil {
		return false, err
	}
	for _, e := range slices.Backward(found) {
		f, fi, ino, err := openRegular(e.path)
		if err != nil {
			return false, err
		}
		same, err := x.sameAs(f, fi.Size())
		if ino != e.inode {
			err = errMoved
		}
		if err != nil || !same {
			_ = f.Close() // only read
			if err != nil {
				return false, err
			}
			continue
		}
		x.close()
		x.f, x.at, x.quiet = f, e.path, now
		x.live, x.truncated, x.resting, x.Rotated, x.Missing, x.loaded = false, false, false, false, false, false
		x.Device, x.Inode, x.dirty = ino.device, ino.number, true
		t.f.Log.Info("truncated: going on in its copy", "path", x.Path, "copy", e.path)
		return true, nil
	}
	return false, nil
}

// copyInProgress reports whether e is a copy of a file that is followed, made to
// truncate that file next. What it holds is read there.
func (t *tail) copyInProgress(e entry, now time.Time) bool {
	for _, x := range t.files {
		if x.f == nil || !x.live || filepath.Dir(x.Real) != filepath.Dir(e.path) ||
			!rotatedFrom(filepath.Base(x.Real), filepath.Base(e.path)) {
			continue
		}
		if x.verify(now) != nil || e.copies(x, now) {
			return true // or it changes this moment, and the next scan will tell
		}
	}
	return false
}

// copies reports whether all of e stands at the start of x too, going by its
// first and last bytes.
func (e entry) copies(x *file, now time.Time) bool {
	if x.verify(now) != nil || e.size > x.Size {
		return false
	}
	f, _, _, err := openRegular(e.path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	n := min(probe, e.size)
	return equalAt(f, x.f, 0, n) && equalAt(f, x.f, e.size-n, n)
}

func equalAt(a, b io.ReaderAt, at, n int64) bool {
	p, q := make([]byte, n), make([]byte, n)
	i, _ := a.ReadAt(p, at) // a short read compares as different
	j, _ := b.ReadAt(q, at)
	return int64(i) == n && int64(j) == n && bytes.Equal(p, q)
}
