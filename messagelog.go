package steward

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/store"
)

// Size and number of the files that messages.log is kept in.
const (
	messageLogSize = 64 << 20
	messageLogKeep = 10
	linesKept      = 1 << 20
	noteLogged     = "messages.log" // time up to which the log is known to be on disk
)

// messageLog writes every message that a publisher takes up: one CloudEvent a
// line, as it goes over the wire, which is all that `steward resend` needs. A
// crash may leave a message in it twice, with the same id, and never leaves one
// out: what was written since the last fsync is written again.
type messageLog struct {
	path string

	mu    sync.Mutex
	lines []byte // room to put them together
	f     *os.File
	size  int64
	dirty bool
	wrote chan struct{} // something waits to be made durable
}

func openMessageLog(dir string) (*messageLog, error) {
	l := &messageLog{path: filepath.Join(dir, "messages.log"), wrote: make(chan struct{}, 1)}
	return l, l.open()
}

func (l *messageLog) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("message log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("message log: %w", err), f.Close())
	}
	l.f, l.size = f, fi.Size()
	return nil
}

// append writes entries before they are sent for the first time.
func (l *messageLog) append(entries []store.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.lines[:0]
	for _, e := range entries {
		if !e.Void {
			b = append(append(b, e.Event...), '\n')
		}
	}
	if cap(b) <= linesKept {
		l.lines = b
	}
	return l.write(b)
}

// write writes whole lines; mu is held.
func (l *messageLog) write(b []byte) error {
	failpoint.Hit(failpoint.Logging)
	if l.size > 0 && l.size+int64(len(b)) > messageLogSize {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.f.Write(b)
	if err != nil { // half a line would spoil the next
		err = errors.Join(err, l.f.Truncate(l.size))
		n = 0
	}
	l.size += int64(n)
	l.dirty = l.dirty || n > 0
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	if err != nil {
		return fmt.Errorf("message log: %w", err)
	}
	return nil
}

func (l *messageLog) rotate() error {
	if err := errors.Join(l.f.Sync(), l.f.Close()); err != nil {
		return fmt.Errorf("message log: %w", err)
	}
	for i := messageLogKeep - 1; i >= 0; i-- {
		from := l.path
		if i > 0 {
			from = fmt.Sprintf("%s.%d", l.path, i)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.path, i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("message log: %w", err)
		}
	}
	return l.open()
}

// sync makes the log durable, and notes since when.
func (l *messageLog) sync(db *store.DB) error {
	l.mu.Lock()
	if !l.dirty {
		l.mu.Unlock()
		return nil
	}
	l.dirty = false
	f, now := l.f, time.Now()
	l.mu.Unlock()                                                     // publishers write on meanwhile
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // rotate syncs what it closes
		return fmt.Errorf("message log: %w", err)
	}
	db.PutNoteSoon(noteLogged, now.UTC().AppendFormat(nil, time.RFC3339Nano))
	return nil
}

// Close makes the log durable and closes it.
func (l *messageLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.dirty {
		err = l.f.Sync()
	}
	return errors.Join(err, l.f.Close())
}

// relog writes again what may be missing since the log was last made durable.
func (n *Node) relog() error {
	v, err := n.db.Note(noteLogged)
	if err != nil {
		return err
	}
	since := time.UnixMilli(1000) // nothing is known to be on disk
	if v != nil {
		if since, err = time.Parse(time.RFC3339Nano, string(v)); err != nil {
			return nil //nolint:nilerr // a note of another version: nothing is known to be missing
		}
	}
	return n.db.Processed(since.Add(-time.Second), func(event []byte) error {
		return n.msgs.append([]store.Entry{{Event: event}})
	})
}
