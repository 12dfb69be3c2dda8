package follow

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

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
