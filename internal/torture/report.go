package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/steward-bus/steward/internal/failpoint"
)

// report prints what the rounds came to.
func report(out io.Writer, rounds []result) {
	messages, seconds, killed, cut := 0, 0.0, 0, 0
	outcomes, faults, broken := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range rounds {
		killed, cut = killed+r.kills(), cut+r.cuts()
		messages, seconds = messages+r.Messages, seconds+r.Seconds
		for k, n := range r.Outcomes {
			outcomes[k] += n
		}
		for k, n := range r.Faults {
			k, _, _ = strings.Cut(k, ":")
			faults[k] += n
		}
		for _, v := range r.Violations {
			broken[v.Invariant]++
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush() //nolint:errcheck // it goes where the rest went
	fmt.Fprintf(w, "\n%d rounds, %d kills, %d losses of power, %d messages, %.0f s\n\noutcome\tmessages\n", len(rounds), killed, cut, messages, seconds)
	for _, k := range slices.Sorted(maps.Keys(outcomes)) {
		fmt.Fprintf(w, "%s\t%d\n", k, outcomes[k])
	}
	fmt.Fprint(w, "\nfault\ttimes\n")
	for _, k := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(w, "%s\t%d\n", k, faults[k])
	}
	var never []string
	for _, s := range failpoint.Steps {
		if faults[faultPoint+" "+string(s)]+faults[faultPower+" "+string(s)] == 0 {
			never = append(never, string(s))
		}
	}
	fmt.Fprintf(w, "\nfail points that nobody died at: %s\n\ninvariant\tviolations\tpromise\n", strings.Join(never, ", "))
	for _, i := range invariants() {
		fmt.Fprintf(w, "%s\t%d\t%s\n", i.name, broken[i.name], i.promise)
	}
}

// kills is how many processes died of SIGKILL.
func (r result) kills() (n int) {
	for what, times := range r.Faults {
		if what == faultKill || what == faultBroker || strings.HasPrefix(what, faultPoint) {
			n += times
		}
	}
	return n
}

// cuts is how many times a node lost its power.
func (r result) cuts() (n int) {
	for what, times := range r.Faults {
		if strings.HasPrefix(what, faultPower) {
			n += times
		}
	}
	return n
}
