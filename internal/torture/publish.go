package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
)

// publish puts text into a file, between the markers of that name, in place of what stands there.
func publish(path, name, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := []byte("<!-- "+name+": written by make -->\n"), []byte("<!-- end of "+name+" -->\n")
	before, rest, ok := bytes.Cut(doc, begin)
	_, after, ends := bytes.Cut(rest, end)
	if !ok || !ends {
		return fmt.Errorf("%s has no place for the table: give it the lines %q and %q", path, begin, end)
	}
	return os.WriteFile(path, slices.Concat(before, begin, []byte(text), end, after), 0o644) //nolint:gosec // a document for all
}

// origin says when, of what, on what and by which command something was measured.
func origin(ctx context.Context, command string, began time.Time) string {
	took := time.Since(began).Round(time.Second)
	return fmt.Sprintf("Played on %s in %s, of commit %s, on %s: `%s`.\n",
		began.UTC().Format("2 January 2006"), took, commit(ctx), machineName(), command)
}

// commit is what is played, and whether there are changes beside it.
func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		if info, ok := debug.ReadBuildInfo(); ok {
			return info.Main.Version
		}
		return "unknown"
	}
	name := strings.TrimSpace(string(id))
	if exec.CommandContext(ctx, "git", "diff", "--quiet", "HEAD", "--", "*.go").Run() != nil {
		name += " with changes"
	}
	return name
}

// machineName is the processor, the number of cores and the kernel.
func machineName() string {
	cpu, kernel := runtime.GOARCH, ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name\t: "); ok {
			cpu, _, _ = strings.Cut(rest, "\n")
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = ", Linux " + strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d cores of an %s%s, %s", runtime.NumCPU(), cpu, kernel, runtime.Version())
}

// table is the campaign as the documentation shows it.
func (c *campaign) table(ctx context.Context, all tally) string {
	var b strings.Builder
	ended := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	command := fmt.Sprintf("go run ./internal/torture -acts %s -seed %d", c.acts, c.seed)
	if c.scale != 1 {
		command += fmt.Sprintf(" -scale %g", c.scale)
	}
	fmt.Fprintln(&b, origin(ctx, command, c.began))
	if ended {
		fmt.Fprint(&b, "It was ended before its time: this is how far it came.\n\n")
	}
	fmt.Fprintf(&b, "**%d rounds, %d kills, %d losses of power, %d messages, %d violations.**\n\n", all.Rounds, all.kills(), all.cuts(), all.Messages, all.violations())
	c.byAct(&b)
	byFault(&b, all)
	byStep(&b, all)
	fmt.Fprint(&b, "| outcome | messages |\n| --- | ---: |\n")
	for _, k := range keys(all.Outcomes) {
		fmt.Fprintf(&b, "| `%s` | %d |\n", k, all.Outcomes[k])
	}
	fmt.Fprint(&b, "\n| invariant | | violations |\n| --- | --- | ---: |\n")
	for _, i := range invariants() {
		fmt.Fprintf(&b, "| %s | %s | %d |\n", i.name, i.promise, all.Violations[i.name])
	}
	if len(all.Broken) > 0 {
		fmt.Fprint(&b, "\nRounds with violations:\n\n")
		for _, r := range all.Broken {
			fmt.Fprintf(&b, "    %s\n", r)
		}
	}
	return b.String()
}

func (c *campaign) byAct(b *strings.Builder) {
	fmt.Fprint(b, "| act | its classes of faults | its goals | rounds | kills | losses of power | messages | violations | minutes |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, p := range c.played {
		faults := strings.Join(slices.Compact(slices.Sorted(slices.Values(p.faults))), ", ")
		fmt.Fprintf(b, "| %s | %s | %s | %d | %d | %d | %d | %d | %.0f |\n",
			p.name, faults, p.progress(p.tally), p.Rounds, p.kills(), p.cuts(), p.Messages, p.violations(), p.took.Minutes())
	}
	fmt.Fprintln(b)
	for _, p := range c.played {
		if p.Unplayed > 0 {
			fmt.Fprintf(b, "%d rounds of the act %s could not be played.\n\n", p.Unplayed, p.name)
		}
	}
}

// byFault lists what went wrong, but for deaths at fail points.
func byFault(b *strings.Builder, all tally) {
	fmt.Fprint(b, "| fault | times | for |\n| --- | ---: | ---: |\n")
	for _, k := range keys(all.Faults) {
		if _, atStep := stepOf(k); atStep {
			continue
		}
		lasted := ""
		if s := all.Lasted[k]; s > 0 {
			lasted = fmt.Sprintf("%.0f s", s)
		}
		if n := all.Bits[k]; n > 0 {
			lasted = fmt.Sprintf("%d bits", n)
		}
		fmt.Fprintf(b, "| %s | %d | %s |\n", k, all.Faults[k], lasted)
	}
	fmt.Fprintln(b)
}

// byStep lists how often a node died at each fail point.
func byStep(b *strings.Builder, all tally) {
	fmt.Fprint(b, "| fail point | killed at it | lost power at it |\n| --- | ---: | ---: |\n")
	for _, s := range failpoint.Steps {
		fmt.Fprintf(b, "| %s | %d | %d |\n", s, all.Faults[faultPoint+" "+string(s)], all.Faults[faultPower+" "+string(s)])
	}
	fmt.Fprintln(b)
}

// stepOf is the fail point that a fault happened at, if it did at one.
func stepOf(fault string) (failpoint.Step, bool) {
	class, step, _ := strings.Cut(fault, " ")
	at := class == faultPoint || class == faultPower
	return failpoint.Step(step), at && step != ""
}
