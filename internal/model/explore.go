package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// Report is what Explore found.
type Report struct {
	States    int
	Depth     int
	Whole     bool // every state was visited
	Took      time.Duration
	Violation string
	Trace     []string // a shortest way to it, in words
}

func (r Report) String() string {
	return r.Violation + ":\n  " + strings.Join(r.Trace, "\n  ")
}

// Explore visits every state of m, breadth first, up to limit of them, and stops at
// the first violation. From each state it also lets the faults stop, and checks
// what the road comes to.
func (m *Model) Explore(limit int) (rep Report) {
	x := explorer{m: m, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, good: map[uint64]struct{}{}}
	began := time.Now()
	defer func() { rep.Took = time.Since(began).Round(time.Millisecond) }()
	level := []visit{{w: m.start(), at: x.add(m.start(), -1, step{})}}
	var buf []step
	for ; len(level) > 0; rep.Depth++ {
		var next []visit
		for _, v := range level {
			buf = m.steps(&v.w, buf[:0])
			for _, s := range buf {
				w := v.w
				m.step(&w, s)
				at := x.add(w, v.at, s)
				if at < 0 {
					continue
				}
				rep.States = len(x.links)
				if wrong, rest := x.judge(w); wrong != fine {
					rep.Violation, rep.Trace = wrong.String(), x.trace(at, rest)
					return rep
				}
				next = append(next, visit{w, at})
			}
			if len(x.links) > limit {
				return rep
			}
		}
		level = next
	}
	rep.Whole = true
	return rep
}

type visit struct {
	w  world
	at int32
}

type link struct {
	from int32
	step step
}

type explorer struct {
	m     *Model
	seed  maphash.Seed
	links []link
	seen  map[uint64]struct{}
	good  map[uint64]struct{} // states from which the road comes to a good rest
}

// add returns the number of a new state, or -1.
func (x *explorer) add(w world, from int32, s step) int32 {
	key := x.key(w)
	if _, ok := x.seen[key]; ok {
		return -1
	}
	x.seen[key] = struct{}{}
	x.links = append(x.links, link{from, s})
	return int32(len(x.links) - 1)
}

// key is the same for worlds whose networks differ in the order of packets only.
func (x *explorer) key(w world) uint64 {
	var sum uint64
	for n := range w.net {
		for _, p := range w.net[n] {
			if p.kind != nothing {
				h := maphash.Comparable(x.seed, p)
				sum += h<<n | h>>(64-n)
			}
		}
	}
	w.net = [2][slots]packet{}
	return maphash.Comparable(x.seed, w) ^ sum*0x9e3779b97f4a7c15
}

// judge decides on w, and on the rest that it comes to without faults.
func (x *explorer) judge(w world) (wrong violation, rest []step) {
	if w.truth.wrong != fine {
		return w.truth.wrong, nil
	}
	var way []uint64
	w.calm()
	for range 300 {
		key := x.key(w)
		if _, ok := x.good[key]; ok {
			x.remember(way)
			return fine, nil
		}
		way = append(way, key)
		s, more := x.m.fair(&w)
		if !more {
			if x.m.checkRest(&w); w.truth.wrong == fine {
				x.remember(way)
			}
			return w.truth.wrong, rest
		}
		rest = append(rest, s)
		if x.m.step(&w, s); w.truth.wrong != fine {
			return w.truth.wrong, rest
		}
	}
	return endless, rest
}

func (x *explorer) remember(way []uint64) {
	for _, key := range way {
		x.good[key] = struct{}{}
	}
}

// calm ends the faults, and what is late is lost.
func (w *world) calm() {
	w.left, w.has, w.backup = Faults{}, [2]bool{}, [2]journal{}
	for n := range w.net {
		for k := range w.net[n] {
			if !w.net[n][k].awaited {
				w.net[n][k] = packet{}
			}
		}
	}
}

// fair is the next step of a road without faults, on which nothing waits for ever.
func (m *Model) fair(w *world) (s step, more bool) {
	for n := range w.net {
		for k, p := range w.net[n] {
			if p.kind != nothing && !p.awaited {
				w.net[n][k] = packet{}
			}
		}
	}
	best := 0
	for _, c := range m.steps(w, nil) {
		if rank := m.rank(w, c); rank > best {
			best, s = rank, c
		}
	}
	return s, best > 0
}

func (m *Model) rank(w *world, s step) int {
	awaited := false
	for _, p := range w.net[s.n] {
		awaited = awaited || p.awaited
	}
	switch s.do {
	case doHear:
		return 10
	case doArrive:
		if s.loud {
			return 9
		}
	case doNoAnswer:
		if !awaited && w.answers[s.n].kind == nothing {
			return 9
		}
	case doAcked, doMark, doQueue:
		return 8
	case doSortOut, doRan, doGiveUp:
		return 7
	case doStarted:
		return 6
	case doNext, doProbe, doSend:
		return 2 + int(s.k)
	case doPublish:
		if s.loud {
			return 2 + int(s.k)
		}
	case doAsk:
		return 1
	}
	return 0
}

// trace tells the way to state at, and the steps after it.
func (x *explorer) trace(at int32, rest []step) []string {
	var way []step
	for ; x.links[at].from >= 0; at = x.links[at].from {
		way = append(way, x.links[at].step)
	}
	slices.Reverse(way)
	return x.tell(way, rest)
}

// tell is way in words, and the rest that it comes to when faults stop.
func (x *explorer) tell(way, rest []step) (lines []string) {
	x.m.told = func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	defer func() { x.m.told = nil }()
	w := x.m.start()
	for _, s := range way {
		x.m.step(&w, s)
	}
	if len(rest) > 0 {
		lines = append(lines, "-- faults stop --")
	}
	for _, s := range rest {
		w.calm()
		x.m.step(&w, s)
	}
	return lines
}
