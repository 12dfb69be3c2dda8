package follow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal stands in for the node's store: it survives the followers that use it.
type journal struct {
	mu       sync.Mutex
	notes    map[string][]byte
	messages []*message.Message
	reports  []string
	changed  chan struct{} // closed and replaced at each change

	before func(n int) error // of the nth call; an error means that nothing was taken
	after  func(n int) error // of the nth call; what was taken stays taken
	calls  int
}

func newJournal() *journal {
	return &journal{notes: map[string][]byte{}, changed: make(chan struct{})}
}

func (j *journal) accept(ctx context.Context, ms []*message.Message, key string, value []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	j.calls++
	if j.before != nil {
		if err := j.before(j.calls); err != nil {
			return err
		}
	}
	for _, m := range ms {
		if err := m.Validate(); err != nil {
			return err
		}
	}
	j.messages = append(j.messages, ms...)
	if j.notes[key] = slices.Clone(value); value == nil {
		delete(j.notes, key)
	}
	j.wake()
	if j.after != nil {
		return j.after(j.calls)
	}
	return nil
}

func (j *journal) load(key string) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.notes[key]), nil
}

func (j *journal) report(err error, path string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reports = append(j.reports, path+": "+err.Error())
	j.wake()
}

func (j *journal) wake() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// lines are the accepted ones of a receiver's file.
func (j *journal) lines(name string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []string
	for _, m := range j.messages {
		if m.FileName == name {
			all = append(all, m.Data...)
		}
	}
	return all
}

func (j *journal) noteCount() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.notes)
}

// noted reports whether some note has this text.
func (j *journal) noted(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range j.notes {
		if bytes.Contains(b, []byte(text)) {
			return true
		}
	}
	return false
}

func (j *journal) reported() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.reports)
}

// until waits for a condition on what was accepted and reported.
func (j *journal) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		j.mu.Lock()
		changed := j.changed
		j.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited in vain for %s; reports: %q", what, j.reported())
		}
	}
}

// want waits until exactly these lines were accepted for a receiver's file.
func (j *journal) want(t *testing.T, name string, lines ...string) {
	t.Helper()
	j.until(t, fmt.Sprintf("%d lines of %s", len(lines), name), func() bool { return len(j.lines(name)) >= len(lines) })
	if got := j.lines(name); !slices.Equal(got, lines) {
		for i := range lines {
			if got[i] != lines[i] {
				t.Logf("they differ from line %d on: got %q, want %q", i, got[i:min(i+5, len(got))], lines[i:min(i+5, len(lines))])
				break
			}
		}
		t.Fatalf("%s: got\n%.2000q\nwant\n%.2000q", name, got, lines)
	}
}

const poll = 5 * time.Millisecond

// start runs a follower until stop is called, or the test ends.
func (j *journal) start(t *testing.T, f follow.Follower) (stop func()) {
	t.Helper()
	f.Accept, f.Load, f.Report = j.accept, j.load, j.report
	if f.Poll == 0 {
		f.Poll = poll
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func source(path string) follow.Follower {
	return follow.Follower{Sources: []follow.Source{{Path: path, To: "central"}}}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func noReports(t *testing.T, j *journal) {
	t.Helper()
	if r := j.reported(); len(r) > 0 {
		t.Errorf("reports: %q", r)
	}
}

func logIn(t *testing.T) string { return filepath.Join(t.TempDir(), "app.log") }
