// Command torture plays rounds of faults on fleets of real steward processes, and
// judges them by outside evidence only: what submitters were told, what commands
// and log lines left on disk, what history and the error kernel say in the end.
//
//	go run ./internal/torture -rounds 100 -seed 1 -faults kill,point
//	go run ./internal/torture -acts all -publish docs/reliability.md
//
// A round is decided by its seed and number, and its act or flags: -first N -rounds 1
// plays it again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	if len(os.Args) > 1 && os.Args[1] == "jetstream" {
		if err := jetStream(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "jetstream:", err)
			os.Exit(1)
		}
		return
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
	var cuts int
	f := flag.NewFlagSet("torture", flag.ContinueOnError)
	f.StringVar(&c.acts, "acts", "", "instead of -faults, -pace and -length: the acts of a campaign, one after the other, each until its goals are reached; all, or names")
	f.Float64Var(&c.scale, "scale", 1, "of the goals and times of acts")
	f.StringVar(&c.publish, "publish", "", "file whose table of the campaign is written, also where it is interrupted")
	f.IntVar(&c.rounds, "rounds", 0, "how many (of each act; 0: until its goals are reached, or 20 without -acts)")
	f.IntVar(&c.first, "first", 1, "number of the first")
	f.IntVar(&c.parallel, "parallel", 0, "rounds side by side; 0: by the cores of this machine")
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
	f.IntVar(&cuts, "control", 0, "instead: take so many times the power of steward, and of JetStream, on each kind of disk, and count what they lose")
	f.BoolVar(&c.keep, "keep", false, "keep the folder of a round with violations")
	if err := f.Parse(args); err != nil {
		return err
	}
	if c.rounds == 0 && c.acts == "" {
		c.rounds = 20
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
	c.pulse = new(pulse)
	beating, still := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { c.pulse.run(beating, dir) })
	defer beats.Wait()
	defer still()
	if cuts > 0 {
		return c.control(ctx, cuts, dir)
	}
	if planted != "" {
		return c.plant(ctx, planted, dir)
	}
	return c.run(ctx, dir)
}

const defaultPace = 750 * time.Millisecond
