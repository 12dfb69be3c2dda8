package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The ways in which a clock is wrong. It is so from the start of a process on, goes
// to another one of them later, and is right again in the end.
const (
	clockAhead    = "fifty minutes ahead"
	clockBehind   = "fifty minutes behind"
	clockTomorrow = "two days ahead"
	clockEarlier  = "two days behind"
	clockFuture   = leap + " ahead"
	clockPast     = leap + " behind"

	leap = "ten years" // longer than anything is kept
)

var (
	clocksOfAll   = []string{clockAhead, clockBehind, clockTomorrow, clockEarlier}
	clocksOfShips = append(slices.Clone(clocksOfAll), clockFuture, clockPast) // a central's own messages would end at once
)

const day = 24 * time.Hour

func clockError(how string) time.Duration {
	return map[string]time.Duration{
		clockAhead: 50 * time.Minute, clockBehind: -50 * time.Minute, clockTomorrow: 2 * day, clockEarlier: -2 * day,
		clockFuture: 3650 * day, clockPast: -3650 * day,
	}[how]
}

// clockSteps is what a process is told: from so many milliseconds after its start
// on its clock is wrong by so many seconds.
func clockSteps(by time.Duration, hold time.Duration, then time.Duration) string {
	if hold == 0 {
		return fmt.Sprintf("0:%d", int(by.Seconds()))
	}
	return fmt.Sprintf("0:%d,%d:%d,%d:0", int(by.Seconds()), hold.Milliseconds(), int(then.Seconds()), 2*hold.Milliseconds())
}

// clockTrouble is a clock of node that is wrong.
func clockTrouble(rng *rand.Rand, node string, t *Trouble) {
	modes := clocksOfShips
	if node == central || node == hub {
		modes = clocksOfAll
	}
	t.How, t.Hold = modes[rng.IntN(len(modes))], time.Duration(100+rng.IntN(700))*time.Millisecond
}

// clocked reports whether the clock of a node was wrong.
func (j *judgement) clocked(node string) bool {
	return slices.ContainsFunc(j.events, func(e event) bool { return e.Node == node && strings.HasPrefix(e.What, faultClock+" ") })
}

// leapt reports whether it was wrong by more than anything is kept: what is to live
// for a week has ended then, and what was known of it is forgotten.
func (j *judgement) leapt(node string) bool {
	return slices.ContainsFunc(j.events, func(e event) bool { return e.Node == node && strings.HasPrefix(e.What, faultClock+" "+leap) })
}

// setClock replaces the times of a central whose clock was wrong by ours: when its
// messages were submitted, and the end of all.
func (j *judgement) setClock() {
	if !j.clocked(central) {
		return
	}
	end := slices.MaxFunc(j.events, func(a, b event) int { return a.At.Compare(b.At) }).At
	for i := range j.sent {
		m := &j.sent[i]
		if m.EndedAt = end; j.orders[m.Labels["key"]] != nil {
			m.AcceptedAt = j.orders[m.Labels["key"]].from
		}
		j.byID[m.ID] = *m
	}
	for id, m := range j.finals {
		if r := j.orders[m.Labels["key"]]; r != nil {
			m.EndedAt = r.from
			j.finals[id] = m
		}
	}
	for key, list := range j.byKey {
		for i, m := range list {
			j.byKey[key][i] = j.byID[m.ID]
		}
	}
}

// repeated reports whether an order may have been accepted twice, because it was
// submitted to a node whose clock was wrong or set meanwhile: for as long as the
// clock says, a submission that is repeated is known.
func (j *judgement) repeated(key string) bool {
	r := j.orders[key]
	return r != nil && r.Way == byAPI && (r.again || slices.ContainsFunc(j.events, func(e event) bool {
		return e.Node == central && strings.HasPrefix(e.What, faultClock+" ") && e.At.After(r.from) && e.At.Before(r.till)
	}))
}

// clockEdits let every program that is built with them read a clock that can be
// wrong: Go asks the kernel without the C library, so none can be put in between.
func clockEdits(goroot string) []edit {
	const call = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	const rule = `// tortured is by how many seconds the clock is wrong, from so many milliseconds after the start on.
var tortured = tortures()

func tortures() (list [][2]int64) {
	text, _ := syscall.Getenv("TORTURE_CLOCK")
	number := func() int64 {
		n, sign := int64(0), int64(1)
		for len(text) > 0 {
			c := text[0]
			text = text[1:]
			switch {
			case c == '-':
				sign = -1
			case '0' <= c && c <= '9':
				n = 10*n + int64(c-'0')
			default:
				return sign * n
			}
		}
		return sign * n
	}
	for text != "" {
		from := number()
		list = append(list, [2]int64{from, number()})
	}
	return list
}

func torture(mono int64) (seconds int64) {
	for _, x := range tortured {
		if mono-startNano >= x[0]*1e6 {
			seconds = x[1]
		}
	}
	return seconds
}

func unixTime(sec int64`
	folder := filepath.Join(goroot, "src", "time")
	return []edit{
		{folder: folder, old: call, new: strings.Replace(call, "\tif", "\tsec += torture(mono)\n\tif", 1), imports: []string{"syscall"}},
		{folder: folder, old: "func unixTime(sec int64", new: rule},
	}
}

// clockOverlay writes what go build -overlay takes, below dir.
func clockOverlay(ctx context.Context, dir string) (list string, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	return overlay(clockEdits(strings.TrimSpace(string(out))), dir, "")
}
