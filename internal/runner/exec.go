package runner

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Spec is a command and what bounds it.
type Spec struct {
	Argv  []string      `json:"argv"` // program and arguments, no shell
	Env   []string      `json:"-"`    // all of its environment
	Dir   string        `json:"dir,omitempty"`
	Limit time.Duration `json:"limit"` // from its start
	Grace time.Duration `json:"grace"` // between SIGTERM and SIGKILL
	Keep  int           `json:"keep"`  // bytes kept of stdout, and of stderr
}

// Ending says how a run came to its end.
type Ending string

// The endings.
const (
	Exited      Ending = "exited"      // by itself, with Code, or by a Signal that was not ours
	NotStarted  Ending = "not started" // and never will be; Why
	TimedOut    Ending = "timed out"   // killed at its limit
	Interrupted Ending = "interrupted" // killed before; Why
	Survived    Ending = "survived"    // it could not be killed, and still runs
)

// Result is how a run ended, and what it said.
type Result struct {
	Ending  Ending    `json:"ending"`
	Code    int       `json:"code"`
	Signal  string    `json:"signal,omitempty"`
	Why     string    `json:"why,omitempty"`
	Pid     int       `json:"pid,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Stdout  Output    `json:"stdout"`
	Stderr  Output    `json:"stderr"`
}

// Output is the beginning of what a command wrote, and how long all of it was.
type Output struct {
	Kept  []byte `json:"kept,omitempty"`
	Total int64  `json:"total"`
}

const (
	pipeDelay = 500 * time.Millisecond // how long output may be held open by what a command left running
	killDelay = 5 * time.Second
	groupPoll = 20 * time.Millisecond
)

// Exec runs a command until it ends by itself, or ctx or its limit end it and its
// whole process group. What it leaves running when it ends by itself is left alone.
func Exec(ctx context.Context, spec Spec) Result {
	ctx, cancel := context.WithTimeout(ctx, spec.Limit)
	defer cancel()
	return newCommand(spec).run(ctx)
}

// command is one run of a Spec.
type command struct {
	Spec
	group  *cgroup                               // to run in; nil: the parent's
	began  func(pid int)                         // nil: nobody wants to know
	signal func(pid int, s syscall.Signal) error // to the process group that pid leads
	failed func(err error)                       // group could not be used, and was not
	dying  time.Duration                         // how long a process may take to die of SIGKILL
}

func newCommand(spec Spec) *command {
	return &command{Spec: spec, signal: signalGroup, dying: killDelay}
}

func (c *command) run(ctx context.Context) Result {
	r := Result{Started: time.Now()}
	if ctx.Err() != nil {
		r.Ending, r.Why, r.Ended = NotStarted, context.Cause(ctx).Error(), time.Now()
		return r
	}
	out, errOut := &capture{limit: c.Keep}, &capture{limit: c.Keep}
	cmd, err := c.start(ctx, out, errOut)
	if err != nil {
		r.Ending, r.Why, r.Ended = NotStarted, "cannot start: "+err.Error(), time.Now()
		return r
	}
	r.Pid = cmd.Process.Pid
	if c.began != nil {
		c.began(r.Pid)
	}
	r.Ending = c.attend(ctx, cmd)
	switch r.Ending {
	case Exited:
		r.Code, r.Signal = cmd.ProcessState.ExitCode(), deathOf(cmd.ProcessState)
	case Interrupted:
		r.Why = context.Cause(ctx).Error()
	}
	r.Stdout, r.Stderr, r.Ended = out.output(), errOut.output(), time.Now()
	return r
}

// start starts the command, in its control group if it can: where it cannot,
// nothing was started, and it starts without.
func (c *command) start(ctx context.Context, out, errOut *capture) (*exec.Cmd, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("no program is named")
	}
	make := func() *exec.Cmd {
		// The end of ctx concerns the whole group, so exec is not told of it.
		cmd := exec.CommandContext(context.WithoutCancel(ctx), c.Argv[0], c.Argv[1:]...)
		cmd.Dir, cmd.Env = c.Dir, c.Env
		cmd.Stdout, cmd.Stderr = out, errOut
		cmd.WaitDelay = pipeDelay
		ownGroup(cmd)
		return cmd
	}
	cmd := make()
	if c.group != nil {
		c.group.join(cmd)
	}
	err := cmd.Start()
	if err == nil || c.group == nil {
		return cmd, err
	}
	why := err
	c.group, cmd = nil, make()
	if err = cmd.Start(); err == nil && c.failed != nil {
		c.failed(why)
	}
	return cmd, err
}

// attend waits for cmd, and when ctx ends first ends all of it: politely, then
// not. Whatever the process does, it returns soon after that.
func (c *command) attend(ctx context.Context, cmd *exec.Cmd) Ending {
	waited := make(chan struct{})
	go func() { // ends with the process
		defer close(waited)
		_ = cmd.Wait() // ProcessState tells
	}()
	select {
	case <-waited:
		return Exited
	case <-ctx.Done():
	}
	if errors.Is(cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		<-waited // its exit came first; only its output was held open
		return Exited
	}
	if !c.leave(cmd.Process.Pid) {
		_ = c.signal(cmd.Process.Pid, syscall.SIGKILL) // a failure shows in what follows
		c.group.kill()
	}
	dead := time.NewTimer(c.dying)
	defer dead.Stop()
	select {
	case <-waited:
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return TimedOut
		}
		return Interrupted
	case <-dead.C:
		return Survived
	}
}

// leave asks all of the command to end and reports whether it did so in time.
func (c *command) leave(pid int) bool {
	_ = c.signal(pid, syscall.SIGTERM) // what does not hear it is killed
	c.group.terminate(pid)
	grace := time.NewTimer(c.Grace)
	defer grace.Stop()
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	for c.signal(pid, 0) == nil || c.group.populated() {
		select {
		case <-poll.C:
		case <-grace.C:
			return false
		}
	}
	return true
}
