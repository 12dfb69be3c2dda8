package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/steward-bus/steward/internal/crashfs"
	"github.com/steward-bus/steward/internal/failpoint"
)

// The classes of faults.
const (
	faultKill    = "kill"    // kill -9 at random times
	faultPoint   = "point"   // kill -9 at a fail point
	faultStop    = "stop"    // SIGSTOP, and SIGCONT after a while
	faultTerm    = "term"    // SIGTERM in the middle of work
	faultBroker  = "broker"  // the broker is a node of its own, killed with all that it has on disk
	faultLink    = "link"    // links cut, half open, slow, flapping
	faultMess    = "mess"    // messages of the broker lost, doubled, late, in another order
	faultCopies  = "copies"  // what went by is sent again, by somebody else and much later
	faultPoison  = "poison"  // what nobody can read is published on the subjects of nodes
	faultJournal = "journal" // a receiver's journal is lost, or restored from an old copy
	faultSender  = "sender"  // the sender's journal is lost, or restored from an old copy
	faultRunner  = "runner"  // the runner of a node's commands is killed
	faultUpgrade = "upgrade" // a node ends under running commands, and goes on as another build of the same version
	faultForge   = "forge"   // a stranger answers, and tells of results
	faultClock   = "clock"   // a clock is wrong, and is set while a node runs
	faultFlip    = "flip"    // bits flip in a file of a node
	faultPower   = "power"   // power is lost, at random times and at fail points
	faultDisk    = "disk"    // writes or syncs fail, the disk is full, or read-only
)

var (
	anywhere  = []string{faultKill, faultPoint, faultStop, faultTerm, faultBroker, faultLink, faultMess, faultCopies, faultPoison, faultJournal, faultSender, faultRunner, faultUpgrade, faultFlip, faultForge, faultClock}
	withFUSE  = []string{faultPower, faultDisk}                // where disks of ours can be mounted
	onBus     = []string{faultCopies, faultPoison, faultForge} // done by a stranger
	allFaults = slices.Concat(anywhere, withFUSE)
)

// Plan is all that is decided about a round before it begins. The same seed,
// number and options give the same plan.
type Plan struct {
	Seed     uint64
	Round    int
	Ships    int
	Hub      bool          // the broker is a node of its own
	Herd     int           // light receivers beside
	Disk     crashfs.Mode  // of all nodes; empty: they are on the disk of this machine
	Late     time.Duration // how far clocks are ahead when, in the end, all that went by is sent again
	Forges   bool          // and forged results with it
	Orders   []Order
	Troubles []Trouble
}

// Trouble is one thing that goes wrong. The troubles of a target come one after
// the other, those of several targets side by side.
type Trouble struct {
	Target string        // a node, or the link of one: "link:ship1"
	Pause  time.Duration // after the trouble before
	Fault  string
	How    string        // of the kinds of that fault
	Hold   time.Duration // how long it lasts, or until the node starts again
	Step   failpoint.Step
	Nth    int
}

// Options of a campaign that a plan depends on.
type options struct {
	faults []string
	length time.Duration // of the time in which things go wrong
	pace   time.Duration // mean pause between two troubles of a process
	orders int           // messages of a round
	herd   int           // light receivers
}

func newPlan(seed uint64, round int, opt options) Plan {
	rng := rand.New(rand.NewPCG(seed, uint64(round)))
	p := Plan{Seed: seed, Round: round, Ships: 2 + rng.IntN(2)}
	p.Hub, p.Herd = slices.Contains(opt.faults, faultBroker) && (rng.IntN(3) == 0 || opt.herd > 0), opt.herd
	if slices.Contains(opt.faults, faultClock) {
		p.Late = []time.Duration{0, 3 * time.Hour, 50 * time.Hour}[rng.IntN(3)]
	}
	p.Forges = slices.Contains(opt.faults, faultForge)
	p.Orders = orders(rng, round, opt.orders, p.Ships)
	spread(rng, p.Orders, opt.length)
	onDisk := slices.ContainsFunc(opt.faults, func(f string) bool { return slices.Contains(withFUSE, f) })
	offDisk := slices.ContainsFunc(opt.faults, func(f string) bool { return slices.Contains(anywhere, f) })
	if onDisk && (!offDisk || rng.IntN(2) == 0) {
		p.Disk = powerModes[rng.IntN(len(powerModes))]
	}
	nodes := []string{central}
	for i := range p.Ships {
		nodes = append(nodes, "ship"+strconv.Itoa(i+1))
	}
	if p.Hub {
		nodes = append(nodes, hub)
	}
	for i, node := range nodes {
		p.Troubles = append(p.Troubles, nodeTroubles(rng, p, opt, node, i)...)
		if node != hub && (node != central || p.Hub) {
			p.Troubles = append(p.Troubles, linkTroubles(rng, opt, "link:"+node)...)
		}
	}
	for _, f := range onBus {
		if !slices.Contains(opt.faults, f) {
			continue
		}
		for range 1 + rng.IntN(4) {
			p.Troubles = append(p.Troubles, Trouble{Target: "bus " + f, Fault: f, Pause: time.Duration(rng.Int64N(int64(opt.length) / 2)), Nth: 1 + rng.IntN(200)})
		}
	}
	return p
}

