package errorkernel

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Policy sets the kernel's limits. The zero Policy is the default one.
type Policy struct {
	Failures   int           // a process is terminated at its nth failure within Window; 0: 5
	Window     time.Duration // 0: 1 min
	Pause      time.Duration // before the first restart, doubled by each further failure within Window; 0: 1 s
	MaxPause   time.Duration // 0: 1 min
	Summary    time.Duration // from the first failure of a kind to the first summary, doubled by each; 0: 10 s
	MaxSummary time.Duration // 0: 5 min
	Kinds      int           // kinds of failure told apart at a time, the rest goes to one per class; 0: 1024
}

func (p Policy) withDefaults() Policy {
	p.Failures = cmp.Or(p.Failures, 5)
	p.Window = cmp.Or(p.Window, time.Minute)
	p.Pause = cmp.Or(p.Pause, time.Second)
	p.MaxPause = cmp.Or(p.MaxPause, time.Minute)
	p.Summary = cmp.Or(p.Summary, 10*time.Second)
	p.MaxSummary = cmp.Or(p.MaxSummary, 5*time.Minute)
	p.Kinds = cmp.Or(p.Kinds, 1024)
	return p
}

// decision is what the kernel makes of a failure.
type decision struct {
	severity Severity
	action   Action
}

// rule is a line of the table: the decision for a class, and the one that
// takes its place from the nth failure on.
type rule struct {
	class  Class
	first  decision
	n      int // 0: first stays
	beyond decision
}

// rules is the table of all classes.
func (p Policy) rules() []rule {
	return []rule{
		{class: Submission, first: decision{Error, Log}},
		{class: Storage, first: decision{Critical, Log}},
		{class: Transport, first: decision{Warning, Log}, n: 60, beyond: decision{Error, Log}},
		{class: Process, first: decision{Error, Restart}, n: p.Failures, beyond: decision{Critical, Terminate}},
		{class: Handler, first: decision{Error, Log}},
		{class: Rejection, first: decision{Error, Log}},
		{class: Expiry, first: decision{Error, Log}},
		{class: Undelivered, first: decision{Error, Log}},
		{class: Unknown, first: decision{Error, Log}},
		{class: Identity, first: decision{Critical, Log}},
	}
}

// decide looks up the nth failure of a process within Window, or the nth of a
// kind within one coalesced run. known is false for a class without a line.
func (p Policy) decide(c Class, n int) (d decision, known bool) {
	for _, r := range p.rules() {
		if r.class == c {
			if r.n > 0 && n >= r.n {
				return r.beyond, true
			}
			return r.first, true
		}
	}
	return decision{}, false
}

// pause is how long a process waits after its nth failure within Window: between
// half and all of the doubled Pause, so that processes that failed together do
// not come back together.
func (p Policy) pause(n int) time.Duration {
	d := p.Pause
	for i := 1; i < n && d < p.MaxPause; i++ {
		d *= 2
	}
	d = min(d, p.MaxPause)
	return d/2 + rand.N(d/2+1)
}

// rank orders severities; what is not one of the three comes before all.
func (s Severity) rank() int {
	switch s {
	case Warning:
		return 1
	case Error:
		return 2
	case Critical:
		return 3
	}
	return 0
}
