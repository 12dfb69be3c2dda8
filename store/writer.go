package store

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/internal/failpoint"
)

// Limits of one group commit.
const (
	maxGroup   = 1024                   // operations folded into one transaction
	lazyDelay  = 100 * time.Millisecond // longest wait of an operation that nobody waits for
	maxPatient = 4096                   // such operations that may wait together
)

// op is a part of a transaction. run must check before it writes: an error it
// returns is its caller's alone, and the others commit without it. Since the
// group is then run again, run sets what it returns from scratch each time.
type op struct {
	run  func(tx *bolt.Tx) error
	then func() // after the commit, on the writer's goroutine
	done chan error
	err  error
}

// writer owns the write transaction and folds what waits into one commit.
type writer struct {
	db      *bolt.DB
	ground  *ground
	space   *diskSpace
	in      chan *op
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the goroutine has ended
	observe func(ops int, took time.Duration)

	mu      sync.Mutex
	patient []*op // may wait for company; in order among themselves
	urgent  bool  // one of them may not
	nudge   chan struct{}
	stuck   bool          // a transaction could not be ended; the loop's until it stopped
	failed  error         // the commit error after which nothing is tried again
	broken  chan struct{} // closed with it
}

func newWriter(db *bolt.DB, g *ground, space *diskSpace, observe func(int, time.Duration)) *writer {
	return &writer{
		db: db, ground: g, space: space, in: make(chan *op, maxGroup), stop: make(chan struct{}), stopped: make(chan struct{}),
		observe: observe, nudge: make(chan struct{}, 1), broken: make(chan struct{}),
	}
}

// do makes what run writes durable before it returns.
func (w *writer) do(run func(tx *bolt.Tx) error, then func()) error {
	o := &op{run: run, then: then, done: make(chan error, 1)}
	select {
	case w.in <- o:
	case <-w.stop:
		return ErrClosed
	}
	return w.await(o)
}

