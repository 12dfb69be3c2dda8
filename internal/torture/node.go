package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/crashfs"
)

// Times that a node must keep.
const (
	stopGrace = 2 * time.Second // what it is configured to leave to running commands
	stopLimit = stopGrace + 8*time.Second

	ackTimeout = 400 * time.Millisecond // configured
)

// node is a steward process that is started again whenever it ends.
type node struct {
	name   string
	dir    string // data folder
	bin    string
	builds [2]string // of steward: bin is the first of them, until it is upgraded
	args   []string
	log    string      // file
	out    func(event) // what happened to it
	seen   func(violation)
	limit  time.Duration // from its start until it answers
	pulse  *pulse
	machine

	mu      sync.Mutex
	process *os.Process // nil while there is none
	why     string      // how we ended it: "" if we did not
	then    next
	count   int    // of starts
	failed  int    // ends that nobody wanted, in a row and before it answered
	ready   bool   // the process has answered
	ill     bool   // its disk fails
	flipped bool   // bits of its journal, and it has not answered since
	backup  []byte // of its journal
	healed  time.Time
	retired bool
	stopped time.Time // when it was last continued after a SIGSTOP
}

// next is how a node starts again.
type next struct {
	after  time.Duration
	arm    string       // fail point, as STEWARD_FAILPOINT has it
	cut    bool         // what dies there dies of a loss of power
	before func() error // what is done to its folder first; nil: nothing
	clock  string       // see clockSteps
	struck func() error // the same, before the start after that, if it dies at its fail point
}

// event is something that the nemesis, or a fail point, did to a node.
type event struct {
	Node   string
	What   string // a fault, or "point <step>"
	At     time.Time
	Lasted time.Duration // of what does not end at once
	Bits   int           // that were flipped
	Of     string        // name of the file that they are of
}

// violation is what no round may bring.
type violation struct {
	Invariant string `json:"invariant"`
	Node      string `json:"node,omitempty"`
	Key       string `json:"key,omitempty"` // of an order
	ID        string `json:"id,omitempty"`
	What      string `json:"what"`
}

// run keeps the process going until ctx ends; then it is killed.
func (n *node) run(ctx context.Context) error {
	var then next
	for ctx.Err() == nil {
		cmd, err := n.start(then)
		if err != nil {
			return err
		}
		ready := make(chan struct{})
		go func() { defer close(ready); n.awaitReady(ctx) }() // ends with the process at the latest
		kill := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		kill()
		why := n.ended()
		<-ready
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was ended from here
		}
		n.judgeEnd(err, why, then)
		if n.isRetired() || n.dead() {
			return nil
		}
		then = n.takeNext()
		select {
		case <-time.After(then.after):
		case <-ctx.Done():
		}
		if then.before != nil {
			if err := then.before(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) takeNext() next {
	n.mu.Lock()
	defer n.mu.Unlock()
	then := n.then
	n.then = next{}
	return then
}

func (n *node) start(then next) (*exec.Cmd, error) {
	f, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	args := n.onMachine(append([]string{n.bin, "run", "--node", n.name, "--data", n.dir}, n.args...))
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it ends in run
	cmd.Env = append(os.Environ(), "STEWARD_ACK_TIMEOUT="+ackTimeout.String(), "STEWARD_IDLE=2s", "STEWARD_GRACE="+stopGrace.String(), "STEWARD_FAILPOINT="+then.arm, "TORTURE_CLOCK="+then.clock)
	cmd.Stdout, cmd.Stderr = f, f
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", n.name, err)
	}
	n.process, n.why, n.ready = cmd.Process, "", false
	n.count++
	return cmd, nil
}

// awaitReady measures how long the node takes to answer.
func (n *node) awaitReady(ctx context.Context) {
	began := time.Now()
	for late := false; ; {
		if c, err := api.Dial(n.dir); err == nil {
			c.Close()
			n.mu.Lock()
			n.ready, n.flipped = true, false
			n.mu.Unlock()
			return
		}
		if took := time.Since(began); took > n.limit+n.pulse.slack(began, time.Now()) && !late && !n.wasStopped(began) && !n.sick(began) {
			late = true
			n.seen(violation{Invariant: "I9", Node: n.name, What: fmt.Sprintf("not ready %s after its start", took.Round(time.Second))})
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
		if !n.alive() {
			return
		}
	}
}

func (n *node) wasStopped(since time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopped.After(since)
}

func (n *node) alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil
}

// ended notes that the process is gone, and tells how we had ended it.
func (n *node) ended() (why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process = nil
	why, n.why = n.why, ""
	return why
}

// judgeEnd tells whether the process may have ended as it did.
func (n *node) judgeEnd(err error, why string, began next) {
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	now, armed := time.Now(), began.arm
	atPoint := killed && armed != ""
	if atPoint && began.cut && why == "" {
		n.machine.cut(func() {})
	}
	if why == faultPower || atPoint && began.cut && why == "" {
		if err := n.reboot(); err != nil {
			n.seen(violation{Invariant: "harness", Node: n.name, What: err.Error()})
		}
	}
	if atPoint && why == "" && began.struck != nil {
		n.mu.Lock()
		n.then.before = began.struck
		n.mu.Unlock()
	}
	switch {
	case why == faultTerm:
		n.out(event{Node: n.name, What: faultTerm, At: now})
		if err != nil && !atPoint && n.wasReady() && !n.sick(now) { // before that, nobody may be there to hear it
			n.seen(violation{Invariant: "I14", Node: n.name, What: fmt.Sprintf("after SIGTERM: %v", err)})
		}
	case why != "":
		n.out(event{Node: n.name, What: why, At: now})
	case atPoint && began.cut:
		n.out(event{Node: n.name, What: faultPower + " " + armed, At: now})
	case atPoint:
		n.out(event{Node: n.name, What: faultPoint + " " + armed, At: now})
	case exit != nil && exit.ExitCode() == 1 && n.refused():
		n.out(event{Node: n.name, What: "journal refused", At: now})
	case n.sick(now):
		n.out(event{Node: n.name, What: "ended by its disk", At: now})
		n.restartLater(restart)
	default:
		n.mu.Lock()
		if n.failed++; n.ready {
			n.failed = 1
		}
		n.mu.Unlock()
		n.out(event{Node: n.name, What: "ended", At: now})
		n.restartLater(restart)
		n.seen(violation{Invariant: "I9", Node: n.name, What: fmt.Sprintf("ended by itself: %v: %s", err, n.tail())})
	}
}

// sicken lets the disk fail, or heals it.
func (n *node) sicken(f crashfs.Fault) {
	n.disk.Break(f)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ill, n.healed = f != crashfs.Fault{}, time.Now()
}

// afterwards is how long a fault of a disk may be felt by a process.
const afterwards = 2 * time.Second

func (n *node) sick(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ill || now.Sub(n.healed) < afterwards
}

func (n *node) restartLater(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.then.after = max(n.then.after, d)
}

// end ends the process, and says how the next is started. It does nothing if
// there is no process.
func (n *node) end(why string, s syscall.Signal, then next) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil || n.why != "" {
		return
	}
	n.why, n.then = why, then
	_ = n.process.Signal(s) // it may have ended by itself
}

