package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// catch is how a bug was caught, or not.
type catch struct {
	bug bug
	played
	skipped string // why it could not be played
}

// overlay writes b's form of the source below dir.
func (b bug) overlay(dir, module string) (list string, err error) {
	if list, err = overlay(b.edits, dir, module); err != nil {
		return "", fmt.Errorf("planted bug %s: %w", b.name, err)
	}
	return list, nil
}

// moduleDir is where the source is.
func moduleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	return strings.TrimSpace(string(out)), err
}

// errSurvived says that the harness is blind to a bug.
var errSurvived = errors.New("a planted bug was not caught")

// plant plays each of the named bugs ("all": all) for at most so many rounds, or
// until something is violated.
func (c *campaign) plant(ctx context.Context, names, dir string) error {
	module, err := moduleDir(ctx)
	if err != nil {
		return err
	}
	var list []catch
	c.began = time.Now()
	for _, b := range bugs() {
		if names != "all" && !slices.Contains(strings.Split(names, ","), b.name) {
			continue
		}
		got, e := c.hunt(ctx, b, module, dir)
		if ctx.Err() != nil {
			break
		}
		if e != nil { // the others can be played all the same
			got.skipped = "it failed"
			err = errors.Join(err, fmt.Errorf("planted bug %s: %w", b.name, e))
		}
		list = append(list, got)
	}
	catches(c.out, list)
	if c.publish != "" {
		err = errors.Join(err, publish(c.publish, "planted", c.caught(context.WithoutCancel(ctx), names, list)))
	}
	if slices.ContainsFunc(list, func(x catch) bool { return x.violations() == 0 && x.skipped == "" }) {
		err = errors.Join(err, errSurvived)
	}
	return errors.Join(err, ctx.Err())
}

// hunt plays rounds of a steward with b, side by side, until one is violated.
func (c *campaign) hunt(ctx context.Context, b bug, module, dir string) (got catch, err error) {
	got = catch{bug: b}
	a := act{name: b.name + " ", options: c.options, beside: 1, goals: []goal{{"violations", 1, tally.violations}}}
	a.faults = slices.DeleteFunc(slices.Clone(b.faults), func(f string) bool { return !slices.Contains(c.faults, f) })
	if len(a.faults) == 0 && len(b.faults) > 0 {
		got.skipped = "needs " + strings.Join(b.faults, ", ")
		return got, nil
	}
	if a.pace == defaultPace {
		a.pace /= 3
	}
	h := &campaign{limits: c.limits, seed: c.seed, first: 1, rounds: c.rounds, parallel: c.parallel, out: io.Discard, began: time.Now()}
	h.patience = min(h.patience, 20*time.Second) // what takes longer is caught
	if dir, err = os.MkdirTemp(dir, b.name+"-"); err != nil {
		return got, err
	}
	defer os.RemoveAll(dir)
	overlay, err := b.overlay(dir, module)
	if err != nil {
		return got, err
	}
	bin := filepath.Join(dir, "steward")
	if err := build(ctx, bin, "-overlay", overlay); err != nil {
		return got, err
	}
	fmt.Fprintf(c.out, "%s: %s\n", b.name, b.what)
	got.played, err = h.play(ctx, a, bin, dir, json.NewEncoder(io.Discard))
	fmt.Fprintf(c.out, "  %d rounds, %d violations\n", got.Rounds, got.violations())
	return got, err
}

// caught is the table of them as the documentation shows it.
func (c *campaign) caught(ctx context.Context, names string, list []catch) string {
	var b strings.Builder
	fmt.Fprintln(&b, origin(ctx, fmt.Sprintf("go run ./internal/torture -planted %s -seed %d -rounds %d", names, c.seed, c.rounds), c.began))
	fmt.Fprint(&b, "| planted bug | what it does | under | caught by | within rounds | seconds |\n| --- | --- | --- | --- | ---: | ---: |\n")
	for _, x := range list {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %d | %.0f |\n", x.bug.name, x.bug.what, strings.Join(x.bug.faults, ", "), x.by(), x.Rounds, x.took.Seconds())
	}
	return b.String()
}

// by says by which invariants it was caught.
func (x catch) by() string {
	switch {
	case x.skipped != "":
		return "not played: " + x.skipped
	case x.violations() == 0:
		return "NOTHING"
	}
	return strings.Join(keys(x.Violations), " ")
}

// catches prints by which invariants bugs were caught.
func catches(out io.Writer, list []catch) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush() //nolint:errcheck // it goes where the rest went
	fmt.Fprint(w, "\nplanted bug\tcaught by\tin round\tseconds\twhat it does\n")
	for _, x := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%s\n", x.bug.name, x.by(), x.Rounds, x.took.Seconds(), x.bug.what)
	}
}
