package follow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

func (t *tail) indexKey() string         { return t.source.key() }
func (t *tail) fileKey(id uint64) string { return t.source.key() + "/" + strconv.FormatUint(id, 10) }

// load reads the notes of earlier runs. It returns false where it must not go on.
func (t *tail) load(ctx context.Context) bool {
	b, ok := t.note(ctx, t.indexKey())
	if !ok {
		return false
	}
	if b == nil {
		t.fresh, t.indexDirty = true, true
		return true
	}
	x, err := decodeIndex(b)
	if err != nil && !t.unreadable(err, t.source.Path) {
		return false
	}
	t.next, t.dead, t.passed = x.Next, x.Dead, x.Passed
	for _, p := range t.passed {
		p.seen = time.Now()
	}
	for _, id := range x.Files {
		b, ok := t.note(ctx, t.fileKey(id))
		if !ok {
			return false
		}
		p, err := decodePosition(b)
		if err == nil {
			t.files = append(t.files, &file{position: p, id: id, stored: true, loaded: true})
			continue
		}
		if !t.unreadable(err, t.source.Path) {
			return false
		}
		t.dead, t.indexDirty = append(t.dead, id), true
	}
	return true
}

// unreadable reports a note that cannot be used, and whether to go on without it.
func (t *tail) unreadable(err error, path string) bool {
	if errors.Is(err, errVersion) {
		t.report(path, fmt.Errorf("%w; until then the source is not followed", err))
		return false
	}
	t.report(path, fmt.Errorf("%w: what it tells of is read from the start, so lines may come twice", err))
	return true
}

// note loads one note, however long it takes; false: ctx ended.
func (t *tail) note(ctx context.Context, key string) ([]byte, bool) {
	for {
		b, err := t.commit.load(ctx, key)
		if err == nil {
			return b, ctx.Err() == nil
		}
		if !sleep(ctx, t.commit.pause()) {
			return nil, false
		}
	}
}

// store writes the notes that a scan made necessary. A file's note comes before
// the index that names it, so a crash between leaves a number that is used again;
// it is deleted after an index that calls it dead, so a crash leaves the wish. No
// line of a file is sent before it is in the index.
func (t *tail) store(ctx context.Context) error {
	for _, x := range t.files {
		if !x.dirty || x.buried {
			continue
		}
		if err := t.commit.accept(ctx, nil, t.fileKey(x.id), x.encode()); err != nil {
			return err
		}
		x.dirty = false
	}
	if t.indexDirty {
		x := index{Next: t.next, Files: []uint64{}, Dead: t.dead, Passed: t.passed}
		for _, f := range t.files {
			x.Files = append(x.Files, f.id)
		}
		if err := t.commit.accept(ctx, nil, t.indexKey(), x.encode()); err != nil {
			return err
		}
		for _, f := range t.files {
			f.stored = true
		}
		t.indexDirty = false
	}
	for len(t.dead) > 0 {
		if err := t.commit.accept(ctx, nil, t.fileKey(t.dead[0]), nil); err != nil {
			return err
		}
		t.dead = t.dead[1:]
	}
	return nil
}

// add takes up a new file, as the youngest.
func (t *tail) add(x *file) {
	x.id, x.dirty = t.next, true
	t.next++
	t.files = append(t.files, x)
	t.indexDirty = true
}

// drop forgets x.
func (t *tail) drop(x *file) {
	x.close()
	for i, y := range t.files {
		if y == x {
			t.files = append(t.files[:i:i], t.files[i+1:]...)
			break
		}
	}
	if x.stored {
		t.dead = append(t.dead, x.id)
	}
	t.indexDirty = true
}
