package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/crashfs"
	"github.com/steward-bus/steward/store"
)

// round is a fleet, its work and its troubles.
type round struct {
	plan Plan
	dir  string
	bin  string // steward
	next string // another build of it
	exe  string // ourselves, for the effects
	keep bool   // what a disk held when something was violated
	limits

	nodes  map[string]*node
	links  map[string]*proxy
	broker string // URL
	herd   *herd  // nil: there is none
	copies copies

	mu         sync.Mutex
	events     []event
	violations []violation
	receipts   []*receipt
	finals     map[string]store.Record // outcomes as they were first seen, by id
	spoiled    map[string]bool         // keys of orders in files that had bits flipped
}

// limits are the times that a fleet must keep.
type limits struct {
	patience time.Duration // until all is quiet after the faults
	ready    time.Duration // from the start of a node until it answers
	soon     time.Duration // for what nothing delays
	pulse    *pulse        // of the machine, by which the last two may be longer; nil: they may not
}

// run plays the round: troubles and work at once, then quiet, then judgement. An
// error means that the harness failed, not steward.
func (r *round) run(ctx context.Context) (res result, err error) {
	began := time.Now()
	r.finals, r.spoiled = map[string]store.Record{}, map[string]bool{}
	defer func() {
		for name, n := range r.nodes {
			if r.keep && len(res.Violations) > 0 && n.disk != nil {
				_ = os.Remove(api.SocketPath(n.dir)) // no file to copy
				err = errors.Join(err, os.CopyFS(filepath.Join(r.dir, "kept-"+name), os.DirFS(n.dir)))
			}
			n.takeBack()
		}
	}()
	outer := ctx
	ctx, cancel := context.WithCancel(outer)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	if err := r.build(ctx); err != nil {
		return res, err
	}
	for _, l := range r.links {
		defer l.Close()
	}
	failed := make(chan error, len(r.nodes))
	for _, n := range r.nodes {
		wait.Go(func() {
			if err := n.run(ctx); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	if r.plan.Herd > 0 {
		if r.herd, err = startHerd(r.broker, r.plan.Herd); err != nil {
			return res, err
		}
		defer func() { err = errors.Join(err, r.herd.Close()) }()
	}
	look, stop := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() { r.observe(look) })
	r.trouble(ctx)
	calm := time.Now()
	last, late := r.drain(ctx)
	drained := time.Since(calm)
	stop()
	looking.Wait()
	ev, err := r.collect(ctx, late)
	if err == nil {
		before := ev
		ev, err = r.haunt(ctx, &before)
	}
	if err == nil {
		err = r.shutdown(ctx, &ev)
	}
	select {
	case err := <-failed:
		return res, err
	default:
	}
	cancel()
	wait.Wait()
	if outer.Err() != nil {
		return res, outer.Err()
	}
	if errors.Is(err, errDead) {
		r.violation(violation{Invariant: "I9", What: err.Error()})
		ev = evidence{}
	} else if err != nil {
		return res, err
	}
	res = r.result(ev, began, drained)
	res.Last = last
	return res, nil
}

// build makes the folders, the links and the nodes.
func (r *round) build(ctx context.Context) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	config := filepath.Join(r.dir, "steward.yaml")
	if err := os.WriteFile(config, []byte(configuration), 0o600); err != nil {
		return err
	}
	broker := "127.0.0.1:" + port
	r.broker = "nats://" + broker
	r.nodes, r.links = map[string]*node{}, map[string]*proxy{}
	add := func(name string, args ...string) {
		r.nodes[name] = &node{
			name: name, dir: filepath.Join(r.dir, name), bin: filepath.Join(r.dir, name+".steward"), builds: [2]string{r.bin, r.next}, args: append(args, "--config", config), log: filepath.Join(r.dir, name+".log"),
			out: r.event, seen: r.violation, limit: r.ready, pulse: r.pulse,
		}
	}
	join := func(name string) error {
		l, err := listenProxy(ctx, broker, r.plan.Seed+uint64(r.plan.Round), &r.copies, !r.plan.Hub)
		if err != nil {
			return err
		}
		r.links[name] = l
		add(name, "--broker", l.URL())
		return nil
	}
	if r.plan.Hub {
		add(hub, "--listen", broker)
		if err := join(central); err != nil {
			return err
		}
	} else {
		add(central, "--listen", broker)
	}
	for i := range r.plan.Ships {
		if err := join("ship" + strconv.Itoa(i+1)); err != nil {
			return err
		}
	}
	for name, n := range r.nodes {
		if err := n.install(); err != nil {
			return err
		}
		if r.plan.Disk == "" || name == hub {
			continue
		}
		if err := n.give(r.plan.Disk, effectsOf(r.dir, name), r.plan.Seed+uint64(r.plan.Round)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(r.nodes[central].dir, "submit"), 0o700); err != nil {
		return err
	}
	return syncDir(r.nodes[central].dir)
}

// Ports of brokers are none that the system gives to connections: one of those
// could take the port of a broker that is dead for a moment.
const (
	firstPort = 15000
	lastPort  = 31000
)

var nextPort atomic.Int64

func freePort(ctx context.Context) (port string, err error) {
	nextPort.CompareAndSwap(0, rand.Int64N(lastPort-firstPort)+1)
	for range 100 {
		port = strconv.FormatInt(firstPort+nextPort.Add(1)%(lastPort-firstPort), 10)
		var l net.Listener
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", err
}

func (r *round) event(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *round) violation(v violation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, v)
}

// trouble submits the orders while the plan's troubles happen, and returns when
// both are at their end and all is well again.
func (r *round) trouble(ctx context.Context) {
	targets := map[string][]Trouble{}
	for _, t := range r.plan.Troubles {
		targets[t.Target] = append(targets[t.Target], t)
	}
	var wait sync.WaitGroup
	for _, list := range targets {
		wait.Go(func() {
			for _, t := range list {
				if !sleep(ctx, t.Pause) {
					return
				}
				r.inflict(ctx, t)
			}
		})
	}
	if r.herd != nil {
		wait.Go(func() { r.callHerd(ctx) })
	}
	for lane := range lanes {
		wait.Go(func() { r.submit(ctx, lane) })
	}
	wait.Wait()
}

// pointLimit is how long a node is left in peace to come to its fail point.
const pointLimit = 1500 * time.Millisecond

// inflict makes one trouble happen, and ends it where it does not end by itself.
func (r *round) inflict(ctx context.Context, t Trouble) {
	n := r.nodes[t.Target]
	switch t.Fault {
	case faultKill:
		n.end(faultKill, syscall.SIGKILL, next{after: t.Hold})
	case faultPoint:
		n.dieAt(ctx, next{arm: fmt.Sprintf("%s:%d", t.Step, t.Nth), cut: t.How == faultPower})
	case faultTerm:
		n.end(faultTerm, syscall.SIGTERM, next{after: t.Hold})
	case faultBroker:
		n.end(faultBroker, syscall.SIGKILL, next{after: t.Hold, before: func() error { return os.RemoveAll(n.dir) }})
	case faultUpgrade:
		n.end(faultTerm, syscall.SIGTERM, next{after: t.Hold, before: n.upgrade})
	case faultRunner:
		n.killRunner(ctx)
	case faultStop:
		n.freeze(ctx, t.Hold)
	case faultJournal, faultSender, faultFlip:
		r.damage(ctx, n, t)
	case faultPoison:
		if r.copies.poison(ctx, r.broker, rand.New(rand.NewPCG(r.plan.Seed, uint64(t.Nth))), t.Nth) == nil {
			r.event(event{Node: t.Target, What: t.Fault, At: time.Now()})
		}
	case faultPower:
		n.powerOff(next{after: t.Hold})
	case faultDisk:
		r.event(event{Node: t.Target, What: faultDisk + " " + t.How, At: time.Now(), Lasted: t.Hold})
		n.sicken(diskFault(t.How, t.Nth))
		sleep(ctx, t.Hold)
		n.sicken(crashfs.Fault{})
	case faultCopies:
		if sent, err := r.copies.send(ctx, r.broker, rand.New(rand.NewPCG(r.plan.Seed, uint64(t.Nth))), t.Nth); err == nil && sent > 0 {
			r.event(event{Node: t.Target, What: faultCopies, At: time.Now()})
		}
	case faultForge:
		if sent, err := r.copies.forge(ctx, r.broker, rand.New(rand.NewPCG(r.plan.Seed, uint64(t.Nth))), t.Nth, false); err == nil && sent > 0 {
			r.event(event{Node: t.Target, What: faultForge, At: time.Now()})
		}
	case faultClock:
		by := clockError(t.How)
		n.end(faultKill, syscall.SIGKILL, next{clock: clockSteps(by, t.Hold, -by/2), before: func() error {
			n.out(event{Node: n.name, What: faultClock + " " + t.How, At: time.Now(), Lasted: 2 * t.Hold})
			return nil
		}})
	case faultLink, faultMess:
		r.disturb(ctx, t)
	}
}

// dieAt starts n once more, and leaves it in peace until it has died where then
// says, or for as long as that may take.
func (n *node) dieAt(ctx context.Context, then next) {
	before := n.starts()
	n.end(faultKill, syscall.SIGKILL, then)
	for end := time.Now().Add(pointLimit); n.starts() < before+2 && time.Now().Before(end) && sleep(ctx, restart/5); {
	}
}

// disturb lets a link fail for a while.
func (r *round) disturb(ctx context.Context, t Trouble) {
	l := r.links[t.Target[len("link:"):]]
	r.event(event{Node: t.Target, What: t.Fault + " " + t.How, At: time.Now(), Lasted: t.Hold})
	mode := t.How
	for end := time.Now().Add(t.Hold); time.Now().Before(end) && ctx.Err() == nil; {
		if t.How != linkFlap {
			l.set(mode)
			sleep(ctx, time.Until(end))
			break
		}
		l.set(linkCut)
		sleep(ctx, 100*time.Millisecond)
		l.set("")
		sleep(ctx, 150*time.Millisecond)
	}
	l.set("")
	if t.How == linkReset {
		l.drop()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