func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return 0
	}
	return n.process.Pid
}

func (n *node) starts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count
}

func (n *node) wasReady() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

// patience is how often a node may end by itself before it has answered.
const patience = 5

// dead reports whether nothing will bring the node to answer again, and counts.
func (n *node) dead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed >= patience
}

func (n *node) isRetired() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.retired
}

// retire asks the process to end, and returns when it has. It is not started
// again.
func (n *node) retire(ctx context.Context) {
	n.mu.Lock()
	n.retired = true
	n.mu.Unlock()
	n.end(faultTerm, syscall.SIGTERM, next{})
	for began := time.Now(); n.alive() && sleep(ctx, 10*time.Millisecond); {
		if took := time.Since(began); took > stopLimit {
			n.seen(violation{Invariant: "I14", Node: n.name, What: fmt.Sprintf("still there %s after SIGTERM", took.Round(time.Second))})
			return
		}
	}
}

// freeze stops the process for a while.
func (n *node) freeze(ctx context.Context, hold time.Duration) {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil || p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	n.out(event{Node: n.name, What: faultStop, At: time.Now(), Lasted: hold})
	select {
	case <-time.After(hold):
	case <-ctx.Done():
	}
	n.mu.Lock()
	n.stopped = time.Now()
	n.mu.Unlock()
	_ = p.Signal(syscall.SIGCONT) // it may have been killed
}

// errDead says that a node does not answer any more, which is a violation too.
var errDead = errors.New("a node does not tell")

// client reaches the node, as soon as it answers.
func (n *node) client(ctx context.Context) (*api.Client, error) {
	for {
		c, err := api.Dial(n.dir)
		if err == nil {
			if _, err = c.Status(ctx); err == nil {
				return c, nil
			}
			c.Close()
		}
		if !sleep(ctx, 20*time.Millisecond) || n.dead() {
			return nil, fmt.Errorf("%w: %s: %w", errDead, n.name, err)
		}
	}
}

// tail is the last line of the node's log, for who looks into a violation.
func (n *node) tail() string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b[max(0, len(b)-2000):])), "\n")
	return lines[len(lines)-1]
}

func effectsOf(dir, node string) string { return filepath.Join(dir, "effects-"+node) }
