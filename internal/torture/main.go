// Command torture plays rounds of faults on fleets of real steward processes, and
// judges them by outside evidence only: what submitters were told, what commands
// and log lines left on disk, what history and the error kernel say in the end.
//
//	go run ./internal/torture -rounds 100 -seed 1 -faults kill,point
//
// A round is decided by its seed and number: -first N -rounds 1 plays it again.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "effect" {
		code, err := effect(os.Args[2:])
		if err != nil {
			fmt.Fprintln(os.Stderr, "effect:", err)
		}
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

// errViolated says that steward broke a promise.
var errViolated = errors.New("invariants were violated")

func run(ctx context.Context, args []string, out io.Writer) error {
	c := campaign{out: out}
	var faults, planted string
	f := flag.NewFlagSet("torture", flag.ContinueOnError)
	f.IntVar(&c.rounds, "rounds", 20, "how many")
	f.IntVar(&c.first, "first", 1, "number of the first")
	f.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "of the plans")
	f.StringVar(&faults, "faults", strings.Join(allFaults, ","), "classes of faults")
	f.DurationVar(&c.duration, "duration", 0, "begin no round after this time; 0: play all")
	f.DurationVar(&c.length, "length", 3*time.Second, "how long things go wrong in a round")
	f.DurationVar(&c.patience, "patience", 2*time.Minute, "how long a fleet may take to come to rest after the faults")
	f.DurationVar(&c.ready, "ready", 10*time.Second, "how long a node may take to answer after its start")
	f.DurationVar(&c.soon, "soon", 2*time.Second, "how long a message may take that nothing delays")
	f.DurationVar(&c.pace, "pace", defaultPace, "mean pause between two troubles of a process")
	f.IntVar(&c.orders, "messages", 100, "in a round")
	f.StringVar(&c.results, "results", "torture.jsonl", "file that each round adds a line to")
	f.StringVar(&c.dir, "dir", "", "folder for the fleets; a temporary one if empty")
	f.StringVar(&planted, "planted", "", "instead: play a steward with each of these bugs planted, or all, until one is caught, for at most -rounds")
	f.BoolVar(&c.keep, "keep", false, "keep the folder of a round with violations")
	if err := f.Parse(args); err != nil {
		return err
	}
	c.faults = strings.Split(faults, ",")
	if err := canMount(ctx, c.dir); err != nil {
		fmt.Fprintf(out, "losses of power and faults of the disk are not played, and not counted: no file system of ours can be mounted here: %v\n", err)
		c.faults = slices.DeleteFunc(c.faults, func(f string) bool { return slices.Contains(withFUSE, f) })
	}
	for _, name := range c.faults {
		if !slices.Contains(allFaults, name) {
			return fmt.Errorf("-faults: %q is none of %s", name, strings.Join(allFaults, ", "))
		}
	}
	dir, err := os.MkdirTemp(c.dir, "torture-")
	if err == nil {
		dir, err = filepath.Abs(dir) // processes are known by it
	}
	if err != nil {
		return err
	}
	defer func() {
		_ = os.Remove(dir) // only if nothing was to be kept
	}()
	fmt.Fprintf(c.out, "seed %d, faults %s\n", c.seed, strings.Join(c.faults, ","))
	if planted != "" {
		return c.plant(ctx, planted, dir)
	}
	return c.run(ctx, dir)
}

const defaultPace = 750 * time.Millisecond

// campaign is a number of rounds, and what came of them.
type campaign struct {
	options
	seed     uint64
	first    int
	rounds   int
	duration time.Duration
	results  string
	dir      string
	keep     bool
	limits
	out io.Writer
}

func (c *campaign) run(ctx context.Context, dir string) error {
	bin := filepath.Join(dir, "steward")
	defer os.Remove(bin)
	if err := build(ctx, bin); err != nil {
		return err
	}
	lines, err := os.OpenFile(c.results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer lines.Close()
	var all []result
	for began, k := time.Now(), c.first; k < c.first+c.rounds && ctx.Err() == nil && (c.duration == 0 || time.Since(began) < c.duration); k++ {
		res, err := c.round(ctx, filepath.Join(dir, fmt.Sprint("round-", k)), bin, k)
		if err != nil {
			return fmt.Errorf("seed %d, round %d: %w", c.seed, k, err)
		}
		all = append(all, res)
		if err := json.NewEncoder(lines).Encode(res); err != nil {
			return err
		}
	}
	report(c.out, all)
	if slices.ContainsFunc(all, func(r result) bool { return len(r.Violations) > 0 }) {
		return errViolated
	}
	return ctx.Err()
}

// build makes a steward with its fail points.
func build(ctx context.Context, bin string, flags ...string) error {
	args := slices.Concat([]string{"build", "-tags", "failpoint"}, flags, []string{"-o", bin, "github.com/steward-bus/steward/cmd/steward"})
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build steward: %w\n%s", err, out)
	}
	return nil
}

// round plays one, and says what it found.
func (c *campaign) round(ctx context.Context, dir, bin string, number int) (result, error) {
	exe, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return result{}, err
	}
	r := &round{plan: newPlan(c.seed, number, c.options), dir: dir, bin: bin, exe: exe, keep: c.keep, limits: c.limits}
	res, err := r.run(ctx)
	if err != nil {
		return res, err
	}
	fmt.Fprintf(c.out, "round %d: %d messages, %d faults, %.1f s (%.1f s until quiet)\n", number, res.Messages, len(r.events), res.Seconds, res.Drain)
	if res.Drain > 5 {
		fmt.Fprintf(c.out, "  last it waited for %s\n", res.Last)
	}
	for _, v := range res.Violations {
		fmt.Fprintf(c.out, "  %s %s %s %s: %s\n", v.Invariant, v.Node, v.Key, v.ID, v.What)
	}
	if len(res.Violations) > 0 && c.keep {
		fmt.Fprintf(c.out, "  kept: %s\n", dir)
		return res, nil
	}
	return res, os.RemoveAll(dir)
}
