package store

import (
	"bytes"
	"errors"
	"os"
	"slices"

	"github.com/google/uuid"
)

// opening is a note beside the journal: which opening of it was the last one. A
// backup that is put back into the same file does not know that one, and is told by
// it for what it is. The note has two ids, equal but while an opening is under way:
// then the journal may know either.
type opening struct{ path string }

// knows reports whether a journal whose last opening was last may be the one that
// the note is about. Where there is no note that can be read, it may.
func (o opening) knows(last []byte) bool {
	b, err := os.ReadFile(o.path)
	if err != nil || len(last) == 0 {
		return true
	}
	ids := bytes.Fields(b)
	for _, id := range ids {
		if _, err := uuid.ParseBytes(id); err != nil {
			return true
		}
	}
	return len(ids) != 2 || slices.ContainsFunc(ids, func(id []byte) bool { return uuid.MustParse(string(id)) == uuid.UUID(last) })
}

// begin notes that the journal is about to have the opening next after last. On a
// disk that does not take the note there is none from then on.
func (o opening) begin(next uuid.UUID, last []byte) error {
	was := next
	if len(last) == len(was) {
		was = uuid.UUID(last)
	}
	if o.write(next, was) == nil {
		return nil
	}
	if err := os.Remove(o.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// done notes that the journal has it. If that is lost, begin's note says enough.
func (o opening) done(next uuid.UUID) {
	_ = o.write(next, next)
}

// write overwrites the note in place, so that it needs no room. One line of the two
// stays as it is, so that a crash in between leaves one that is whole.
func (o opening) write(ids ...uuid.UUID) error {
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var b []byte
	for _, id := range ids {
		b = append(append(b, id.String()...), '\n')
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Sync(), f.Close())
}
