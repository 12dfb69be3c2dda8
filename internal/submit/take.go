package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
)

// grace is how long a file that somebody has open is left to him. Nearly every
// writer is gone long before.
const grace = time.Second

// dropBatch bounds how many names of the drop folder are held at once.
const dropBatch = 10_000

// growth is how a file that is waited for has changed.
type growth struct {
	info  fs.FileInfo
	first time.Time // when this file was met
	since time.Time // when it changed last
	seen  *survey   // of it as it is, or nil
}

// watched notes how the file at path looks now; the changes are those that
// we saw, so no clock of a file server matters.
func (t *taker) watched(path string, fi fs.FileInfo) (age, still time.Duration) {
	now := time.Now()
	t.looked[path] = true
	g, met := t.growth[path]
	if !met || !os.SameFile(g.info, fi) {
		g = growth{info: fi, first: now, since: now}
	}
	if g.info.Size() != fi.Size() || !g.info.ModTime().Equal(fi.ModTime()) {
		g.info, g.since, g.seen = fi, now, nil
	}
	t.growth[path] = g
	return now.Sub(g.first), now.Sub(g.since)
}

// takeDropped takes the files of the drop folder, in the order of their names.
// Names that begin with a dot or do not end in .json are somebody's work in progress.
func (t *taker) takeDropped(ctx context.Context) error {
	dir := filepath.Join(t.Dir, dropDir)
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(dropBatch)
	d.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".json") && !strings.HasPrefix(n, ".") {
			if err := t.take(ctx, filepath.Join(dir, n), false); err != nil {
				return err
			}
		}
	}
	t.soon = t.soon || len(entries) == dropBatch
	return ctx.Err()
}

// take claims the file at path if it is time to, and works on the claim. A
// stream is a file that writers append to; others are written once.
//
// A file whose last document is whole is claimed as soon as nobody has it open.
// One that ends in half a document is the difficult one: its writer may go on
// through the descriptor that it holds, which follows the file wherever we
// rename it, or by opening the path anew, which would begin another file. So
// while the file is open somewhere it keeps its name, for as long as Quiet; then
// it is claimed, its tail waits in the claim, and goes back to the path when the
// writer leaves it unfinished. When nobody has it open, a stream is split: its
// whole documents are claimed and its tail stays behind under the old name,
// exchanged in one step, under a lease that keeps writers out. Where a system
// cannot do that, everything waits until the tail is whole or Quiet has passed.
func (t *taker) take(ctx context.Context, path string, stream bool) error {
	f, fi, err := openRegular(path)
	if err != nil {
		return t.unopened(path, err)
	}
	defer f.Close()
	if fi.Size() > t.maxBytes {
		return t.rejectFile(path, fmt.Errorf("it has %d bytes: at most %d are taken in one file: split it", fi.Size(), t.maxBytes))
	}
	age, still := t.watched(path, fi)
	if fi.Size() == 0 {
		if stream || still < t.quiet {
			return nil
		}
		return t.rejectFile(path, errors.New("it is empty"))
	}
	hold := lease(f)
	defer release(f, hold)
	if hold == leaseBusy && age < t.grace { // nearly every writer is gone by then
		t.soon = true
		return nil
	}
	seen, err := t.survey(path, source{f, fi.Size()})
	if err != nil {
		t.complain(path, fmt.Errorf("%s: %w", path, err))
		return nil
	}
	delete(t.told, path)
	if now, err := f.Stat(); err != nil || now.Size() != fi.Size() || !now.ModTime().Equal(fi.ModTime()) {
		t.soon = true
		return nil
	}
	switch half := seen.whole < fi.Size(); {
	case seen.encoding != "":
		return t.rejectFile(path, fmt.Errorf("it is %s, as editors and shells of Windows write it: save it as UTF-8 and submit it again", seen.encoding))
	case seen.blank && stream:
		return nil
	case !half:
		return t.claim(ctx, path, stream, hold, f)
	case stream && seen.whole > 0 && hold == leaseHeld && !t.noSwap:
		tail, err := readAt(f, seen.whole, fi.Size())
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		return t.split(ctx, path, f, fi, tail)
	case still >= t.quiet && hold != leaseBusy, seen.whole > 0 && hold == leaseBusy && age >= t.quiet, still >= t.patience:
		return t.claim(ctx, path, stream, hold, f)
	}
	return nil
}

// survey is what there is to know of a file before it is claimed. While that does
// not change it is not read again.
type survey struct {
	whole    int64  // where its unfinished document begins, or its size
	blank    bool   // there is nothing in it
	encoding string // other than UTF-8
}

