package errorkernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
)

// What the kernel's methods return, wrapped.
var (
	ErrFatal      = errors.New("the node must stop")
	ErrLives      = errors.New("the process lives already")
	ErrTerminated = errors.New("the process is terminated")
	ErrNoProcess  = errors.New("no such process")
	ErrStopped    = errors.New("the error kernel has stopped")
)

// Kernel owns the processes of a node and hears of every failure. Fill its
// exported fields, then Run it; every method may be called from any goroutine,
// before, while and after it runs.
type Kernel struct {
	Node string       // named in failures that name no node
	Log  *slog.Logger // nil: quiet

	// Store keeps a failure at this node; Forward puts it on the road to central.
	// Both get a run's ID again with a higher count as it goes on: the latest
	// replaces the earlier. They are called one at a time, never after Run
	// returned, and may block; a failure that they return an error for is logged,
	// counted, and handed over again with the next summary of its run. Nil: there
	// is no such place.
	Store   func(Failure) error
	Forward func(Failure) error

	// Told is called when all failures that were reported with an ID of their own, up
	// to this one, were stored and, where they have to be, forwarded. They must have
	// been reported in the order of their IDs. Nil: nobody asks.
	Told func(id string)

	// Observe is told of every failure at once, coalesced or not. It must not block. Nil: nobody counts.
	Observe func(Failure)

	// Waits says of the error of a process that what it lacks will come, and that the
	// node tells of it elsewhere: that is no failure, and the process starts again
	// each Policy.Pause. It must not block. Nil: of none.
	Waits func(error) bool

	Policy Policy

	once   sync.Once
	ledger *ledger
	wake   chan struct{} // of size one: pending or fatal changed

	mu        sync.Mutex
	phase     phase
	processes map[string]*process
	pending   []*process // to be started by Run
	fatal     error
}

type phase int

const (
	idle phase = iota
	running
	stopped
)

// Stats counts since the kernel was made.
type Stats struct {
	Failures      map[Class]uint64 `json:"failures"`
	Lumped        uint64           `json:"lumped"` // of these, without a record of their own: too many kinds at once
	StoreErrors   uint64           `json:"storeErrors"`
	ForwardErrors uint64           `json:"forwardErrors"`
}

func (k *Kernel) setup() {
	k.once.Do(func() {
		if k.Log == nil {
			k.Log = slog.New(slog.DiscardHandler)
		}
		k.Policy = k.Policy.withDefaults()
		k.wake = make(chan struct{}, 1)
		k.processes = make(map[string]*process)
		k.ledger = &ledger{
			policy: k.Policy,
			wake:   make(chan struct{}, 1),
			runs:   make(map[string]*run),
			stats:  Stats{Failures: make(map[Class]uint64)},
		}
	})
}

