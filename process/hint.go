package process

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// hintAfter is how long a command runs before its sender is told that it does:
// most are over by then, and cost nothing.
const hintAfter = 200 * time.Millisecond

// hints are the commands of which their sender was told that they run.
type hints struct {
	mu   sync.Mutex
	told map[uuid.UUID]hint
}

// hint is that a message runs, since when.
type hint struct {
	message *message.Message
	since   time.Time
}

// announce tells the sender of m that it runs, if it still does after a while. The
// function that it returns ends that.
func (w *Worker) announce(m *message.Message, since time.Time) (over func()) {
	if w.Begun == nil || m.Kind != subject.CommandACK || w.Method.Instant {
		return func() {}
	}
	if since.IsZero() {
		since = time.Now()
	}
	ended := false // under hints.mu
	t := time.AfterFunc(hintAfter, func() {
		w.hints.mu.Lock()
		if !ended {
			w.hints.told[m.ID] = hint{m, since}
		}
		w.hints.mu.Unlock()
		w.Begun(m, since, false)
	})
	return func() {
		if t.Stop() {
			return
		}
		w.hints.mu.Lock()
		defer w.hints.mu.Unlock()
		ended = true
		delete(w.hints.told, m.ID)
	}
}

// Again tells the sender once more which of its messages run: what it was told may
// have been lost. It may be called concurrently.
func (w *Worker) Again(ids []uuid.UUID) {
	var running []hint
	w.hints.mu.Lock()
	for _, id := range ids {
		if n, runs := w.hints.told[id]; runs {
			running = append(running, n)
		}
	}
	w.hints.mu.Unlock()
	for _, n := range running {
		w.Begun(n.message, n.since, true)
	}
}