// Names of nodes; the receivers are ship1, ship2 and so on.
const (
	central = "central"
	hub     = "hub"
)

// restart is about how long a node takes to work again.
const restart = 100 * time.Millisecond

// nodeTroubles is what befalls a process. Each round leaves some of them in peace:
// with everything broken at once little is ever decided.
func nodeTroubles(rng *rand.Rand, p Plan, opt options, node string, number int) (list []Trouble) {
	kinds := slices.DeleteFunc(slices.Clone(opt.faults), func(f string) bool {
		return f == faultLink || f == faultMess || slices.Contains(onBus, f) ||
			f == faultJournal && node == central || f == faultSender && node != central || f == faultRunner && (node == central || node == hub) ||
			(f == faultJournal || f == faultFlip) && node == hub || f == faultBroker || node == hub && f == faultPoint ||
			slices.Contains(withFUSE, f) && (p.Disk == "" || node == hub)
	})
	if node == hub {
		kinds = append(kinds, faultBroker)
	}
	if len(kinds) == 0 || rng.IntN(4) == 0 {
		return nil
	}
	for at := time.Duration(0); at < opt.length; {
		t := Trouble{Target: node, Fault: kinds[rng.IntN(len(kinds))], Pause: time.Duration(rng.Int64N(int64(2 * opt.pace)))}
		if t.Fault == faultPower && rng.IntN(2) == 0 {
			t.Fault, t.How = faultPoint, faultPower
		}
		switch t.Fault {
		case faultDisk:
			t.How, t.Nth = diskModes[rng.IntN(len(diskModes))], rng.IntN(1<<20)
			t.Hold = time.Duration(20+rng.IntN(800)) * time.Millisecond
		case faultClock:
			clockTrouble(rng, node, &t)
		case faultJournal, faultSender:
			t.How, t.Hold = journalModes[rng.IntN(len(journalModes))], time.Duration(rng.Int64N(int64(opt.pace)))
		case faultFlip:
			t.Nth, t.Hold = rng.IntN(1<<16), time.Duration(rng.Int64N(int64(opt.pace)))
			if t.How, t.Step = anyFile(rng, node); t.Step != "" {
				at += pointLimit / 3
			}
		case faultPoint:
			steps := stepsOf(node)
			t.Step = steps[(p.Round*7+number*3+len(list)*5+int(p.Seed%1000))%len(steps)]
			t.Nth = 1 + rng.IntN(4)
			at += pointLimit / 3 // about so long it takes
			if t.Step == failpoint.Committing || t.Step == failpoint.Committed {
				t.Nth = 1 + rng.IntN(30)
			}
		case faultStop:
			t.Hold = time.Duration(20+rng.IntN(1500)) * time.Millisecond
			if rng.IntN(4) == 0 { // longer than a message may take that has nothing to do with it
				t.Hold += 2500 * time.Millisecond
			}
		default:
			t.Hold = time.Duration(rng.Int64N(int64(opt.pace)))
		}
		at += t.Pause + t.Hold + restart
		list = append(list, t)
	}
	return list
}

// stepsOf lists the steps that a node can come to.
func stepsOf(node string) (list []failpoint.Step) {
	atSender := []failpoint.Step{failpoint.Settling, failpoint.Settled, failpoint.GivingUp, failpoint.GivenUp}
	atReceiver := []failpoint.Step{
		failpoint.Starting, failpoint.Started, failpoint.Ran, failpoint.Finishing, failpoint.Finished,
		failpoint.LinesWritten, failpoint.LinesSynced,
	}
	byFile := failpoint.Steps[slices.Index(failpoint.Steps, failpoint.Claiming) : slices.Index(failpoint.Steps, failpoint.ResultThere)+1]
	for _, s := range failpoint.Steps {
		only := central
		switch {
		case slices.Contains(atSender, s) || slices.Contains(byFile, s):
		case slices.Contains(atReceiver, s):
			only = "ship"
		default:
			only = ""
		}
		if only == "" || (only == central) == (node == central) {
			list = append(list, s)
		}
	}
	return list
}

func linkTroubles(rng *rand.Rand, opt options, target string) (list []Trouble) {
	var kinds []string
	for _, f := range []string{faultLink, faultMess} {
		if slices.Contains(opt.faults, f) {
			kinds = append(kinds, f)
		}
	}
	if len(kinds) == 0 || rng.IntN(2) == 0 {
		return nil
	}
	for at := time.Duration(0); at < opt.length; {
		t := Trouble{Target: target, Fault: kinds[rng.IntN(len(kinds))], Pause: time.Duration(rng.Int64N(int64(opt.length) / 3))}
		t.Hold = time.Duration(rng.Int64N(int64(opt.length)/2)) + 50*time.Millisecond
		modes := linkModes
		if t.Fault == faultMess {
			modes = messModes
		}
		t.How = modes[rng.IntN(len(modes))]
		at += t.Pause + t.Hold
		list = append(list, t)
	}
	return list
}

func (t Trouble) String() string {
	s := fmt.Sprintf("%s: %s", t.Target, t.Fault)
	if t.How != "" {
		s += " " + t.How
	}
	if t.Step != "" {
		s += fmt.Sprintf(" %s:%d", t.Step, t.Nth)
	}
	return s
}
