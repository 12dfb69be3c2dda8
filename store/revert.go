package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"
)

// Revert takes a journal whose newest head is damaged back to before its last commit,
// knowingly: what that one accepted is lost. The next opening takes it for what it
// is, a journal that was set back, as it does with a backup.
func Revert(path string) (err error) {
	f, err := locked(path, false)
	if err != nil {
		return fmt.Errorf("revert journal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("revert journal: %w", err)
	}
	h, at, damaged, err := heads(f, fi.Size())
	switch {
	case err != nil:
		return fmt.Errorf("revert journal: %w", advised(err))
	case damaged == nil || h.commit == 0 || h.surelyNewer(damaged):
		return fmt.Errorf("revert journal: %s has its newest head: there is nothing to go back from", path)
	}
	problems, err := verifyFrom(f, fi.Size(), h)
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("%w there too: %s", ErrCorrupt, problems[0])
	}
	if err != nil {
		return fmt.Errorf("revert journal: %w", advised(err))
	}
	if err := (opening{path + ".opening"}).write(uuid.New(), uuid.New()); err != nil { // which no journal knows
		return fmt.Errorf("revert journal: %w", err)
	}
	if err := h.copyTo(f, at); err != nil {
		return fmt.Errorf("revert journal: %w", err)
	}
	return nil
}

// copyTo writes h in the place of the damaged head at, as the commit before it.
func (h head) copyTo(f *os.File, at int64) error {
	from := int64(headAt)
	if at == from {
		from += h.size
	}
	b := make([]byte, headLen)
	if _, err := f.ReadAt(b, from); err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(b[48:], h.commit-1)
	binary.NativeEndian.PutUint64(b[56:], headSum(b))
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return f.Sync()
}
