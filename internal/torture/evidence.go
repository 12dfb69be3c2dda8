package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// evidence is all that the judge may look at: none of it is told by a journal
// that a bug could have spoiled together with the truth, but for what steward
// itself says in the end, which is what is judged.
type evidence struct {
	limits
	plan     Plan
	receipts []*receipt
	events   []event
	sent     []store.Record                       // central's history
	again    []store.Record                       // the same, after central was started anew
	received map[string]map[string]store.Record   // by node and id
	effects  map[string][]effectLine              // by node, in the order in which they began
	lines    map[string]map[subject.Kind][]string // by node: what TextLogging wrote
	failures []errorkernel.Failure                // central's error kernel, after it was started anew: until then it may fold more into one
	finals   map[string]store.Record              // outcomes as they were first seen
	spoiled  map[string]bool                      // keys of orders whose submission had bits flipped
	rejected int                                  // texts in rejected/
	before   *evidence                            // as it was before all that went by was sent again
	late     []string                             // what was not quiet in the end
	stray    []string                             // runners and commands that outlived their nodes with nothing under way
}

// effectLine is one run of a command.
type effectLine struct {
	key, id string
	pid     int
	at      int64
}

// observe notes outcomes as they are first told.
func (r *round) observe(ctx context.Context) {
	for sleep(ctx, 200*time.Millisecond) {
		c, err := api.Dial(r.nodes[central].dir)
		if err != nil {
			continue
		}
		list, err := c.Messages(ctx, store.Filter{FromNode: central, Limit: api.MaxLimit})
		c.Close()
		if err != nil {
			continue
		}
		for _, m := range list {
			if _, seen := r.finals[m.ID]; !seen && m.State == store.Ended {
				r.finals[m.ID] = m
			}
		}
	}
}

// drain waits until nothing is under way anywhere, or the time for that is up. It
// returns what it waited for last, and what was not quiet in the end.
func (r *round) drain(ctx context.Context) (last string, late []string) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	dead := func() bool {
		for _, n := range r.nodes {
			if n.dead() {
				return true
			}
		}
		return false
	}
	calm := 0
	for calm < 2 && !dead() && sleep(ctx, 50*time.Millisecond) {
		calm++
		if list := r.busy(ctx); len(list) > 0 {
			calm, late = 0, list
			last = strings.Join(list, "; ")
		}
	}
	if calm == 2 {
		late = nil
	}
	return last, late
}

// busy says what is still under way.
func (r *round) busy(ctx context.Context) (list []string) {
	for _, n := range r.nodes {
		s, err := func() (api.Status, error) {
			c, err := api.Dial(n.dir)
			if err != nil {
				return api.Status{}, err
			}
			defer c.Close()
			return c.Status(ctx)
		}()
		switch b := s.Backlog; {
		case err != nil:
			list = append(list, fmt.Sprintf("%s: %v", n.name, err))
		case b.Waiting+b.AwaitingResult+b.Cancelling+b.Inbox > 0:
			list = append(list, fmt.Sprintf("%s: %d wait, %d await their result, %d are given up, %d in the inbox", n.name, b.Waiting, b.AwaitingResult, b.Cancelling, b.Inbox))
		}
	}
	return append(list, r.untaken()...)
}

// untaken lists what was submitted by file and is still there.
func (r *round) untaken() (list []string) {
	dir := r.nodes[central].dir
	for _, folder := range []string{"submit", "claims"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			list = append(list, err.Error())
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") { // its writer never finished it
				list = append(list, folder+"/"+e.Name())
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "inmsg.txt")); err == nil && len(strings.TrimSpace(string(b))) > 0 {
		list = append(list, "inmsg.txt")
	}
	return list
}

// collect reads what the fleet says now.
func (r *round) collect(ctx context.Context, late []string) (ev evidence, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	ev = evidence{
		plan: r.plan, late: late, finals: r.finals, received: map[string]map[string]store.Record{},
		effects: map[string][]effectLine{}, lines: map[string]map[subject.Kind][]string{},
	}
	for name, n := range r.nodes {
		c, err := n.client(ctx)
		if err != nil {
			return ev, err
		}
		list, err := c.Messages(ctx, store.Filter{FromNode: central, Limit: api.MaxLimit})
		if name == central {
			ev.sent = list
		}
		c.Close()
		if err != nil {
			return ev, fmt.Errorf("%w: history of %s: %w", errDead, name, err)
		}
		ev.received[name] = map[string]store.Record{}
		for _, m := range list {
			ev.received[name][m.ID] = m
		}
		if ev.effects[name], err = readEffects(effectsOf(r.dir, name)); err != nil {
			return ev, err
		}
		ev.lines[name] = map[subject.Kind][]string{}
		for _, k := range []subject.Kind{subject.EventACK, subject.EventNACK} {
			b, err := os.ReadFile(filepath.Join(n.dir, "logs", central, linesFile(k)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return ev, err
			}
			ev.lines[name][k] = strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
		}
	}
	files, err := filepath.Glob(filepath.Join(r.nodes[central].dir, "rejected", "*.reason"))
	ev.rejected = len(files)
	r.mu.Lock()
	defer r.mu.Unlock()
	ev.receipts, ev.events, ev.spoiled = r.receipts, r.events, r.spoiled
	return ev, err
}

func readEffects(path string) (list []effectLine, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var e effectLine
		if _, err := fmt.Sscan(s.Text(), &e.key, &e.id, &e.pid, &e.at); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, s.Text(), err)
		}
		list = append(list, e)
	}
	return list, nil
}

