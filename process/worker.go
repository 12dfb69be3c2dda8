package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Limits of a Worker.
const (
	workBatch  = 256
	maxReruns  = 3           // runs of a command that asks for a rerun; it may be what kills the node
	roomRetry  = time.Second // while the disk is full
	retryLimit = time.Minute
)

// Worker handles what one sender sent to one subject of this node: one at a
// time and in order, unless the method is concurrent. Before a run that may not
// be repeated it commits that the run begins; its end, its result and what else
// goes with it are one transaction. Set the fields, then Run.
type Worker struct {
	Lane    store.Lane
	Method  *Method // nil: the node lost the method since it accepted the message
	Node    string
	Store   *store.DB
	Idle    time.Duration
	Stop    context.Context // ends runs when the node cannot wait any longer
	Log     *slog.Logger
	Queued  func([]*message.Message) // replies are in the outbox
	Trouble func(Trouble)            // a handler failed in a way that an operator should know
	Handled func(store.Work, message.Result)
	// Begun is told of a command that has run for a while, and again when its sender
	// asks; it must not block. Nil: nobody is.
	Begun func(m *message.Message, since time.Time, again bool)

	wake   chan struct{}
	after  message.Place  // handled, or being handled
	panics chan *Panicked // of size one: a handler panicked, and Run is to end
	hints  hints
}

// NewWorker makes w, whose fields are set, ready to Run.
func NewWorker(w *Worker) *Worker {
	w.wake, w.panics = make(chan struct{}, 1), make(chan *Panicked, 1)
	w.hints.told = map[uuid.UUID]hint{}
	return w
}

// Wake tells that the inbox has grown. It never blocks.
func (w *Worker) Wake() { signal(w.wake) }

