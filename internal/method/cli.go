package method

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// CLIConfig bounds the commands that a node runs; zero values are the defaults.
type CLIConfig struct {
	Dir         string        // where commands start; the node's own folder if empty
	PassEnv     []string      // variables of the node's environment that commands get beside the usual ones
	OutputLimit int           // bytes kept of stdout, and of stderr; 256 KiB
	Grace       time.Duration // between SIGTERM and SIGKILL; 2 s
}

const (
	concurrentCommands = 16
	defaultGrace       = 2 * time.Second
	pipeDelay          = 500 * time.Millisecond // how long output may be held open by what a command left running
	killDelay          = 5 * time.Second        // how long a process may take to die of SIGKILL
	groupPoll          = 20 * time.Millisecond
)

// cliCommand runs data as argv, one command after the other for each sender.
func cliCommand(h *Host) process.Method {
	return process.Method{
		Name:       "CLICommand",
		Kinds:      []subject.Kind{subject.CommandACK, subject.CommandNACK},
		Handler:    &runner{CLIConfig: h.CLI, signal: signalGroup},
		Check:      checkArgv,
		Concurrent: 1,
	}
}

// cliCommandConcurrent runs data as argv, several at once and in no order.
func cliCommandConcurrent(h *Host) process.Method {
	m := cliCommand(h)
	m.Name, m.Concurrent = "CLICommandConcurrent", concurrentCommands
	return m
}

func checkArgv(m *message.Message) error {
	if len(m.Data) == 0 || m.Data[0] == "" {
		return errors.New(`data is empty: want a program and its arguments, such as ["uname", "-a"]`)
	}
	return nil
}

// runner runs programs, each in a process group of its own.
type runner struct {
	CLIConfig
	signal func(*os.Process, syscall.Signal) error // to the whole group of a process
}

// Handle runs m's data as argv, without a shell, until it ends or ctx does. What
// the program leaves running when it ends by itself is left alone.
func (c *runner) Handle(ctx context.Context, m *message.Message) message.Result {
	r := message.Result{StartedAt: time.Now()}
	if err := checkArgv(m); err != nil {
		return failed(r.StartedAt, err)
	}
	if ctx.Err() != nil {
		r.Outcome, r.Error = interrupted(ctx)
		r.Error, r.EndedAt = "not started: "+r.Error, time.Now()
		return r
	}
	limit := cmp.Or(c.OutputLimit, outputLimit)
	out, errOut := &capture{limit: limit}, &capture{limit: limit}
	// The end of ctx concerns the whole group, so exec is not told of it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), m.Data[0], m.Data[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.environ(m)
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.WaitDelay = pipeDelay
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return failed(r.StartedAt, fmt.Errorf("cannot start: %w", err))
	}
	switch c.attend(ctx, cmd) {
	case endedItself:
		describe(&r, cmd.ProcessState)
	case endedByUs:
		r.Outcome, r.Error = interrupted(ctx)
		r.Error = "killed: " + r.Error
	case survived:
		r.Outcome, r.Error = ack.Unknown, fmt.Sprintf("process %d cannot be killed and still runs", cmd.Process.Pid)
	}
	var cutOut, cutErr bool
	r.Stdout, r.StdoutBytes, cutOut = out.text()
	r.Stderr, r.StderrBytes, cutErr = errOut.text()
	r.Truncated, r.EndedAt = cutOut || cutErr, time.Now()
	return r
}

// environ is what a command can rely on, and nothing else of the node's environment.
func (c *runner) environ(m *message.Message) []string {
	env := []string{"STEWARD_MESSAGE_ID=" + m.ID.String(), "STEWARD_FROM_NODE=" + m.FromNode}
	names := append([]string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
		"SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", // Windows does not work without them
	}, c.PassEnv...)
	for _, n := range names {
		if v, ok := os.LookupEnv(n); ok {
			env = append(env, n+"="+v)
		}
	}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "LC_") {
			env = append(env, e)
		}
	}
	return env
}

// ending says how a process came to its end.
type ending int

const (
	endedItself ending = iota
	endedByUs
	survived
)

// attend waits for cmd, and when ctx ends first ends its whole group: politely,
// then not. Whatever the process does, it returns soon after that.
func (c *runner) attend(ctx context.Context, cmd *exec.Cmd) ending {
	waited := make(chan struct{})
	go func() { // ends with the process
		defer close(waited)
		_ = cmd.Wait() // ProcessState tells
	}()
	select {
	case <-waited:
		return endedItself
	case <-ctx.Done():
	}
	if errors.Is(cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		<-waited // its exit came first; only its output was held open
		return endedItself
	}
	if !c.leave(cmd.Process) {
		_ = c.signal(cmd.Process, syscall.SIGKILL) // a failure shows in what follows
	}
	dead := time.NewTimer(killDelay)
	defer dead.Stop()
	select {
	case <-waited:
		return endedByUs
	case <-dead.C:
		return survived
	}
}

// leave asks the group of p to end and reports whether all of it did so in time.
func (c *runner) leave(p *os.Process) bool {
	_ = c.signal(p, syscall.SIGTERM) // what does not hear it is killed
	grace := time.NewTimer(cmp.Or(c.Grace, defaultGrace))
	defer grace.Stop()
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	for c.signal(p, 0) == nil {
		select {
		case <-poll.C:
		case <-grace.C:
			return false
		}
	}
	return true
}

// describe tells how a process that nobody killed for its limit ended.
func describe(r *message.Result, s *os.ProcessState) {
	if why := deathOf(s); why != "" {
		r.Outcome, r.Error = ack.Failed, why
		return
	}
	code := s.ExitCode()
	r.Outcome, r.ExitCode = ack.Done, &code
	if code != 0 {
		r.Outcome, r.Error = ack.Failed, fmt.Sprintf("exit code %d", code)
	}
}
