package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// act is a part of a campaign: rounds under some faults, until enough of them
// happened.
type act struct {
	name string
	options
	beside int           // rounds at once for each core: those that mostly wait may be many
	limit  time.Duration // no round begins after it
	goals  []goal
}

// goal is how much of something has to happen in an act.
type goal struct {
	what string
	want int
	have func(tally) int
}

// acts is the campaign that docs/reliability.md publishes, but for what it takes from the
// flags.
func acts(opt options) []act {
	brief := func(pace time.Duration, faults ...string) options {
		o := opt
		o.pace, o.faults = pace, faults
		return o
	}
	minute := brief(5*time.Second, faultLink, faultLink, faultMess, faultStop, faultCopies)
	minute.length = time.Minute
	crowd := brief(2*time.Second, faultBroker)
	crowd.length, crowd.herd = 5*time.Second, 500
	flipped := func(file string) goal {
		return goal{"flips in " + file, 300, func(t tally) int { return t.Faults[faultFlip+" "+file] }}
	}
	times := func(fault string, want int) goal {
		return goal{"of " + fault, want, func(t tally) int { return t.times(fault) }}
	}
	return []act{
		{"kills", brief(250*time.Millisecond, faultKill, faultPoint, faultPoint, faultTerm, faultStop, faultBroker, faultCopies), 2, 25 * time.Minute,
			[]goal{{"kills", 2700, tally.kills}}},
		{"power", brief(250*time.Millisecond, faultPower), 2, 30 * time.Minute,
			[]goal{{"losses of power", 2000, tally.cuts}}},
		{"partitions", minute, 8, 30 * time.Minute,
			[]goal{{"rounds of a minute", 200, func(t tally) int { return t.Parted }}}},
		{"flips", brief(250*time.Millisecond, faultFlip), 2, 25 * time.Minute,
			[]goal{flipped(fileJournal), flipped(fileOpening), flipped(fileRuns), flipped(fileClaims)}},
		{"journals", brief(400*time.Millisecond, faultJournal, faultJournal, faultKill, faultCopies, faultPoison), 2, 15 * time.Minute,
			[]goal{times(faultJournal, 300)}},
		{"senders", brief(150*time.Millisecond, faultSender, faultSender, faultSender, faultKill, faultCopies), 2, 20 * time.Minute,
			[]goal{times(faultSender, 200)}},
		{"upgrades", brief(400*time.Millisecond, faultUpgrade, faultUpgrade, faultRunner, faultKill), 2, 15 * time.Minute,
			[]goal{times(faultUpgrade, 300), times(faultRunner, 200)}},
		{"herds", crowd, 1, 10 * time.Minute,
			[]goal{{"rounds with 500 nodes more", 20, func(t tally) int { return t.Rounds }}}},
		{"strangers", brief(defaultPace, faultMess, faultCopies, faultPoison, faultForge), 2, 15 * time.Minute,
			[]goal{times(faultForge, 300), times(faultMess, 300)}},
		{"clocks", brief(400*time.Millisecond, faultClock, faultClock, faultTerm, faultCopies), 2, 15 * time.Minute,
			[]goal{times(faultClock, 300)}},
		{"disks", brief(400*time.Millisecond, faultDisk, faultDisk, faultPower), 2, 15 * time.Minute,
			[]goal{times(faultDisk, 300)}},
		{"everything", brief(defaultPace, allFaults...), 2, 20 * time.Minute,
			[]goal{{"rounds", 200, func(t tally) int { return t.Rounds }}}},
	}
}

// choose is the acts of these names, in the order of the table; "all" is all.
func choose(names string, opt options) (list []act, err error) {
	all := acts(opt)
	if names == "all" {
		return all, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		if !slices.ContainsFunc(all, func(a act) bool { return a.name == name }) {
			return nil, fmt.Errorf("-acts: %q is none of them", name)
		}
	}
	return slices.DeleteFunc(all, func(a act) bool { return !slices.Contains(strings.Split(names, ","), a.name) }), nil
}

// scaled is a with goals and a time that are factor times its own.
func (a act) scaled(factor float64) act {
	a.limit = time.Duration(float64(a.limit) * factor)
	a.goals = slices.Clone(a.goals)
	for i := range a.goals {
		a.goals[i].want = max(1, int(float64(a.goals[i].want)*factor))
	}
	return a
}

// reached reports whether t has all that a wants.
func (a act) reached(t tally) bool {
	return !slices.ContainsFunc(a.goals, func(g goal) bool { return g.have(t) < g.want })
}

// progress says how far t is.
func (a act) progress(t tally) string {
	var list []string
	for _, g := range a.goals {
		list = append(list, fmt.Sprintf("%d of %d %s", g.have(t), g.want, g.what))
	}
	return strings.Join(list, ", ")
}