// haunt sends copies of all that went by, once clocks are as late as the plan wants,
// and forged ones, and waits until nothing comes of it.
func (r *round) haunt(ctx context.Context, ev *evidence) (evidence, error) {
	if r.plan.Late > 0 {
		if err := r.later(ctx); err != nil {
			return evidence{}, err
		}
	}
	rng := rand.New(rand.NewPCG(r.plan.Seed, 0))
	_, err := r.copies.send(ctx, r.broker, rng, maxCopies)
	if err == nil && r.plan.Forges {
		_, err = r.copies.forge(ctx, r.broker, rng, 200, true)
	}
	if err != nil {
		return evidence{}, fmt.Errorf("send copies: %w", err)
	}
	_, late := r.drain(ctx)
	after, err := r.collect(ctx, append(late, ev.late...))
	after.before = ev
	return after, err
}

// later starts all nodes anew with clocks that are ahead, and waits until they are
// at rest.
func (r *round) later(ctx context.Context) error {
	for _, n := range r.nodes {
		before := n.starts()
		n.end(faultTerm, syscall.SIGTERM, next{clock: clockSteps(r.plan.Late, 0, 0)})
		for n.starts() == before && sleep(ctx, 10*time.Millisecond) {
		}
	}
	for _, n := range r.nodes {
		answers, cancel := context.WithTimeout(ctx, r.patience)
		c, err := n.client(answers)
		cancel()
		if err != nil {
			return err
		}
		c.Close()
		r.event(event{Node: n.name, What: fmt.Sprintf("%s %s ahead", faultClock, r.plan.Late), At: time.Now()})
	}
	r.drain(ctx)
	return nil
}

// Caps of a node that has nothing to do.
const (
	maxMemory = 256 << 10 // KiB
	maxFiles  = 128
)

// bounded looks at what a node uses.
func (r *round) bounded(n *node) {
	pid := n.pid()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	files, ferr := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil || ferr != nil {
		return // not a system that tells
	}
	var kib int
	if _, rest, ok := strings.Cut(string(b), "VmRSS:"); ok {
		_, _ = fmt.Sscan(rest, &kib)
	}
	if kib > maxMemory || len(files) > maxFiles+r.plan.Herd {
		r.violation(violation{Invariant: "I8", Node: n.name, What: fmt.Sprintf("%d KiB of memory and %d open files with nothing to do", kib, len(files))})
	}
}

// shutdown reads central's history once more after a clean stop and a start, ends
// all nodes as an operator would, and has their journals checked.
func (r *round) shutdown(ctx context.Context, ev *evidence) error {
	n := r.nodes[central]
	before := n.starts()
	n.end(faultTerm, syscall.SIGTERM, next{})
	for n.starts() == before && sleep(ctx, 10*time.Millisecond) {
	}
	answers, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	c, err := n.client(answers)
	if err != nil {
		return err
	}
	ev.again, err = c.Messages(ctx, store.Filter{FromNode: central, Limit: api.MaxLimit})
	if err == nil {
		ev.failures, err = c.Failures(answers, api.FailureFilter{Limit: api.MaxLimit})
	}
	c.Close()
	if err != nil {
		return fmt.Errorf("%w: history of central after a restart: %w", errDead, err)
	}
	var wait sync.WaitGroup
	for _, n := range r.nodes {
		r.bounded(n)
		wait.Go(func() { n.retire(ctx) })
	}
	wait.Wait()
	ev.stray = r.strays(ctx)
	for name, n := range r.nodes {
		if out, err := exec.CommandContext(ctx, r.bin, "store", "check", "--data", n.dir).CombinedOutput(); err != nil {
			r.violation(violation{Invariant: "I9", Node: name, What: fmt.Sprintf("steward store check: %v: %s", err, out)})
		}
	}
	return nil
}

// strayLimit is how long a runner may outlive its node with nothing to do.
const strayLimit = 5 * time.Second

// strays lists runners and commands that are left when all nodes have ended with
// nothing under way, and ends them.
func (r *round) strays(ctx context.Context) (list []string) {
	for name, n := range r.nodes {
		pids := n.ofCommands(r.dir)
		for end := time.Now().Add(strayLimit); len(pids) > 0 && time.Now().Before(end) && sleep(ctx, 20*time.Millisecond); {
			pids = n.ofCommands(r.dir)
		}
		for _, pid := range pids {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			list = append(list, fmt.Sprintf("%s: %s", name, strings.ReplaceAll(string(args), "\x00", " ")))
			_ = syscall.Kill(pid, syscall.SIGKILL) // it is ours, and the round is over
		}
	}
	return list
}

// ofCommands lists the runners of n and their commands.
func (n *node) ofCommands(dir string) []int {
	return processes("\x00"+filepath.Join(n.dir, "runs")+"\x00", "\x00effect\x00"+effectsOf(dir, n.name)+"\x00")
}
