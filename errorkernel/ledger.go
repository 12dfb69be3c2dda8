package errorkernel

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ledger folds failures of one kind into runs. A run is told at once when
// it begins and when it becomes more severe, else at the end of a window that
// doubles with each summary; a window without a failure ends it. What is told
// carries the run's ID and its whole count, so the latest replaces the earlier.
type ledger struct {
	policy Policy
	wake   chan struct{} // of size one: something is to be told at once

	mu    sync.Mutex
	runs  map[string]*run
	order []*run // the same, oldest first
	stats Stats
}

// run is what one kind of failure did since it was last quiet.
type run struct {
	key    string
	f      Failure
	names  []string // whom it befell, the first MaxAmong
	urgent bool
	window time.Duration
	due    time.Time // end of the window

	logged, stored, forwarded int // the counts up to which each was told
}

// report is one telling of a run.
type report struct {
	run                *run
	f                  Failure
	log, keep, forward bool
}

// fold adds f to its run in constant time and without any input or output.
func (l *ledger) fold(f Failure, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Failures[f.Class] += uint64(f.Count)
	names := f.stands()
	r := l.runs[key]
	if r == nil && len(l.runs) >= l.policy.Kinds {
		l.stats.Lumped += uint64(f.Count)
		key, f = lump(f)
		r = l.runs[key]
	}
	if r == nil {
		r = l.begin(key, f)
	} else {
		l.add(r, f)
	}
	r.befell(names)
}

// befell adds to whom r names; there is no need to list one.
func (r *run) befell(names []string) {
	for _, name := range names {
		if len(r.names) < MaxAmong && !slices.Contains(r.names, name) {
			r.names = append(r.names, name)
		}
	}
	if r.f.Among = nil; len(r.names) > 1 {
		r.f.Among = slices.Clip(r.names) // what lies in it stays
	}
}

// lump makes f one of the other failures of its class. The key has no bar, so it
// is no kind's. Those that stay at this node are lumped apart.
func lump(f Failure) (string, Failure) {
	key, sub := "other "+string(f.Class), ""
	if aboutErrorLog(f) {
		key, sub = key+" "+errorLog, errorLog
	}
	f.Cause = cut("other failures, the latest: "+about(f)+f.Cause, MaxCause)
	f.Process, f.Subject, f.Message = "", sub, ""
	return key, f
}

func about(f Failure) string {
	s := ""
	for _, part := range []string{f.Process, f.Subject, f.Message} {
		if part != "" {
			s += part + ": "
		}
	}
	return s
}

func (l *ledger) begin(key string, f Failure) *run {
	if f.ID == "" {
		f.ID = uuid.Must(uuid.NewV7()).String()
	}
	r := &run{key: key, urgent: true, window: l.policy.Summary}
	l.runs[key] = r
	l.order = append(l.order, r)
	r.f = l.graded(f, f.Count)
	l.nudge()
	return r
}

func (l *ledger) add(r *run, f Failure) {
	f.ID, f.First, f.Count = r.f.ID, r.f.First, r.f.Count+f.Count
	f = l.graded(f, f.Count)
	if f.Severity.rank() > r.f.Severity.rank() || f.Action == Terminate {
		r.urgent = true
		l.nudge()
	} else {
		f.Severity = r.f.Severity
	}
	if r.f.Action == Terminate && f.Action != Terminate && f.Process != r.f.Process { // that one still needs a hand
		r.f.Count, r.f.Last, r.f.Severity = f.Count, f.Last, f.Severity
		return
	}
	r.f = f
}

// graded gives f the severity that the table has for the nth of its run, where
// f brings none.
func (l *ledger) graded(f Failure, n int) Failure {
	if f.Severity.rank() == 0 {
		d, _ := l.policy.decide(f.Class, n)
		f.Severity = d.severity
	}
	return f
}

func (l *ledger) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}

// take returns what is to be told now, and when to look again (zero: when woken).
// Runs that were quiet for a window end here; all tells the rest before its time.
func (l *ledger) take(now time.Time, all bool) (reports []report, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.order[:0]
	for _, r := range l.order {
		over := !r.due.IsZero() && !now.Before(r.due)
		if over && !r.untold() {
			delete(l.runs, r.key)
			continue
		}
		if kept = append(kept, r); (r.urgent || over || all) && r.untold() {
			reports = append(reports, l.tell(r, now))
		}
		if next.IsZero() || r.due.Before(next) {
			next = r.due
		}
	}
	clear(l.order[len(kept):])
	l.order = kept
	return reports, next
}

func (r *run) untold() bool { return r.f.Count > min(r.logged, r.stored, r.forwarded) }

func (l *ledger) tell(r *run, now time.Time) report {
	n := r.f.Count
	rep := report{run: r, f: r.f, log: n > r.logged, keep: n > r.stored, forward: n > r.forwarded}
	if !r.due.IsZero() && !now.Before(r.due) {
		r.window = min(2*r.window, l.policy.MaxSummary)
	}
	r.logged, r.urgent, r.due = n, false, now.Add(r.window)
	return rep
}

// settle notes how far rep was told. What failed stays untold and is tried again
// at the end of the run's window.
func (l *ledger) settle(rep report, kept, forwarded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if kept {
		rep.run.stored = max(rep.run.stored, rep.f.Count)
	} else {
		l.stats.StoreErrors++
	}
	if forwarded {
		rep.run.forwarded = max(rep.run.forwarded, rep.f.Count)
	} else {
		l.stats.ForwardErrors++
	}
}
