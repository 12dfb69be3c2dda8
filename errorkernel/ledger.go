package errorkernel

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ledger folds failures of one kind into runs. A run is told at once when it
// begins, names somebody new or becomes more severe, else at the end of a window
// that doubles with each summary; a window without a failure ends it. What is
// told carries the run's ID and its whole count, so the latest replaces the earlier.
type ledger struct {
	policy Policy
	wake   chan struct{} // of size one: something is to be told at once

	mu    sync.Mutex
	runs  map[string]*run
	order []*run // the same, oldest first
	stats Stats
	last  string // ID of its own that the latest failure with one brought,
	prior string // and the one before
	said  string // what told returned last
}

// run is what one kind of failure did since it was last quiet.
type run struct {
	key    string
	f      Failure
	names  []string // whom it befell, the first MaxAmong
	urgent bool
	window time.Duration
	due    time.Time // end of the window

	n                         int // failures and mendings so far
	logged, stored, forwarded int // how many of them were told to each

	owes  bool   // a failure with an ID of its own is not told
	floor string // the last such ID before it
}

// report is one telling of a run.
type report struct {
	run                *run
	f                  Failure
	n                  int
	log, keep, forward bool
	owes               bool
	floor              string
}

// fold adds f to its run in constant time and without any input or output.
func (l *ledger) fold(f Failure, key string) (id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Failures[f.Class] += uint64(f.Count)
	names, own := f.stands(), f.ID
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
	if r.befell(names) {
		r.urgent = true
		l.nudge()
	}
	l.owe(r, own)
	return r.f.ID
}

// owe notes that what r was given last, as id, is not told yet.
func (l *ledger) owe(r *run, id string) {
	r.n++
	if id == "" {
		return
	}
	if id != l.last {
		l.prior, l.last = l.last, id
	}
	if !r.owes {
		r.owes, r.floor = true, l.prior
	}
}

// told is the ID up to which all is told that has an ID of its own; empty if that
// is no news.
func (l *ledger) told() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	up := l.last
	for _, r := range l.order {
		if r.owes {
			up = min(up, r.floor)
		}
	}
	if up == l.said {
		return ""
	}
	l.said = up
	return up
}

// mend counts one failure of record f as over. A run that is over is taken up
// again, if f has more than an ID.
func (l *ledger) mend(f Failure, id, since string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.order, func(r *run) bool { return r.f.ID == f.ID })
	if i < 0 && f.Count == 0 {
		return true
	}
	if i < 0 {
		if len(l.runs) >= l.policy.Kinds {
			return false
		}
		r := &run{key: "mended " + f.ID, f: f, names: f.Among, urgent: true, window: l.policy.Summary}
		l.runs[r.key] = r
		i, l.order = len(l.order), append(l.order, r)
	}
	r := l.order[i]
	r.f.Mended, r.f.Since = min(r.f.Mended+1, r.f.Count), since
	if r.f.Mended == r.f.Count {
		r.f.Resolved, r.urgent = now, true
	}
	l.owe(r, id)
	l.nudge()
	return true
}

// befell adds to whom r names, and reports whether it names somebody new. There is
// no need to list one.
func (r *run) befell(names []string) (more bool) {
	for _, name := range names {
		if len(r.names) < MaxAmong && !slices.Contains(r.names, name) {
			r.names, more = append(r.names, name), true
		}
	}
	if r.f.Among = nil; len(r.names) > 1 {
		r.f.Among = slices.Clip(r.names) // what lies in it stays
	}
	return more
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
	f.Mended, f.Since = r.f.Mended, r.f.Since
	f = l.graded(f, f.Count)
	if f.Severity.rank() > r.f.Severity.rank() || f.Action == Terminate {
		r.urgent = true
		l.nudge()
	} else {
		f.Severity = r.f.Severity
	}
	if r.f.Action == Terminate && f.Action != Terminate && f.Process != r.f.Process { // that one still needs a hand
		r.f.Count, r.f.Last, r.f.Severity, r.f.Resolved = f.Count, f.Last, f.Severity, time.Time{}
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

func (r *run) untold() bool { return r.n > min(r.logged, r.stored, r.forwarded) }

func (l *ledger) tell(r *run, now time.Time) report {
	n := r.n
	rep := report{run: r, f: r.f, n: n, log: n > r.logged, keep: n > r.stored, forward: n > r.forwarded, owes: r.owes, floor: r.floor}
	if !r.due.IsZero() && !now.Before(r.due) {
		r.window = min(2*r.window, l.policy.MaxSummary)
	}
	r.logged, r.urgent, r.owes, r.due = n, false, false, now.Add(r.window)
	return rep
}

// settle notes how far rep was told. What failed stays untold and is tried again
// at the end of the run's window.
func (l *ledger) settle(rep report, kept, forwarded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rep.owes && !(kept && forwarded) {
		rep.run.owes, rep.run.floor = true, rep.floor
	}
	if kept {
		rep.run.stored = max(rep.run.stored, rep.n)
	} else {
		l.stats.StoreErrors++
	}
	if forwarded {
		rep.run.forwarded = max(rep.run.forwarded, rep.n)
	} else {
		l.stats.ForwardErrors++
	}
}
