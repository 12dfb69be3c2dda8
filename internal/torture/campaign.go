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
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// campaign is acts of rounds, and what came of them.
type campaign struct {
	options
	limits
	seed     uint64
	first    int
	rounds   int // of each act; 0: until its goals are reached
	acts     string
	scale    float64 // of goals and times of acts
	parallel int     // rounds at once; 0: as the acts and the cores of the machine have it
	duration time.Duration
	results  string
	dir      string
	publish  string // file that gets the table
	keep     bool
	out      io.Writer

	mu     sync.Mutex
	began  time.Time
	played []played
}

// played is an act as far as it was played.
type played struct {
	act
	tally
	took time.Duration
}

// perhaps is how many rounds of an act the harness itself may fail in.
const perhaps = 10

// run plays the campaign, and tells of it also where it is ended before its time.
func (c *campaign) run(ctx context.Context, dir string) error {
	bin := filepath.Join(dir, "steward")
	defer os.Remove(bin)
	defer os.Remove(bin + nextBuild)
	if err := c.build(ctx, bin); err != nil {
		return err
	}
	lines, err := os.OpenFile(c.results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer lines.Close()
	list, err := c.toPlay()
	if err != nil {
		return err
	}
	c.began = time.Now()
	for _, a := range list {
		if ctx.Err() != nil || c.over() {
			break
		}
		p, e := c.play(ctx, a, bin, dir, json.NewEncoder(lines))
		c.played = append(c.played, p)
		if err = errors.Join(err, e); err != nil {
			break
		}
	}
	all := newTally()
	for _, p := range c.played {
		all.join(p.tally)
	}
	report(c.out, c.played, all)
	if c.publish != "" {
		err = errors.Join(err, publish(c.publish, "campaign", c.table(ctx, all)))
	}
	if err == nil && all.violations() > 0 {
		err = errViolated
	}
	return errors.Join(err, ctx.Err())
}

// build makes the two builds that are played. That their clocks can be wrong takes
// a build of Go's own library.
func (c *campaign) build(ctx context.Context, bin string) error {
	var flags []string
	if slices.Contains(c.faults, faultClock) {
		dir, err := os.MkdirTemp(filepath.Dir(bin), "clock-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		list, err := clockOverlay(ctx, dir)
		if err != nil {
			return err
		}
		flags = []string{"-overlay", list}
	}
	return errors.Join(build(ctx, bin, flags...), build(ctx, bin+nextBuild, append(flags, "-ldflags", "-X main.version=next")...))
}

// over reports whether the campaign has had its time.
func (c *campaign) over() bool { return c.duration > 0 && time.Since(c.began) >= c.duration }

// toPlay is what to play: acts, or rounds of the faults that the flags name, which
// are an act without a name. What this machine cannot do is left out.
func (c *campaign) toPlay() ([]act, error) {
	if c.acts == "" {
		return []act{{options: c.options, beside: 1}}, nil
	}
	list, err := choose(c.acts, c.options)
	if err != nil {
		return nil, err
	}
	var able []act
	for _, a := range list {
		a.faults = slices.DeleteFunc(a.faults, func(f string) bool { return !slices.Contains(c.faults, f) })
		if len(a.faults) > 0 {
			able = append(able, a.scaled(c.scale))
		}
	}
	return able, nil
}

// play plays rounds of an act side by side, each with its own number, until there
// were enough.
func (c *campaign) play(ctx context.Context, a act, bin, dir string, lines *json.Encoder) (p played, err error) {
	p = played{act: a, tally: newTally()}
	began := time.Now()
	number := c.first
	next := func() (k int, more bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		enough := len(a.goals) > 0 && a.reached(p.tally) || a.limit > 0 && time.Since(began) >= a.limit
		if enough || c.rounds > 0 && number >= c.first+c.rounds || err != nil || ctx.Err() != nil || c.over() {
			return 0, false
		}
		number++
		return number - 1, true
	}
	add := func(k int, res result, e error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case ctx.Err() != nil: // its end was not seen
		case e != nil:
			fmt.Fprintf(c.out, "seed %d, round %d could not be played: %v\n", c.seed, k, e)
			if p.Unplayed++; p.Unplayed > perhaps || c.rounds > 0 {
				err = fmt.Errorf("seed %d, round %d: %w", c.seed, k, e)
			}
		default:
			p.add(res)
			err = errors.Join(err, lines.Encode(res))
		}
	}
	var wait sync.WaitGroup
	for range c.beside(a) {
		wait.Go(func() {
			for k, more := next(); more; k, more = next() {
				res, err := c.round(ctx, a, filepath.Join(dir, fmt.Sprint(a.name, "round-", k)), bin, k)
				add(k, res, err)
			}
		})
	}
	wait.Wait()
	p.took = time.Since(began)
	if a.name != "" {
		fmt.Fprintf(c.out, "act %s: %d rounds in %s: %s\n", a.name, p.Rounds, p.took.Round(time.Second), a.progress(p.tally))
	}
	return p, err
}

// beside is how many rounds of a are played at once.
func (c *campaign) beside(a act) int {
	if c.parallel > 0 {
		return c.parallel
	}
	return a.beside * runtime.NumCPU()
}

// nextBuild ends the name of another build of a steward.
const nextBuild = ".next"

// build makes a steward with its fail points.
func build(ctx context.Context, bin string, flags ...string) error {
	args := slices.Concat([]string{"build", "-tags", "failpoint"}, flags, []string{"-o", bin, "github.com/steward-bus/steward/cmd/steward"})
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build steward: %w\n%s", err, out)
	}
	return nil
}

// round plays one of a, and says what it found.
func (c *campaign) round(ctx context.Context, a act, dir, bin string, number int) (result, error) {
	exe, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return result{}, err
	}
	r := &round{plan: newPlan(c.seed, number, a.options), dir: dir, bin: bin, next: bin + nextBuild, exe: exe, keep: c.keep, limits: c.limits}
	res, err := r.run(ctx)
	if err != nil {
		if !c.keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return res, err
	}
	res.Act, res.Length = a.name, a.length.Seconds()
	var text strings.Builder
	fmt.Fprintf(&text, "%s round %d: %d messages, %d faults, %.1f s (%.1f s until quiet)\n", a.name, number, res.Messages, len(r.events), res.Seconds, res.Drain)
	if res.Drain > 5 {
		fmt.Fprintf(&text, "  last it waited for %s\n", res.Last)
	}
	for _, v := range res.Violations {
		fmt.Fprintf(&text, "  %s %s %s %s: %s\n", v.Invariant, v.Node, v.Key, v.ID, v.What)
	}
	if kept := len(res.Violations) > 0 && c.keep; kept {
		fmt.Fprintf(&text, "  kept: %s\n", dir)
	} else {
		err = os.RemoveAll(dir)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.out, text.String())
	return res, err
}
