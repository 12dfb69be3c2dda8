package submit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/steward-bus/steward/message"
)

// singles is how many messages of one claim are rejected in files of their own.
// What follows is kept in bundles, so that a file of rubbish does not become a
// million files.
const singles = 100

// refusal is a text that was refused, and why.
type refusal struct {
	entry message.Entry
	err   error
}

// text is what to submit again once it is mended.
func (r refusal) text() []byte {
	if r.entry.Message != nil && r.entry.Nodes > 1 { // the other nodes got theirs
		return message.Document(r.entry.Message)
	}
	return r.entry.Raw
}

// keep writes refusals durably and reports each once. The names follow from the
// place in the claim, so that a repeat after a crash overwrites.
func (t *taker) keep(c claim, refused []refusal) error {
	if len(refused) == 0 {
		return nil
	}
	kept := t.kept[c.key()]
	if kept == nil {
		kept = map[string]bool{}
		t.kept[c.key()] = kept
	}
	var bundle []refusal
	for _, r := range refused {
		name := fmt.Sprintf("%s-%d", c.stem(), r.entry.Offset)
		if r.entry.Message != nil && r.entry.Nodes > 1 {
			name += "-" + r.entry.Message.ToNode
		}
		if len(kept) >= singles && !kept[name] {
			bundle = append(bundle, r)
			continue
		}
		if err := t.keepOne(kept, name, r.text(), r.err.Error(), r.err); err != nil {
			return err
		}
	}
	if err := t.keepBundle(c, kept, bundle); err != nil {
		return err
	}
	return syncDir(filepath.Join(t.Dir, rejectedDir))
}

func (t *taker) keepBundle(c claim, kept map[string]bool, bundle []refusal) error {
	if len(bundle) == 0 {
		return nil
	}
	var text, reasons bytes.Buffer
	for _, r := range bundle {
		text.Write(append(r.text(), '\n'))
		fmt.Fprintln(&reasons, r.err)
	}
	name := fmt.Sprintf("%s-%d-bundle", c.stem(), bundle[0].entry.Offset)
	err := fmt.Errorf("%d messages are rejected, the first of them because: %w", len(bundle), bundle[0].err)
	return t.keepOne(kept, name, text.Bytes(), reasons.String(), err)
}

func (t *taker) keepOne(kept map[string]bool, name string, text []byte, reason string, err error) error {
	path := filepath.Join(t.Dir, rejectedDir, name+".json")
	reason = strings.TrimSuffix(reason, "\n") + "\n"
	if err := errors.Join(writeSynced(path+".reason", []byte(reason)), writeSynced(path, text)); err != nil {
		return fmt.Errorf("keep what is rejected: %w", err)
	}
	if !kept[name] {
		kept[name] = true
		t.report(err, path)
	}
	return nil
}

// writeSynced replaces the file at path; its content is on disk before its name is.
func writeSynced(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), partPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// rejectFile moves what is at path out of the way, unread. What cannot be moved
// is reported once and left alone.
func (t *taker) rejectFile(path string, reason error) error {
	reason = fmt.Errorf("%s is not taken: %w", path, reason)
	name := t.name() + "-" + filepath.Base(path)
	to := filepath.Join(t.Dir, rejectedDir, name)
	err := os.Rename(path, to)
	if isCrossDevice(err) {
		to = filepath.Join(filepath.Dir(path), name+".rejected")
		err = os.Rename(path, to)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.complain(path, fmt.Errorf("%w; nor can it be moved to %s: %w", reason, rejectedDir, err))
		return nil
	}
	delete(t.told, path)
	err = writeSynced(to+".reason", []byte(reason.Error()+"\n"))
	t.report(errors.Join(reason, err), to)
	return nil
}
