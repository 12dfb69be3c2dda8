package follow

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A file may lose its name before anything of it was read. Nobody knows its inode
// then: only the name that rotation gave it tells where it belongs. So the rotated
// files beside the followed ones are looked at too. Each is taken up, or passed
// over for as long as it exists.

const (
	maxPassed = 4096            // files passed over in one source
	timeStep  = 2 * time.Second // within it a folder may change without another time of change
)

// passed is a rotated file that is not to be read: it was there before its source
// was followed, or it appeared while what had its first name was being read.
type passed struct {
	Inode   uint64 `json:"inode"` // no device: a reboot may number those anew
	HeadLen int    `json:"headLen"`
	Head    string `json:"head"`

	seen time.Time
}

func (p *passed) is(e entry) bool {
	if e.inode.number != p.Inode || p.HeadLen == 0 {
		return e.inode.number == p.Inode && e.size == 0
	}
	return e.holds(position{HeadLen: p.HeadLen, Head: p.Head})
}

// glance tells whether a folder must be listed again.
type glance struct {
	at, changed time.Time
	open        bool // something in it is not decided
}

// unseen decides on the rotated files that nobody knows. Where it cannot yet,
// nothing younger may be taken up: it says so in next, as adopt does.
func (t *tail) unseen(next map[string]inode, folders folders, now time.Time) {
	found, failed := t.strangers(folders, now)
	for _, e := range t.matched {
		if dir := filepath.Dir(e.path); failed[dir] != nil {
			next[e.path] = inode{}
			t.again(now)
			t.stumble(dir, failed[dir])
		}
	}
	if t.passed == nil { // the first look: all that is there is history
		if len(failed) > 0 {
			clear(t.glances)
			return
		}
		t.passed, t.indexDirty = []*passed{}, true
		for _, list := range found {
			t.pass(now, list...)
		}
		clear(found)
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		decided, err := t.decide(path, found[path], folders, now)
		if err != nil {
			next[path] = inode{}
			t.again(now)
		}
		if !decided {
			t.glances[filepath.Dir(path)].open = true
		}
	}
	t.admit(next, now)
	t.forgetPassed(now)
}

// meet notes the heads of files of which nothing was read, before a scan looks at
// what is beside them.
func (t *tail) meet() {
	for _, x := range t.files {
		if x.f == nil || x.Offset > 0 {
			continue
		}
		if x.HeadLen == 0 {
			if err := x.meet(); err != nil {
				t.complain(x.at, err)
			}
		}
		x.met = x.HeadLen > 0
	}
}

// admit lets files be read that still begin as they did before the scan: what is
// older and lost its name was there to be seen.
func (t *tail) admit(next map[string]inode, now time.Time) {
	for _, x := range t.files {
		if _, blocked := next[x.Path]; t.waits(x) && !blocked {
			x.ready = x.verify(now) == nil
		}
	}
}

// waits reports whether x was met, and not admitted yet.
func (t *tail) waits(x *file) bool { return x.met && !x.ready && x.live && x.Offset == 0 }

// forgetPassed drops what was not met for long. Where there were too many, nobody
// knows what the rest is, and all stays as it is.
func (t *tail) forgetPassed(now time.Time) {
	if n := len(t.passed); n < maxPassed {
		t.passed = slices.DeleteFunc(t.passed, func(p *passed) bool { return now.Sub(p.seen) >= forgetPolls*t.f.Poll })
		t.indexDirty = t.indexDirty || len(t.passed) < n
	}
}

// strangers are the rotated files that nobody knows, in the folders that changed,
// by the path that they had first, and the errors of those that cannot be listed.
func (t *tail) strangers(folders folders, now time.Time) (found map[string][]entry, failed map[string]error) {
	found, failed = map[string][]entry{}, map[string]error{}
	parents := t.parents()
	maps.DeleteFunc(t.glances, func(dir string, _ *glance) bool { return !slices.Contains(parents, dir) })
	for _, dir := range parents {
		if !t.stirred(dir, now) {
			continue
		}
		entries, err := folders.list(dir)
		if err != nil && passing(err) {
			delete(t.glances, dir)
			failed[dir] = err
		}
		for _, e := range entries {
			if path := t.firstName(e); path != "" && !t.known(e.inode) && !t.isPassed(e, now) && !t.isLinked(e) {
				found[path] = append(found[path], e)
			}
		}
	}
	return found, failed
}

// stirred reports whether names may have changed in dir since it was listed.
func (t *tail) stirred(dir string, now time.Time) bool {
	var changed time.Time
	if fi, err := os.Stat(dir); err == nil {
		changed = fi.ModTime()
	}
	g := t.glances[dir]
	waits := slices.ContainsFunc(t.files, func(x *file) bool { return t.waits(x) && filepath.Dir(x.Path) == dir })
	if g != nil && !g.open && !waits && g.changed.Equal(changed) && g.at.Sub(changed) > timeStep && now.Sub(g.at) < restPolls*t.f.Poll {
		return false
	}
	t.glances[dir] = &glance{at: now, changed: changed}
	return true
}