func (w *writer) await(o *op) error {
	select {
	case err := <-o.done:
		return err
	case <-w.stopped:
		select {
		case err := <-o.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// later makes what run writes durable with the next commit, or soon, after
// whatever went to later before. Its error goes nowhere: run is something that a
// repeat would only find done. When too many wait, it waits itself.
func (w *writer) later(run func(tx *bolt.Tx) error, then func()) {
	w.mu.Lock()
	full := len(w.patient) >= maxPatient
	w.mu.Unlock()
	if full {
		_ = w.inOrder(run, then)
		return
	}
	w.append(&op{run: run, then: then})
}

// inOrder is do for what must come after all that went to later.
func (w *writer) inOrder(run func(tx *bolt.Tx) error, then func()) error {
	o := &op{run: run, then: then, done: make(chan error, 1)}
	w.append(o)
	return w.await(o)
}

func (w *writer) append(o *op) {
	w.mu.Lock()
	w.patient = append(w.patient, o)
	wake := len(w.patient) == 1 || o.done != nil
	w.urgent = w.urgent || o.done != nil
	w.mu.Unlock()
	if wake {
		w.wake()
	}
}

func (w *writer) wake() {
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

func (w *writer) loop() {
	defer close(w.stopped)
	debug.SetPanicOnFault(true) // a damaged page may point beyond the file
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		var first *op
		select {
		case first = <-w.in:
		case <-w.nudge:
			w.mu.Lock()
			urgent := w.urgent
			w.mu.Unlock()
			if !urgent {
				timer.Reset(lazyDelay)
				continue
			}
		case <-timer.C:
		case <-w.stop:
			w.commit(w.gather(nil))
			return
		}
		group := w.gather(first)
		if w.commit(group); len(group) > groundGroup {
			w.ground.prepare()
		}
	}
}

// gather takes the patient ones last: much of what an ack says is said better by
// a result that came meanwhile.
func (w *writer) gather(first *op) (group []*op) {
	if first != nil {
		group = append(group, first)
	}
	for n := -1; n < len(group); {
		n = len(group)
		runtime.Gosched() // whoever the last commit woke may be about to ask
		group = w.drain(group)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	group = append(group, w.patient...)
	w.patient, w.urgent = nil, false
	return group
}

func (w *writer) drain(group []*op) []*op {
	for len(group) < maxGroup {
		select {
		case o := <-w.in:
			group = append(group, o)
		default:
			return group
		}
	}
	return group
}

func (w *writer) commit(group []*op) {
	if len(group) == 0 {
		return
	}
	began := time.Now()
	err := w.fault()
	if err == nil {
		err = w.try(group)
	}
	if errors.Is(err, ErrFull) {
		w.space.refuses()
	}
	if w.observe != nil {
		w.observe(len(group), time.Since(began))
	}
	var unkept []*op
	for _, o := range group {
		if o.err == nil {
			o.err = err
		}
		if o.done == nil && errors.Is(o.err, ErrFull) {
			unkept = append(unkept, o)
			continue
		}
		if o.err == nil && o.then != nil {
			o.then()
		}
		if o.done != nil {
			o.done <- o.err
		}
	}
	w.again(unkept)
}

// again lets operations that nobody waits for wait for room on the disk, before
// what came meanwhile.
func (w *writer) again(unkept []*op) {
	if len(unkept) == 0 {
		return
	}
	for _, o := range unkept {
		o.err = nil
	}
	w.mu.Lock()
	w.patient = append(unkept, w.patient...)
	w.mu.Unlock()
	w.wake()
}

// try commits group without those whose run failed, each on its own fault.
func (w *writer) try(group []*op) error {
	for again := true; again; {
		var err error
		if again, err = w.once(group); err != nil {
			return err
		}
	}
	return nil
}

// once is a transaction of those of group that have not failed; again asks for
// another one, without the one that failed in it.
func (w *writer) once(group []*op) (again bool, err error) {
	tx, err := w.db.Begin(true)
	if err != nil {
		return false, w.fail(0, err)
	}
	id := tx.ID()
	defer func() {
		if v := recover(); v != nil {
			again, err = false, w.fail(id, fmt.Errorf("%w: %v; `steward store check` tells more", ErrCorrupt, v))
			w.abandon(tx)
		}
	}()
	for _, o := range group {
		if o.err != nil {
			continue
		}
		if o.err = o.run(tx); o.err != nil {
			if err := tx.Rollback(); err != nil {
				return false, w.fail(0, err)
			}
			return true, nil
		}
	}
	failpoint.Hit(failpoint.Committing)
	if err := tx.Commit(); err != nil {
		return false, w.fail(id, err)
	}
	failpoint.Hit(failpoint.Committed)
	return false, nil
}

// abandon gives up a transaction that a damaged page has stopped. If that does not
// succeed either, the file stays locked until the process ends.
func (w *writer) abandon(tx *bolt.Tx) {
	w.stuck = true
	defer func() {
		if v := recover(); v == nil {
			w.stuck = false
		}
	}()
	_ = tx.Rollback() // the error is the same again
}

// fail says what the failed commit of transaction id means. When there was no
// room for what it writes, nothing refers to that, and the next one may try again.
// After any other error nobody knows what the disk holds, and the store must be
// opened anew.
func (w *writer) fail(id int, err error) error {
	if NoRoom(err) && !w.visible(id) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = fmt.Errorf("%w (commit to %s: %w)", ErrBroken, w.db.Path(), err)
		close(w.broken)
	}
	return w.failed
}

// visible reports whether transaction id is what the next one would build on: its
// head was written, and only then the disk found no room, as one does that
// gives room late. Told that it is full, the caller would ask for it a second time.
func (w *writer) visible(id int) (yes bool) {
	err := w.db.View(func(tx *bolt.Tx) error {
		yes = tx.ID() >= id
		return nil
	})
	return yes || err != nil
}

func (w *writer) fault() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// close commits what waits and ends the goroutine.
func (w *writer) close() {
	close(w.stop)
	<-w.stopped
	_ = w.ground.file.Close() // nothing of it has to last
}
