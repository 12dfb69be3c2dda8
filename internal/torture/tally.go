package main

import (
	"strings"
	"time"
)

// tally is what rounds came to.
type tally struct {
	Rounds     int
	Unplayed   int // the harness failed in them
	Messages   int
	Seconds    float64 // of all rounds
	Parted     int     // rounds of a minute or more in which links failed
	Faults     map[string]int
	Lasted     map[string]float64 // seconds, of the faults that last
	Bits       map[string]int     // flipped, by file
	Outcomes   map[string]int
	Violations map[string]int // by invariant
	Broken     []string       // rounds with violations, and how to play them again
}

func newTally() tally {
	return tally{Faults: map[string]int{}, Lasted: map[string]float64{}, Bits: map[string]int{}, Outcomes: map[string]int{}, Violations: map[string]int{}}
}

func (t *tally) add(r result) {
	t.Rounds++
	t.Messages += r.Messages
	t.Seconds += r.Seconds
	if r.Lasted[faultLink] > 0 && r.Length >= time.Minute.Seconds() {
		t.Parted++
	}
	sum(t.Faults, r.Faults)
	sum(t.Lasted, r.Lasted)
	sum(t.Bits, r.Bits)
	sum(t.Outcomes, r.Outcomes)
	for _, v := range r.Violations {
		t.Violations[v.Invariant]++
	}
	if len(r.Violations) > 0 {
		t.Broken = append(t.Broken, r.replay())
	}
}

// join adds another tally.
func (t *tally) join(u tally) {
	t.Rounds, t.Unplayed, t.Messages, t.Seconds, t.Parted = t.Rounds+u.Rounds, t.Unplayed+u.Unplayed, t.Messages+u.Messages, t.Seconds+u.Seconds, t.Parted+u.Parted
	sum(t.Faults, u.Faults)
	sum(t.Lasted, u.Lasted)
	sum(t.Bits, u.Bits)
	sum(t.Outcomes, u.Outcomes)
	sum(t.Violations, u.Violations)
	t.Broken = append(t.Broken, u.Broken...)
}

func sum[N int | float64](to, from map[string]N) {
	for k, n := range from {
		to[k] += n
	}
}

// times is how often a fault of that class happened, however it did.
func (t tally) times(fault string) (n int) {
	for what, times := range t.Faults {
		if class, _, _ := strings.Cut(what, " "); class == fault {
			n += times
		}
	}
	return n
}

// kills is how many processes died of SIGKILL.
func (t tally) kills() int { return t.times(faultKill) + t.times(faultBroker) + t.times(faultPoint) }

// cuts is how many times a node lost its power.
func (t tally) cuts() int { return t.times(faultPower) }

func (t tally) violations() (n int) {
	for _, times := range t.Violations {
		n += times
	}
	return n
}