// Run handles messages until ctx ends, which lets the running handler finish
// (or Stop end it), or until nothing came for Idle: then it returns nil. After a
// handler panicked it returns a *Panicked: that message has its outcome, the
// others stay in the inbox for the next Run.
func (w *Worker) Run(ctx context.Context) (err error) {
	var group sync.WaitGroup
	defer func() {
		if group.Wait(); err == nil && len(w.panics) > 0 {
			err = <-w.panics
		}
	}()
	slots := make(chan struct{}, w.concurrent())
	w.after = message.Place{}
	for ctx.Err() == nil && len(w.panics) == 0 {
		work, err := w.Store.Inbox(w.Lane, w.after, workBatch)
		if err != nil {
			return fmt.Errorf("read inbox of %s: %w", w.Lane.Subject, err)
		}
		if len(work) == 0 {
			if w.rest(ctx) && len(slots) == 0 { // while one runs, others may come
				return nil
			}
			continue
		}
		w.after = work[len(work)-1].Place
		work, err = w.sortOut(work)
		if err != nil || len(work) == 0 {
			if err != nil {
				return err
			}
			continue
		}
		switch {
		case w.Method.Batch != nil:
			err = w.together(ctx, work)
		case w.Method.Repeatable && w.concurrent() == 1:
			err = w.inTurn(ctx, work)
		case w.concurrent() == 1:
			err = w.oneByOne(ctx, work)
		default:
			err = w.spread(ctx, &group, slots, work)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) concurrent() int {
	if w.Method == nil {
		return 1
	}
	return max(w.Method.Concurrent, 1)
}

func (w *Worker) rest(ctx context.Context) (idle bool) {
	timer := time.NewTimer(w.Idle)
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
		return true
	case <-ctx.Done():
	}
	return false
}

// sortOut ends what must not run: what an earlier life had begun, what a copied
// journal brought, what is too late, what nobody here can handle.
func (w *Worker) sortOut(work []store.Work) (runnable []store.Work, err error) {
	var done []store.Finished
	now := time.Now()
	for _, k := range work {
		outcome, why := w.verdict(k, now)
		if outcome == "" {
			runnable = append(runnable, k)
			continue
		}
		r := message.Result{Outcome: outcome, Error: why, EndedAt: now, StartedAt: k.Started}
		done = append(done, store.Finished{Work: k, Result: r, Replies: replies(w.Store, w.Method, k.Message, r)})
		if outcome == ack.Unknown || k.Message == nil {
			w.trouble(k.ID, "%s", why)
		}
	}
	if len(done) == 0 {
		return runnable, nil
	}
	return runnable, w.finish(done, nil)
}

func (w *Worker) verdict(k store.Work, now time.Time) (ack.Outcome, string) {
	switch {
	case k.Message == nil:
		return ack.Unknown, fmt.Sprintf("the message cannot be read from the journal: %v", k.Err)
	case w.Method == nil:
		return ack.Failed, fmt.Sprintf("%s has no method %s any more", w.Node, k.Message.Method)
	case w.Method.Repeatable || w.Method.Batch != nil:
	case k.Message.OnUnknown == message.Rerun && k.Runs < maxReruns:
	case !k.Started.IsZero() && k.Runs == 0:
		return ack.Unknown, fmt.Sprintf("the journal of %s was found to be a copy; what waited in it may have run elsewhere", w.Node)
	case w.Method.Lasting != nil:
	case !k.Started.IsZero():
		return ack.Unknown, fmt.Sprintf("%s stopped while it ran (run %d)", w.Node, k.Runs)
	}
	return expired(k, now)
}

// expired: not an event that was acknowledged, which is "delivered" to its sender.
func expired(k store.Work, now time.Time) (ack.Outcome, string) {
	if k.Message.Kind != subject.EventACK && !k.Message.Expires.IsZero() && now.After(k.Message.Expires) && k.Started.IsZero() {
		return ack.Expired, "its lifetime ended before it was started"
	}
	return "", ""
}

// oneByOne runs each message between two commits: that it begins, and its end.
func (w *Worker) oneByOne(ctx context.Context, work []store.Work) error {
	for _, k := range work {
		if ctx.Err() != nil || len(w.panics) > 0 {
			return nil //nolint:nilerr // that the node stops is no error
		}
		if err := w.single(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) single(ctx context.Context, k store.Work) error {
	if outcome, why := expired(k, time.Now()); outcome != "" { // while it waited for its turn
		return w.end(k, message.Result{Outcome: outcome, Error: why, EndedAt: time.Now()})
	}
	if w.Method.Lasting != nil {
		return w.lasting(ctx, k)
	}
	if !w.Method.Repeatable {
		if gone, err := w.started(ctx, &k); gone || err != nil {
			return err
		}
	}
	r := w.run(w.Stop, k)
	failpoint.Hit(failpoint.Ran)
	if w.Stop.Err() != nil && r.Outcome != ack.Done { // whatever it says, it is the node that ended it
		if w.Method.Repeatable || k.Message.OnUnknown == message.Rerun {
			return nil // it stays in the inbox, and runs again
		}
		if r.Outcome != ack.Unknown {
			r.Outcome, r.Error = ack.Unknown, fmt.Sprintf("interrupted: %v (its handler: %s)", ErrStopping, r.Error)
		}
	}
	return w.end(k, r)
}

// started commits that a run of k begins, unless its sender took it back. While
// there is no room for that it waits; gone says too that ctx or k's lifetime ended
// meanwhile.
func (w *Worker) started(ctx context.Context, k *store.Work) (gone bool, err error) {
	back, err := w.Store.Started(w.Lane, k.Place)
	if errors.Is(err, store.ErrFull) {
		if !sleep(ctx, roomRetry) {
			return true, nil
		}
		if outcome, why := expired(*k, time.Now()); outcome != "" {
			return true, w.end(*k, message.Result{Outcome: outcome, Error: why, EndedAt: time.Now()})
		}
		return w.started(ctx, k)
	}
	if err != nil {
		return false, fmt.Errorf("start %s: %w", k.ID, err)
	}
	if len(back) > 0 {
		return true, nil
	}
	failpoint.Hit(failpoint.Started)
	k.Runs++
	return false, nil
}

func (w *Worker) end(k store.Work, r message.Result) error {
	return w.finish([]store.Finished{{Work: k, Result: r, Replies: replies(w.Store, w.Method, k.Message, r)}}, nil)
}

// inTurn runs messages that may be repeated: in order, and ends them together.
func (w *Worker) inTurn(ctx context.Context, work []store.Work) error {
	var done []store.Finished
	for _, k := range work {
		if ctx.Err() != nil || len(w.panics) > 0 {
			break
		}
		r := w.run(w.Stop, k)
		if w.Stop.Err() != nil {
			break
		}
		done = append(done, store.Finished{Work: k, Result: r, Replies: replies(w.Store, w.Method, k.Message, r)})
	}
	return w.finish(done, nil)
}

// together gives a batch to the method at once, again until it took it.
func (w *Worker) together(ctx context.Context, work []store.Work) error {
	ms := make([]*message.Message, len(work))
	for i, k := range work {
		ms[i] = k.Message
	}
	for pause := time.Second; ; pause = min(2*pause, retryLimit) {
		results, lengths, panicked := w.batch(ms)
		if panicked != nil { // no order to repeat it
			w.panicked(panicked)
			results = make([]message.Result, len(work))
			for i := range results {
				results[i] = message.Result{Outcome: ack.Failed, Error: panicked.Cause()}
			}
		}
		if len(results) == len(work) {
			done := make([]store.Finished, len(work))
			for i, k := range work {
				done[i] = store.Finished{Work: k, Result: results[i], Replies: replies(w.Store, w.Method, k.Message, results[i])}
				if results[i].Outcome == ack.Failed && panicked == nil {
					w.trouble(k.ID, "%s", results[i].Error)
				}
			}
			return w.finish(done, lengths)
		}
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

func (w *Worker) batch(ms []*message.Message) (results []message.Result, lengths []FileLength, panicked *Panicked) {
	panicked = guard(ms[0], func() { results, lengths = w.Method.Batch(w.Stop, ms) })
	for i := range results {
		mend(&results[i])
	}
	return results, lengths, panicked
}

// spread runs messages side by side, as many as the method allows.
func (w *Worker) spread(ctx context.Context, group *sync.WaitGroup, slots chan struct{}, work []store.Work) error {
	for _, k := range work {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if len(w.panics) > 0 {
			<-slots
			return nil
		}
		group.Go(func() {
			defer func() { <-slots }()
			if err := w.single(ctx, k); err != nil {
				w.trouble(k.ID, "%v", err)
			}
		})
	}
	return nil
}

func (w *Worker) run(stop context.Context, k store.Work) message.Result {
	defer w.announce(k.Message, k.Started)()
	r, panicked := run(stop, w.Method, k.Message, k.Received, k.Runs)
	if panicked != nil {
		w.panicked(panicked)
	}
	return r
}

// panicked lets Run end; of several at once the first, the others are told.
func (w *Worker) panicked(p *Panicked) {
	select {
	case w.panics <- p:
		w.Wake()
	default:
		w.trouble(p.ID, "%s", p.Cause())
	}
}

// finish commits ends until it succeeds: a truth that is known must not be lost
// because the disk was full for a while, which the node tells of.
func (w *Worker) finish(done []store.Finished, lengths []FileLength) error {
	if len(done) == 0 {
		return nil
	}
	notes := make([]store.Note, len(lengths))
	for i, l := range lengths {
		notes[i] = store.Note{Key: LengthKey(l.Name), Value: fmt.Appendf(nil, "%d", l.Length)}
	}
	for {
		err := w.Store.Finish(w.Lane, done, notes...)
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrFull) {
			return fmt.Errorf("finish %s: %w", done[0].Work.ID, err)
		}
		if !sleep(w.Stop, roomRetry) {
			return fmt.Errorf("finish %s: %w", done[0].Work.ID, err)
		}
	}
	var queued []*message.Message
	for _, d := range done {
		queued = append(queued, d.Replies...)
		if w.Handled != nil {
			w.Handled(d.Work, d.Result)
		}
		if d.Work.Runs > 0 {
			w.forget(d.Work)
		}
	}
	if w.Queued != nil && len(queued) > 0 {
		w.Queued(queued)
	}
	return nil
}

// LengthKey is the key of the note that holds the committed length of a file.
func LengthKey(name string) string { return "length/" + name }

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *Worker) trouble(id uuid.UUID, format string, args ...any) {
	if w.Trouble != nil {
		w.Trouble(Trouble{ID: id, Subject: w.Lane.Subject, Cause: fmt.Sprintf(format, args...)})
	}
}
