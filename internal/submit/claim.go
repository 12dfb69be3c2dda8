package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
)

// Endings of a claim's name.
const (
	splitSuffix = ".split" // its unfinished tail was left to the file that it came from
	openSuffix  = ".open"  // a writer had it open: an unfinished tail that he leaves goes back to the file
	tailSuffix  = ".tail"  // such a tail, on its way back
	doneSuffix  = ".done"  // all of it is accepted; only its note is still to be deleted
)

// chunk and chunkBytes are how many messages, and how much text of theirs, are
// accepted in one transaction.
const (
	chunk      = 1000
	chunkBytes = 4 << 20
)

// claim is a file that is ours. Its name is that of its note, too.
type claim struct{ dir, name string }

func (c claim) path() string { return filepath.Join(c.dir, c.name) }
func (c claim) key() string  { return "claim/" + strings.TrimSuffix(c.name, doneSuffix) }

// stem is what the names of what is rejected of c begin with.
func (c claim) stem() string {
	return strings.TrimSuffix(strings.TrimSuffix(c.name, splitSuffix), openSuffix)
}

// claims lists the claims, oldest first.
func (t *taker) claims() ([]claim, error) {
	var cs []claim
	for _, dir := range []string{filepath.Join(t.Dir, claimsDir), t.beside} {
		if dir == "" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			cs = append(cs, claim{dir, e.Name()})
		}
	}
	slices.SortFunc(cs, func(a, b claim) int { return strings.Compare(a.name, b.name) })
	return cs, nil
}

// work takes from c what is there to take, and ends c if nobody can add to it.
func (t *taker) work(ctx context.Context, c claim) error {
	switch {
	case strings.HasSuffix(c.name, doneSuffix):
		return t.forget(ctx, c)
	case strings.HasSuffix(c.name, tailSuffix):
		return t.putBack(c)
	}
	f, _, err := openRegular(c.path())
	if err != nil {
		return t.unopened(c.path(), err)
	}
	defer f.Close()
	hold := lease(f)
	defer release(f, hold)
	// The size counts from here on: under the lease it cannot change.
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, still := t.watched(c.path(), fi)
	mark, err := t.mark(c, fi.Size())
	if err != nil {
		return err
	}
	if fi.Size()-mark.Offset > t.maxBytes {
		reason := fmt.Errorf("it has %d bytes to read: at most %d are taken at once: split it", fi.Size()-mark.Offset, t.maxBytes)
		return errors.Join(t.rejectFile(c.path(), reason), t.forgetNote(ctx, c))
	}
	s := source{f, fi.Size()}
	if mark, err = t.consume(ctx, c, s, mark, false); err != nil {
		return t.unread(c.path(), err)
	}
	alone := hold == leaseHeld || hold == leaseNone && still >= t.quiet
	if mark.Offset < s.size {
		switch {
		case strings.HasSuffix(c.name, splitSuffix):
		case hold == leaseHeld && still < t.quiet && strings.HasSuffix(c.name, openSuffix):
			err = t.saveTail(ctx, c, s, fi, mark)
		case alone, still >= t.patience:
			_, err = t.consume(ctx, c, s, mark, true)
		}
	}
	if err != nil || !alone {
		return t.unread(c.path(), err)
	}
	return t.finish(ctx, c, f, s.size, hold)
}

// source is a file of which so much counts.
type source struct {
	f    *os.File
	size int64
}

// mark is where reading c goes on: at its note, or at its beginning. A claim that
// became shorter than its note was written anew by somebody who had it open.
func (t *taker) mark(c claim, size int64) (m message.Mark, err error) {
	b, err := t.Load(c.key())
	if err != nil {
		return m, fmt.Errorf("load the note of %s: %w", c.path(), err)
	}
	if b == nil {
		return m, nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the note of %s: %w", c.path(), err)
	}
	if m.Offset > size {
		m = message.Mark{}
	}
	return m, nil
}

// batch is what one transaction accepts.
type batch struct {
	taken   []message.Entry
	marks   []message.Mark // after each of taken
	refused []refusal
	bytes   int // of text
}

func (b *batch) full() bool {
	return len(b.taken) >= chunk || len(b.refused) >= chunk || b.bytes > chunkBytes
}

// add takes e into b; after it, reading goes on at next.
func (b *batch) add(e message.Entry, next message.Mark) {
	b.bytes += len(e.Raw)
	if e.Err != nil {
		b.refused = append(b.refused, refusal{e, e.Err})
		return
	}
	b.taken = append(b.taken, e)
	b.marks = append(b.marks, next)
}

