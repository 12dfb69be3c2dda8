package follow

import (
	"context"
	"errors"
	"path/filepath"
	"time"
)

// All pauses are counted in polls.
const (
	settlePolls = 2   // quiet before a rotated file's last line is sent without a newline
	restPolls   = 60  // quiet before a rotated file is closed
	forgetPolls = 600 // absence before a missing file's note is deleted
)

// tail follows the files of one source. One goroutine owns it.
type tail struct {
	f      *Follower
	source Source
	commit *committer
	watch  *watcher
	buf    []byte

	matched    []entry // files that match the pattern, at the last scan
	files      []*file // by rising id: of one path, the oldest first
	next       uint64  // id of the next file
	fresh      bool    // the source was never followed before
	indexDirty bool
	dead       []uint64  // files whose notes are to be deleted
	passed     []*passed // nil: no folder was looked at yet
	glances    map[string]*glance

	scanAt   time.Time                 // when to look at the folders again
	resumeAt time.Time                 // not to call Accept before
	told     [2]map[complaint]struct{} // complaints since the last scan, and before
}

type complaint struct{ path, text string }

func newTail(f *Follower, s Source, c *committer) *tail {
	return &tail{f: f, source: s, commit: c, glances: map[string]*glance{}, buf: make([]byte, probe+f.MaxBatchBytes+f.MaxLine+1)}
}

// run follows until ctx ends.
func (t *tail) run(ctx context.Context) {
	t.watch = newWatcher(t.f.Log)
	defer t.watch.close()
	defer func() {
		for _, x := range t.files {
			x.close()
		}
	}()
	if !t.load(ctx) {
		return
	}
	for ctx.Err() == nil {
		if t.watch.changed() || !time.Now().Before(t.scanAt) {
			t.scanAt = time.Now().Add(t.f.Poll)
			t.scan(time.Now())
		}
		if pause := time.Until(t.resumeAt); pause > 0 {
			t.watch.wait(ctx, min(pause, t.f.Poll))
			continue
		}
		progress, err := t.work(ctx)
		if err != nil {
			t.resumeAt = time.Now().Add(t.commit.pause())
		} else if !progress {
			t.watch.wait(ctx, max(time.Millisecond, time.Until(t.scanAt)))
		}
	}
}

// work stores what the last scan found and sends up to one batch of each file.
// Its errors are those of Accept.
func (t *tail) work(ctx context.Context) (progress bool, err error) {
	if err := t.store(ctx); err != nil {
		return false, err
	}
	waiting := map[string]bool{} // paths of which an older file is not read to its end
	for _, x := range t.files {
		if x.f == nil || waiting[x.Path] {
			waiting[x.Path] = waiting[x.Path] || x.unsure
			continue
		}
		sent, drained, err := t.step(ctx, x)
		if err != nil {
			return progress, err
		}
		progress = progress || sent
		waiting[x.Path] = !drained
	}
	return progress, nil
}

// step sends one batch of x. drained reports that nothing in it waits to be sent,
// or that nobody should wait for it.
func (t *tail) step(ctx context.Context, x *file) (sent, drained bool, err error) {
	if x.truncated {
		return false, false, nil
	}
	now := time.Now()
	if x.live && x.Offset == 0 && !x.ready {
		size, _, err := x.look()
		if err == nil && size > 0 && !x.met {
			t.scanAt = now
		}
		return false, err == nil && size == 0, nil
	}
	b, p, rest, err := t.cut(x, now)
	switch {
	case errors.Is(err, errTruncated):
		x.truncated = true
		t.scanAt = now
		return false, false, nil
	case err != nil:
		t.complain(x.at, err)
		return false, true, nil
	}
	drained = rest == 0
	if drained && !x.live && !x.Rotated {
		p.Rotated = true
	}
	if len(b.ms) == 0 && p.Rotated == x.Rotated {
		t.rest(x, now)
		return false, drained, nil
	}
	if err := t.commit.accept(ctx, b.ms, t.fileKey(x.id), p.encode()); err != nil {
		return false, false, err
	}
	if b.lines > 0 {
		x.quiet = now
	}
	x.position = p
	return b.lines > 0, drained, nil
}

// cut makes a batch of what x holds beyond its position. rest is how many bytes
// it does not take; p is the position after it.
func (t *tail) cut(x *file, now time.Time) (b *batch, p position, rest int, err error) {
	b = &batch{source: t.source, fallback: filepath.Base(x.Path)}
	size, mtime, err := x.look()
	if err != nil || size == x.Offset {
		return b, x.position, 0, err
	}
	fresh, err := x.read(t.buf)
	if err != nil {
		return b, x.position, 0, err
	}
	x.saw(size, mtime, now)
	atEnd := x.TailLen+len(fresh) < len(t.buf)
	flush := atEnd && !x.live && now.Sub(x.quiet) >= settlePolls*t.f.Poll
	c := cutter{maxLine: t.f.MaxLine, split: x.Split}
	taken, split := 0, x.Split
	for {
		l, ok := c.next(fresh[taken:], flush)
		if !ok {
			break
		}
		price := cost(l.text)
		if b.full(t.f, price) {
			break
		}
		b.add(t.f, l, price)
		taken, split = taken+l.size, c.split
	}
	p = x.advance(t.buf, len(fresh), taken, split)
	if x.live && taken > 0 {
		p.Mtime = mtime
	}
	return b, p, len(fresh) - taken, nil
}

// rest closes a rotated file that was quiet for long: it stays known.
func (t *tail) rest(x *file, now time.Time) {
	if !x.live && x.done() && now.Sub(x.quiet) >= restPolls*t.f.Poll {
		if _, mtime, err := x.look(); err == nil {
			x.close()
			x.resting, x.restMtime = true, mtime
		}
	}
}

// complain reports what is wrong with path, once for as long as it lasts.
func (t *tail) complain(path string, err error) {
	c := complaint{path, err.Error()}
	_, now := t.told[0][c]
	_, before := t.told[1][c]
	if !now && !before {
		t.report(path, err)
	}
	if t.told[0] == nil {
		t.told[0] = map[complaint]struct{}{}
	}
	t.told[0][c] = struct{}{}
}

func (t *tail) report(path string, err error) {
	t.f.Log.Warn("forwarding", "path", path, "err", err)
	t.f.Report(err, path)
}
