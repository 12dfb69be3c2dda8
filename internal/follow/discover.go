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
func (t *tail) discover(next map[string]inode, folders folders, now time.Time) {
	if t.fresh && len(t.matched) == 0 {
		t.f.Log.Info("nothing to follow yet", "path", t.source.Path)
	}
	var opened []*file
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
			break
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
			if passing(err) {
				t.again(now)
			}
			t.stumble(e.path, err)
			continue
		}
		t.add(x)
		opened = append(opened, x)
	}
	t.settle(opened, folders, now)
	t.fresh = false
}

// settle keeps new files if no file was rotated between the listing of their
// folder and their opening: it would be older than they are.
func (t *tail) settle(opened []*file, folders folders, now time.Time) {
	stirred := map[string]map[string]bool{}
	for _, x := range opened {
		dir := filepath.Dir(x.Path)
		if stirred[dir] == nil && !t.fresh { // at the first look all of them are history
			stirred[dir] = t.rotatedSince(dir, folders)
		}
		if stirred[dir][x.Path] {
			t.drop(x)
			t.again(now)
			continue
		}
		x.ready = x.HeadLen > 0
		t.f.Log.Info("following", "path", x.Path, "offset", x.Offset)
	}
}

// rotatedSince tells which paths have other rotated files by now than those that
// were listed.
func (t *tail) rotatedSince(dir string, listed folders) map[string]bool {
	before, err := listed.list(dir)
	var after []entry
	if err == nil {
		after, err = listOnce(dir)
	}
	differ := map[string]bool{}
	if err != nil {
		for _, e := range t.matched {
			differ[e.path] = passing(err)
		}
		return differ
	}
	was := map[string]inode{}
	for _, e := range before {
		was[e.path] = e.inode
	}
	for _, e := range after {
		if was[e.path] != e.inode {
			differ[t.firstName(e)] = true
		}
		delete(was, e.path)
	}
	for path := range was {
		differ[t.firstName(entry{path: path})] = true
	}
	return differ
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