func (t *taker) survey(path string, s source) (survey, error) {
	g := t.growth[path]
	if g.seen != nil {
		return *g.seen, nil
	}
	head, err := readAt(s.f, 0, min(4, s.size))
	if err != nil {
		return survey{}, err
	}
	seen := survey{encoding: message.Foreign(head)}
	if seen.encoding == "" {
		var parts int
		if seen.whole, parts, err = message.Survey(s.f, s.size); err != nil {
			return seen, err
		}
		seen.blank = parts == 0 && seen.whole == s.size
	}
	g.seen = &seen
	t.growth[path] = g
	return seen, nil
}

// unopened decides about what is at path and is no file to read.
func (t *taker) unopened(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errNotRegular), errors.Is(err, fs.ErrPermission):
		return t.rejectFile(path, err)
	}
	t.complain(path, fmt.Errorf("open %s: %w", path, err))
	return nil
}

// claim moves the file at path out of every writer's reach.
func (t *taker) claim(ctx context.Context, path string, stream bool, hold leaseState, f *os.File) error {
	c := claim{dir: t.claimsFor(path), name: t.name()}
	if stream && hold == leaseBusy {
		c.name += openSuffix
	}
	// What is claimed must be on disk before the note that counts in its bytes.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	failpoint.Hit(failpoint.Claiming)
	if err := os.Rename(path, c.path()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("claim %s: %w", path, err)
	}
	if err := syncDirs(c.dir, filepath.Dir(path)); err != nil {
		return err
	}
	t.growth[c.path()] = t.growth[path] // the same file, as long unchanged
	if err := t.step(failpoint.Claimed); err != nil {
		return err
	}
	now, err := f.Stat()
	grew := err == nil && stream && now.Size() != t.growth[path].info.Size() // where there are no leases
	if (grew || hold == leaseHeld && !leaseIntact(f)) && giveBack(c.path(), path) == nil {
		t.soon = true // whoever waits to write, or wrote in this moment, may write half of something
		return nil
	}
	release(f, hold)
	f.Close()
	return t.work(ctx, c)
}

func (t *taker) claimsFor(path string) string {
	if path == t.File && t.beside != "" {
		return t.beside
	}
	return filepath.Join(t.Dir, claimsDir)
}

// split claims the whole documents of f, which is at path and under our lease,
// and leaves tail at path. The new file and f change places in one step, so there
// is no moment at which a writer could begin a third one. A claim named .split
// with nothing whole in it is a copy of the tail that never got to its place.
func (t *taker) split(ctx context.Context, path string, f *os.File, fi fs.FileInfo, tail []byte) error {
	c := claim{dir: t.claimsFor(path), name: t.name() + splitSuffix}
	if err := writeTail(c.path(), fi, tail); err != nil {
		os.Remove(c.path())
		return fmt.Errorf("split %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), t.step(failpoint.Tail)); err != nil {
		return err
	}
	if err := exchange(path, c.path()); err != nil {
		os.Remove(c.path())
		t.noSwap = !errors.Is(err, fs.ErrNotExist)
		return nil
	}
	if err := t.step(failpoint.Exchanged); err != nil {
		return err
	}
	if now, err := os.Lstat(c.path()); err != nil || !os.SameFile(now, fi) || !leaseIntact(f) {
		return t.unsplit(path, c, int64(len(tail)))
	}
	if err := syncDirs(c.dir, filepath.Dir(path)); err != nil {
		return err
	}
	release(f, leaseHeld)
	f.Close()
	return t.work(ctx, c)
}

// unsplit undoes an exchange that met a writer. Should somebody have written to
// the new file in between, it becomes a claim like any other.
func (t *taker) unsplit(path string, c claim, size int64) error {
	t.soon = true
	if err := exchange(path, c.path()); err != nil {
		return os.Rename(c.path(), filepath.Join(c.dir, strings.TrimSuffix(c.name, splitSuffix)))
	}
	if fi, err := os.Lstat(c.path()); err == nil && fi.Size() == size {
		return os.Remove(c.path())
	}
	return os.Rename(c.path(), filepath.Join(c.dir, strings.TrimSuffix(c.name, splitSuffix)))
}

// writeTail makes the file that takes the place of fi: whoever could append to
// the old one can append to it.
func writeTail(path string, fi fs.FileInfo, tail []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	chownLike(f, fi)
	if err := f.Chmod(fi.Mode().Perm()); err != nil {
		return err
	}
	if _, err := f.Write(tail); err != nil {
		return err
	}
	return f.Sync()
}

func readAt(f *os.File, from, to int64) ([]byte, error) {
	b := make([]byte, to-from)
	n, err := f.ReadAt(b, from)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

func syncDirs(dirs ...string) error {
	for _, d := range dirs {
		if err := syncDir(d); err != nil {
			return fmt.Errorf("sync %s: %w", d, err)
		}
	}
	return nil
}
