package method

import (
	"context"
	"sync"
	"time"

	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

const (
	uncommittable = -1 // length of a file that holds what nobody will commit
	lanePoll      = 5 * time.Millisecond
)

// lanes lets the two subjects of a sender, EventACK and EventNACK, share its
// files: what one has written must be committed before the other adds to it, or
// a crash between would leave the journal with the second length and without the
// first one's messages.
type lanes struct {
	committed func(name string) (int64, bool, error)

	mu      sync.Mutex
	senders map[string]*lane
}

// lane is who wrote last into a sender's files, and what is not known to be committed.
type lane struct {
	busy    bool
	kind    subject.Kind
	pending []process.FileLength
	offered bool // kind did not write; it is only given the chance to be next
}

// enter waits until the files of from are free for kind, or have been on offer to
// the other kind for as long as patience.
func (l *lanes) enter(ctx context.Context, from string, kind subject.Kind, patience time.Duration) error {
	for start := time.Now(); ; {
		if l.take(from, kind, time.Since(start) >= patience) {
			return nil
		}
		if err := wait(ctx, lanePoll); err != nil {
			return err
		}
	}
}

func (l *lanes) take(from string, kind subject.Kind, revoke bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.senders[from]
	if w != nil && (w.busy || w.kind != kind && !l.settled(w) && !(w.offered && revoke)) {
		return false
	}
	if l.senders == nil {
		l.senders = map[string]*lane{}
	}
	l.senders[from] = &lane{busy: true, kind: kind}
	return true
}

// settled reports whether all that w wrote is committed.
func (l *lanes) settled(w *lane) bool {
	if w.offered {
		return false
	}
	for _, p := range w.pending {
		if l.committed == nil {
			continue
		}
		if n, known, err := l.committed(p.Name); err != nil || !known || n != p.Length {
			return false
		}
	}
	return true
}

// leave ends kind's turn, if it has it; pending is what its caller is going to commit.
func (l *lanes) leave(from string, kind subject.Kind, pending []process.FileLength) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.senders[from]; w.busy && w.kind == kind {
		l.senders[from] = &lane{kind: kind, pending: pending}
	}
}

// yield lets the other kind have the files for a while, in case that what stands
// in them is its own, and takes them back.
func (l *lanes) yield(ctx context.Context, from string, kind subject.Kind) error {
	other := subject.EventNACK
	if kind == subject.EventNACK {
		other = subject.EventACK
	}
	l.mu.Lock()
	l.senders[from] = &lane{kind: other, offered: true}
	l.mu.Unlock()
	return l.enter(ctx, from, kind, yieldTime)
}
