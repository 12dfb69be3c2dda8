package steward

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// Size and number of the files that messages.log is kept in.
const (
	messageLogSize = 64 << 20
	messageLogKeep = 10
	linesKept      = 1 << 20
	noteLogged     = "messages.log"  // see messageLog.since
	noteMark       = "messages.log/" // and a subject: the last place of it that is in the log for certain
)

// messageLog writes every message that a publisher takes up: one CloudEvent a
// line, as it goes over the wire, which is all that `steward resend` needs. None is
// ever left out, and after a clean stop none comes twice. After a crash what was
// written since the last fsync is written again, with the same ids.
type messageLog struct {
	path string
	db   *store.DB

	mu    sync.Mutex
	lines []byte // room to put them together
	f     *os.File
	size  int64
	marks map[string]message.Place // by subject: the last place that is in the log
	moved map[string]bool          // those that are not noted
	since time.Time                // noted: each message that was accepted before and sent is in the log for certain
	low   time.Time                // before which no message was accepted that was written since the last fsync
	dirty bool
	wrote chan struct{} // something waits to be made durable
}

func openMessageLog(dir string, db *store.DB) (*messageLog, error) {
	l := &messageLog{
		path: filepath.Join(dir, "messages.log"), db: db, low: time.Now(), wrote: make(chan struct{}, 1),
		moved: map[string]bool{},
	}
	var err error
	if l.marks, err = l.noted(); err != nil {
		return nil, err
	}
	v, err := db.Note(noteLogged)
	if err != nil {
		return nil, err
	}
	if v != nil {
		if l.since, err = time.Parse(time.RFC3339Nano, string(v)); err != nil {
			return nil, fmt.Errorf("message log: its note in the journal: %w", err)
		}
	}
	return l, l.open()
}

// noted is up to where the log is on disk for certain, by subject.
func (l *messageLog) noted() (map[string]message.Place, error) {
	notes, err := l.db.Notes(noteMark)
	if err != nil {
		return nil, err
	}
	marks := make(map[string]message.Place, len(notes))
	for s, v := range notes {
		var p message.Place
		if err := json.Unmarshal(v, &p); err != nil {
			return nil, fmt.Errorf("message log: the note of %s in the journal: %w", s, err)
		}
		marks[s] = p
	}
	return marks, nil
}

func (l *messageLog) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("message log: %w", err)
	}
	if l.size, err = wholeLines(f); err != nil {
		return errors.Join(fmt.Errorf("message log: %w", err), f.Close())
	}
	l.f = f
	return nil
}

// wholeLines cuts off what a crash left of a line, which would spoil the next, and
// returns the size of f.
func wholeLines(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return 0, err
	}
	b := make([]byte, 64<<10)
	for end := fi.Size(); end > 0; {
		from := max(0, end-int64(len(b)))
		n, err := f.ReadAt(b[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(b[:n], '\n'); i >= 0 {
			if end = from + int64(i) + 1; end < fi.Size() {
				err = f.Truncate(end)
			}
			return end, err
		}
		end = from
	}
	return 0, f.Truncate(0)
}

// append writes entries of a subject, in order, before they are sent for the first
// time.
func (l *messageLog) append(subject string, entries []store.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, low := l.lines[:0], time.Now()
	mark := l.marks[subject]
	for _, e := range entries {
		if e.Place.Compare(mark) <= 0 {
			continue
		}
		mark = e.Place
		if !e.Void {
			b = append(append(b, e.Event...), '\n')
			low = earlier(low, acceptedAt(e.ID))
		}
	}
	if cap(b) <= linesKept {
		l.lines = b
	}
	if len(b) > 0 {
		if err := l.lower(low); err != nil {
			return err
		}
		if err := l.write(b); err != nil {
			return err
		}
	}
	if mark != l.marks[subject] {
		l.marks[subject], l.moved[subject] = mark, true
	}
	return nil
}

// lower notes that messages accepted since t may be missing after a crash. That
// costs a commit only for the first of those that waited for long; mu is held.
func (l *messageLog) lower(t time.Time) error {
	l.low = earlier(l.low, t)
	if !t.Before(l.since) {
		return nil
	}
	return l.note(t)
}

// note keeps since, and with it the marks; mu is held.
func (l *messageLog) note(since time.Time, marks ...store.Note) error {
	v := since.UTC().AppendFormat(nil, time.RFC3339Nano)
	if err := l.db.PutNotes(append(marks, store.Note{Key: noteLogged, Value: v})...); err != nil {
		return fmt.Errorf("message log: %w", err)
	}
	l.since = since
	return nil
}

// acceptedAt is the time in the id of an own message.
func acceptedAt(id uuid.UUID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms)
}

// idAt is the least id of a message accepted at t.
func idAt(t time.Time) (id uuid.UUID) {
	ms := t.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
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

// sync makes the log durable, and notes what is in it.
func (l *messageLog) sync() error {
	l.mu.Lock()
	if !l.dirty && len(l.moved) == 0 {
		l.mu.Unlock()
		return nil
	}
	f, moved := l.f, l.moved
	marks := make([]store.Note, 0, len(moved)+1)
	for s := range moved {
		v, err := json.Marshal(l.marks[s])
		if err != nil {
			panic("steward: a place does not encode: " + err.Error())
		}
		marks = append(marks, store.Note{Key: noteMark + s, Value: v})
	}
	before := l.low
	l.dirty, l.moved, l.low = false, map[string]bool{}, time.Now()
	l.mu.Unlock() // publishers write on meanwhile
	err := f.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || errors.Is(err, os.ErrClosed) { // rotate syncs what it closes
		err = l.note(l.low, marks...)
	}
	if err != nil {
		l.dirty, l.low = true, earlier(l.low, before)
		maps.Copy(l.moved, moved)
		return fmt.Errorf("message log: %w", err)
	}
	return nil
}

// Close makes the log durable and closes it.
func (l *messageLog) Close() error {
	err := l.sync()
	if store.NoRoom(err) { // the next life writes some lines again
		err = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(err, l.f.Close())
}

// relogChunk is how many messages are looked at in one reading of the journal.
const relogChunk = 10_000

// relog writes again what a crash may have taken out of the log: messages that were
// sent, whose places are behind the marks. What still waits is written when it is
// taken up.
func (l *messageLog) relog() error {
	marks, err := l.noted()
	if err != nil {
		return err
	}
	l.mu.Lock()
	from := idAt(l.since)
	l.mu.Unlock()
	for more := true; more; more = from != uuid.Nil {
		var list []store.Processed
		list, from, err = l.db.Processed(from, relogChunk, func(s string, p message.Place) bool { return p.Compare(marks[s]) > 0 })
		if err != nil {
			return err
		}
		if err := l.again(list); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dirty { // sync will note it
		return nil
	}
	if err := l.note(time.Now()); err != nil && !store.NoRoom(err) { // then the next life looks again
		return err
	}
	return nil
}

func (l *messageLog) again(list []store.Processed) error {
	if len(list) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var b []byte
	for _, p := range list {
		b = append(append(b, p.Event...), '\n') // the mark stays: a message before it may still wait
	}
	l.low = earlier(l.low, l.since)
	return l.write(b)
}
