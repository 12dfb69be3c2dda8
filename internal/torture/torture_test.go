package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
)

var (
	kills = flag.Int("kills", 50, "processes killed by TestCampaign, at least")
	seed  = flag.Uint64("seed", 1, "of TestCampaign's plans")
)

// TestMain is the commands of the workload too, and the control.
func TestMain(m *testing.M) {
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
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestCampaign kills sender, broker and receivers with -9 under load, at random
// times and at fail points, until there were -kills of them, and finds that every
// invariant held. The program beside it does the same for hours, and more.
func TestCampaign(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "steward")
	if err := build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	faults := []string{faultKill, faultKill, faultKill, faultPoint, faultBroker, faultCopies}
	if err := canMount(t.Context(), t.TempDir()); err == nil {
		faults = append(faults, faultPower)
	} else {
		t.Logf("no losses of power: %v", err)
	}
	a := act{
		options: options{faults: faults, length: 3 * time.Second, pace: 80 * time.Millisecond, orders: 80}, beside: 1,
		goals: []goal{{"kills", *kills, tally.kills}},
	}
	if slices.Contains(faults, faultPower) {
		a.goals = append(a.goals, goal{"losses of power", 1, tally.cuts})
	}
	c := &campaign{out: t.Output(), seed: *seed, first: 1, began: time.Now(), limits: limits{patience: 2 * time.Minute, ready: time.Minute, soon: time.Minute}}
	p, err := c.play(t.Context(), a, bin, t.TempDir(), json.NewEncoder(io.Discard))
	if err != nil || p.Unplayed > 0 {
		t.Fatalf("seed %d: %v, %d rounds not played", *seed, err, p.Unplayed)
	}
	for invariant, times := range p.Violations {
		t.Errorf("seed %d: %s is violated %d times", *seed, invariant, times)
	}
	report(t.Output(), []played{p}, p.tally)
}

// TestPlansRepeat: a seed and a number are all that a round depends on.
func TestPlansRepeat(t *testing.T) {
	opt := options{faults: allFaults, length: time.Second, pace: time.Second / 4, orders: 50}
	a, b, c := newPlan(7, 3, opt), newPlan(7, 3, opt), newPlan(7, 4, opt)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed and number gave two plans")
	}
	if fmt.Sprint(a.Troubles) == fmt.Sprint(c.Troubles) || fmt.Sprint(a.Orders) == fmt.Sprint(c.Orders) {
		t.Error("two rounds of a seed are the same")
	}
}

// TestBugsCanBePlanted: the text that each of them changes is there, once.
func TestBugsCanBePlanted(t *testing.T) {
	names := map[string]bool{}
	for _, b := range bugs() {
		if _, err := b.overlay(t.TempDir(), filepath.Join("..", "..")); err != nil {
			t.Error(err)
		}
		names[b.name] = true
	}
	if len(names) < 15 || len(names) != len(bugs()) {
		t.Errorf("%d bugs", len(names))
	}
}

// TestStepsAreUsed: every step that can be named is somewhere in the code, once
// or more.
func TestStepsAreUsed(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"../../*.go", "../../store/*.go", "../../process/*.go", "../submit/*.go", "../method/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	names, err := os.ReadFile("../failpoint/failpoint.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range failpoint.Steps {
		_, rest, ok := strings.Cut(string(names), `= "`+string(s)+`"`)
		before, _, _ := strings.Cut(string(names), `= "`+string(s)+`"`)
		words := strings.Fields(before)
		if !ok || rest == "" || len(words) < 2 || words[len(words)-1] != "Step" {
			t.Fatalf("%s has no constant", s)
		}
		if name := "failpoint." + words[len(words)-2] + ")"; !strings.Contains(code.String(), name) {
			t.Errorf("nothing hits %s", name)
		}
	}
}
