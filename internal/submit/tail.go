package submit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
)

// saveTail copies what stands in the claim c behind mark, which its writer left
// unfinished, and notes that c was read to its end. From then on the copy is what
// counts, and putBack knows it.
func (t *taker) saveTail(ctx context.Context, c claim, s source, fi fs.FileInfo, mark message.Mark) error {
	tail := claim{c.dir, c.name + tailSuffix}
	text, err := readAt(s.f, mark.Offset, s.size)
	if err != nil {
		return sourceError{err}
	}
	if err := os.Remove(tail.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := errors.Join(writeTail(tail.path(), fi, text), syncDir(c.dir)); err != nil {
		return fmt.Errorf("save the tail of %s: %w", c.path(), err)
	}
	if err := t.step(failpoint.Tail); err != nil {
		return err
	}
	end := message.Mark{Offset: s.size}
	if err := t.accept(ctx, c, nil, end); err != nil {
		return err
	}
	if err := t.step(failpoint.FileTaken); err != nil {
		return err
	}
	return t.putBack(tail)
}

// putBack gives a saved tail the name of the file that it came from, where its
// writer finds it. If somebody began another file there it waits for as long as
// Quiet; then it is a claim like any other.
func (t *taker) putBack(tail claim) error {
	counts, err := t.counts(tail)
	if err != nil {
		return err
	}
	if !counts { // a copy of what stands in the claim
		return remove(tail.path())
	}
	err = giveBack(tail.path(), t.File)
	if err == nil {
		return errors.Join(syncDirs(tail.dir, filepath.Dir(t.File)), t.step(failpoint.Exchanged))
	}
	fi, gone := os.Lstat(tail.path())
	if gone != nil {
		return nil //nolint:nilerr // it is where it belongs
	}
	if _, still := t.watched(tail.path(), fi); errors.Is(err, fs.ErrExist) && still < t.quiet {
		return nil
	}
	return os.Rename(tail.path(), claim{tail.dir, t.name()}.path())
}

// counts reports whether the note of the claim that tail was copied from says so.
func (t *taker) counts(tail claim) (bool, error) {
	c := claim{tail.dir, strings.TrimSuffix(tail.name, tailSuffix)}
	fi, err := os.Lstat(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	mark, err := t.mark(c, fi.Size())
	return mark.Offset == fi.Size(), err
}