// Run starts the processes and tells of failures until ctx ends or Fatal is
// called. When it returns, all processes have ended, what was reported until
// then has been told, and nothing of the kernel is left. It runs once; the
// error is nil, or wraps ErrFatal and its cause, or is ErrStopped.
func (k *Kernel) Run(ctx context.Context) error {
	k.setup()
	k.mu.Lock()
	again := k.phase != idle
	k.phase = max(k.phase, running)
	k.mu.Unlock()
	if again {
		return fmt.Errorf("run the error kernel a second time: %w", ErrStopped)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	var processes, teller sync.WaitGroup
	teller.Go(func() { k.tell(ended) })
	k.start(ctx, &processes)
	cancel()
	processes.Wait()
	close(ended)
	teller.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fatal
}

// start starts processes as they come, until ctx ends or something was fatal.
func (k *Kernel) start(ctx context.Context, wg *sync.WaitGroup) {
	for {
		k.mu.Lock()
		if k.fatal != nil || ctx.Err() != nil {
			k.phase = stopped
			k.mu.Unlock()
			return
		}
		pending := k.pending
		k.pending = nil
		k.mu.Unlock()
		for _, p := range pending {
			wg.Go(func() { k.supervise(ctx, p) })
		}
		select {
		case <-k.wake:
		case <-ctx.Done():
		}
	}
}

// tell hands what the ledger has to the log, the store and the road, until ended
// is closed, and then all the rest.
func (k *Kernel) tell(ended <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-k.ledger.wake:
		case <-ended:
			reports, _ := k.ledger.take(time.Now(), true)
			k.handOver(reports)
			return
		}
		reports, next := k.ledger.take(time.Now(), false)
		k.handOver(reports)
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

func (k *Kernel) handOver(reports []report) {
	for _, r := range reports {
		f := r.f
		if r.log {
			k.log(f)
		}
		kept := !r.keep || k.give(f, "store a failure", k.Store)
		forwarded := !r.forward || aboutErrorLog(f) || k.give(f, "send a failure to central", k.Forward)
		k.ledger.settle(r, kept, forwarded)
	}
	if id := k.ledger.told(); id != "" && k.Told != nil {
		k.Told(id)
	}
}

// give calls to, if there is one. Its error ends here: a failure about a failure
// would feed on itself.
func (k *Kernel) give(f Failure, verb string, to func(Failure) error) bool {
	if to == nil {
		return true
	}
	err := to(f)
	if err != nil {
		k.Log.Error(verb+": it is tried again while the node runs", "id", f.ID, "class", f.Class, "err", err)
	}
	return err == nil
}

func (k *Kernel) log(f Failure) {
	level, what := slog.LevelError, "failure"
	switch {
	case !f.Resolved.IsZero():
		level, what = slog.LevelInfo, "failure resolved"
	case f.Severity == Warning:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("failure", f.ID), slog.String("class", string(f.Class)), slog.String("severity", string(f.Severity))}
	for _, a := range []slog.Attr{slog.String("process", f.Process), slog.String("subject", f.Subject), slog.String("id", f.Message)} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if len(f.Among) > 0 {
		attrs = append(attrs, slog.Any("among", f.Among))
	}
	attrs = append(attrs, slog.String("action", string(f.Action)), slog.Int("count", f.Count))
	if f.Mended > 0 {
		attrs = append(attrs, slog.Int("mended", f.Mended), slog.String("since", f.Since))
	}
	attrs = append(attrs, slog.String("err", f.Cause))
	k.Log.LogAttrs(context.Background(), level, what, attrs...)
}

// errorLog is the method that carries failures.
const errorLog = "ErrorLog"

// aboutErrorLog reports whether f tells of the road that failures take
// themselves: its method, the last token, is then ErrorLog.
func aboutErrorLog(f Failure) bool {
	for _, s := range []string{f.Subject, f.Process} {
		if s[strings.LastIndexByte(s, '.')+1:] == errorLog {
			return true
		}
	}
	return false
}

// Report makes f known to the log, the store and central. It never blocks: under
// a storm failures of one kind become one record with a count: those of one class
// whose causes differ in names, ids and numbers only. Class and Cause must be set; Severity may be, else the class decides; ID, Node, First, Last
// and Count have defaults; Action is the kernel's own. Among names whom it befell,
// by default its subject. Set Subject where f is about a message: one whose
// method is ErrorLog does not go to central. It returns the ID of the record that
// f is part of.
func (k *Kernel) Report(f Failure) (id string) {
	f.Action = Log
	return k.record(f, f.Cause)
}

// Mend makes known that one of the failures that record f stands for is over, and
// what came of it; f is resolved with the last of them. id is the ID of this
// report, as in Report, or empty. False: not now, too many records change.
func (k *Kernel) Mend(f Failure, id, since string) bool {
	k.setup()
	return k.ledger.mend(f, id, since, time.Now())
}

// record is Report of a failure whose kind depends on cause, which its Cause says
// with more words.
func (k *Kernel) record(f Failure, cause string) (id string) {
	k.setup()
	now := time.Now()
	f.Node = cmp.Or(f.Node, k.Node)
	f.Count = max(f.Count, 1)
	if f.Last.IsZero() {
		f.Last = now
	}
	if f.First.IsZero() {
		f.First = f.Last
	}
	f.Resolved, f.Mended, f.Since = time.Time{}, 0, ""
	if _, known := k.Policy.decide(f.Class, 1); !known {
		f.Cause = fmt.Sprintf("class %q: %s", f.Class, f.Cause)
		f.Class = Process
	}
	if k.Observe != nil {
		k.Observe(f)
	}
	f = bounded(f)
	return k.ledger.fold(f, f.kind(cause))
}

// Fatal ends the node: what err is about, such as the journal, can be relied on
// no longer. It never blocks; Run stops the processes and returns an error
// that wraps ErrFatal and the first err. The failure is told as critical.
func (k *Kernel) Fatal(class Class, err error) {
	k.record(Failure{Class: class, Severity: Critical, Cause: err.Error() + ": the node stops", Action: Terminate}, err.Error())
	k.mu.Lock()
	if k.fatal == nil {
		k.fatal = fmt.Errorf("%w: %w", ErrFatal, err)
	}
	k.mu.Unlock()
	k.nudge()
}

func (k *Kernel) nudge() {
	select {
	case k.wake <- struct{}{}:
	default: // it is awake
	}
}

// Stats returns the counts up to now.
func (k *Kernel) Stats() Stats {
	k.setup()
	k.ledger.mu.Lock()
	defer k.ledger.mu.Unlock()
	s := k.ledger.stats
	s.Failures = maps.Clone(s.Failures)
	return s
}
