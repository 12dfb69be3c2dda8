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

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// report prints what a campaign came to.
func report(out io.Writer, acts []played, all tally) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush() //nolint:errcheck // it goes where the rest went
	fmt.Fprintf(w, "\n%d rounds, %d kills, %d losses of power, %d messages, %.0f s of rounds\n", all.Rounds, all.kills(), all.cuts(), all.Messages, all.Seconds)
	for i, p := range acts {
		if i == 0 && p.name != "" {
			fmt.Fprint(w, "\nact\trounds\tkills\tlosses of power\tmessages\tviolations\tminutes\tgoals\n")
		}
		if p.name != "" {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\t%s\n", p.name, p.Rounds, p.kills(), p.cuts(), p.Messages, p.violations(), p.took.Minutes(), p.progress(p.tally))
		}
	}
	fmt.Fprint(w, "\noutcome\tmessages\n")
	for _, k := range keys(all.Outcomes) {
		fmt.Fprintf(w, "%s\t%d\n", k, all.Outcomes[k])
	}
	fmt.Fprint(w, "\nfault\ttimes\tseconds\tbits\n")
	for _, k := range keys(all.Faults) {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%d\n", k, all.Faults[k], all.Lasted[k], all.Bits[k])
	}
	var never []string
	for _, s := range failpoint.Steps {
		if all.Faults[faultPoint+" "+string(s)]+all.Faults[faultPower+" "+string(s)] == 0 {
			never = append(never, string(s))
		}
	}
	fmt.Fprintf(w, "\nfail points that nobody died at: %s\n\ninvariant\tviolations\tpromise\n", strings.Join(never, ", "))
	for _, i := range invariants() {
		fmt.Fprintf(w, "%s\t%d\t%s\n", i.name, all.Violations[i.name], i.promise)
	}
	for _, r := range all.Broken {
		fmt.Fprintf(w, "violated: %s\n", r)
	}
}