// firstName is the path that e had if it was followed until rotation renamed it;
// empty if its name is no such name, or is one to be followed itself.
func (t *tail) firstName(e entry) string {
	dir, name := filepath.Split(e.path)
	pattern := filepath.Base(t.source.Path)
	matches := func(name string) bool {
		ok, _ := filepath.Match(pattern, name) // the pattern was checked
		return ok
	}
	if matches(name) {
		return ""
	}
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for i := 1; i < len(name); i++ {
		if strings.IndexByte("-._", name[i]) < 0 {
			continue
		}
		for _, first := range []string{name[:i], stem[:min(i, len(stem))] + ext} {
			if rotatedFrom(first, name) && matches(first) {
				return filepath.Join(dir, first)
			}
		}
	}
	return ""
}

// isLinked reports whether a file that matches is a link to e.
func (t *tail) isLinked(e entry) bool {
	return slices.ContainsFunc(t.matched, func(m entry) bool { return m.inode == e.inode && m.leads() })
}

// leads reports whether e's path still leads to it.
func (e entry) leads() bool {
	fi, err := os.Stat(e.path)
	if err != nil {
		return false
	}
	ino, _ := inodeOf(fi)
	return ino == e.inode
}

// decide takes up or passes over files that were called path before anyone saw
// them. An error says that they are on the move.
func (t *tail) decide(path string, found []entry, folders folders, now time.Time) (decided bool, err error) {
	var last *file
	for _, x := range t.files {
		if x.Path == path {
			last = x
		}
	}
	slices.SortStableFunc(found, entry.compare)
	if len(t.passed) >= maxPassed {
		t.complain(t.source.Path, fmt.Errorf("more than %d rotated files are beside it: what is renamed before anything of it was read is not found; delete old ones", maxPassed))
		return true, nil
	}
	switch {
	case last == nil:
	case !last.live || last.truncated:
		return false, nil // what came after it is adopted
	case t.present(last, folders) != last.inode() || last.verify(now) != nil:
		return false, errMoved // since it was looked at
	case last.Offset > 0: // it is read, so what is beside it was read or copied
		t.pass(now, found...)
		return true, nil
	default:
		i := slices.IndexFunc(found, func(e entry) bool { return e.mtime >= last.Mtime })
		if i < 0 {
			i = len(found)
		}
		t.pass(now, found[:i]...)
		found = found[i:]
	}
	real, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	return t.takeUp(path, filepath.Join(real, filepath.Base(path)), last, found, folders, now)
}

// takeUp follows found, which were called path, or real without symbolic links,
// before what has that name now: last, of which nothing was read, or a file that
// nobody knows.
func (t *tail) takeUp(path, real string, last *file, found []entry, folders folders, now time.Time) (decided bool, err error) {
	present, err := newFile(path, path, now)
	if err != nil && passing(err) && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	copied, added := false, false
	defer func() {
		if present != nil && !added {
			present.close()
		}
	}()
	decided = true
	for _, e := range found {
		if present != nil && present.Size > 0 && e.copies(present, now) {
			decided, copied = false, true // made to truncate that next: it is read there
			continue
		}
		if !t.room() {
			return false, errMoved
		}
		y, err := newFile(path, e.path, now)
		if err == nil && y.inode() != e.inode {
			y.close()
			err = errMoved
		}
		switch {
		case errors.Is(err, fs.ErrPermission):
			continue // it is not meant for us
		case passing(err):
			return false, err
		case err != nil:
			t.stumble(e.path, err)
			decided = false
			continue
		}
		if last != nil {
			t.drop(last)
			last = nil
		}
		y.Real = real
		t.f.Log.Info("following", "path", e.path, "rotated", path)
		t.add(y)
	}
	if copied && last == nil && !t.known(present.inode()) { // discover could come too late, after the truncation
		if added = !t.rotatedSince(filepath.Dir(path), folders)[path]; !added {
			return false, errMoved
		}
		present.ready = true
		t.add(present)
	}
	return decided, nil
}

func (t *tail) isPassed(e entry, now time.Time) bool {
	for _, p := range t.passed {
		if p.is(e) {
			p.seen = now
			return true
		}
	}
	return false
}

// pass notes that files are not to be read.
func (t *tail) pass(now time.Time, found ...entry) {
	for _, e := range found[:min(len(found), maxPassed-len(t.passed))] {
		p := &passed{Inode: e.inode.number, seen: now}
		if x, err := newFile(e.path, e.path, now); err == nil {
			p.HeadLen, p.Head = x.HeadLen, x.Head
			x.close()
		}
		t.passed = append(t.passed, p)
		t.indexDirty = true
	}
}