// consume accepts and rejects what stands in s behind from; if final, to its end.
// It returns how far it came. An error of s itself is a sourceError.
func (t *taker) consume(ctx context.Context, c claim, s source, from message.Mark, final bool) (message.Mark, error) {
	d := message.Documents{Source: s.f, Size: s.size, Now: time.Now(), From: from, Final: final}
	at := from
	var b batch
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		if e.Err == nil {
			e.Err = t.check(e)
		}
		b.add(e, d.Mark())
		if b.full() {
			at = d.Mark()
			if err := t.commit(ctx, c, b, at); err != nil {
				return at, err
			}
			b = batch{}
		}
	}
	if end := d.Mark(); end != at {
		at = end
		if err := t.commit(ctx, c, b, at); err != nil {
			return at, err
		}
	}
	if err := d.Err(); err != nil {
		return at, sourceError{err}
	}
	return at, nil
}

// sourceError is an error of a file that is taken, which concerns no other.
type sourceError struct{ error }

// unread reports that the file at path cannot be read; other errors are returned.
func (t *taker) unread(path string, err error) error {
	if bad := (sourceError{}); errors.As(err, &bad) {
		t.complain(path, fmt.Errorf("%s: %w", path, bad.error))
		return nil
	}
	return err
}

func (t *taker) check(e message.Entry) error {
	if t.Check == nil {
		return nil
	}
	if err := t.Check(e.Message); err != nil {
		return fmt.Errorf("%s: %w", e.Where(), err)
	}
	return nil
}

// commit makes b durable with the mark behind it: first what is refused, since
// after the mark nobody reads it again.
func (t *taker) commit(ctx context.Context, c claim, b batch, at message.Mark) error {
	if err := t.keep(c, b.refused); err != nil {
		return err
	}
	if err := t.step(failpoint.Kept); err != nil {
		return err
	}
	ms := make([]*message.Message, len(b.taken))
	for i, e := range b.taken {
		ms[i] = e.Message
	}
	err := t.accept(ctx, c, ms, at)
	if errors.Is(err, message.ErrInvalid) {
		err = t.acceptEach(ctx, c, b, at)
	}
	if err != nil {
		return err
	}
	return t.step(failpoint.FileTaken)
}

func (t *taker) accept(ctx context.Context, c claim, ms []*message.Message, at message.Mark) error {
	note, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if err := t.Accept(ctx, ms, c.key(), note); err != nil {
		return fmt.Errorf("accept %d messages of %s: %w", len(ms), c.path(), err)
	}
	return nil
}

// acceptEach finds the one that spoils the transaction of all.
func (t *taker) acceptEach(ctx context.Context, c claim, b batch, at message.Mark) error {
	for i, e := range b.taken {
		err := t.accept(ctx, c, []*message.Message{e.Message}, b.marks[i])
		if errors.Is(err, message.ErrInvalid) {
			err = t.keep(c, []refusal{{e, fmt.Errorf("%s: %w", e.Where(), err)}})
		}
		if err != nil {
			return err
		}
	}
	return t.accept(ctx, c, nil, at)
}

// finish deletes c, which was read up to size, and its note. The name with .done stands between the two: a
// claim without its note would be read again, a note without its claim would stay
// for ever.
func (t *taker) finish(ctx context.Context, c claim, f *os.File, size int64, hold leaseState) error {
	done := claim{c.dir, c.name + doneSuffix}
	if err := os.Rename(c.path(), done.path()); err != nil {
		return fmt.Errorf("finish %s: %w", c.path(), err)
	}
	if now, err := f.Stat(); err != nil || now.Size() != size || hold == leaseHeld && !leaseIntact(f) { // somebody still had it
		t.soon = true
		return os.Rename(done.path(), c.path())
	}
	if err := syncDir(c.dir); err != nil {
		return err
	}
	if err := t.step(failpoint.FileDone); err != nil {
		return err
	}
	return t.forget(ctx, done)
}

func (t *taker) forgetNote(ctx context.Context, c claim) error {
	note, err := t.Load(c.key())
	if err != nil {
		return fmt.Errorf("load the note of %s: %w", c.path(), err)
	}
	if note != nil {
		if err := t.Accept(ctx, nil, c.key(), nil); err != nil {
			return fmt.Errorf("delete the note of %s: %w", c.path(), err)
		}
	}
	return nil
}

func (t *taker) forget(ctx context.Context, c claim) error {
	if err := t.forgetNote(ctx, c); err != nil {
		return err
	}
	if err := t.step(failpoint.Forgotten); err != nil {
		return err
	}
	if err := os.Remove(c.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(t.kept, c.key())
	return t.step(failpoint.Removed)
}
