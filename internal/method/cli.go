package method

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/runner"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// CLIConfig bounds the commands that a node runs; zero values are the defaults.
type CLIConfig struct {
	Dir         string        // where commands start; the node's own folder if empty
	PassEnv     []string      // variables of the node's environment that commands get beside the usual ones: NAME, or PREFIX_*
	OutputLimit int           // bytes kept of stdout, and of stderr; 256 KiB
	Grace       time.Duration // between SIGTERM and SIGKILL; 2 s
}

const (
	concurrentCommands = 16
	defaultGrace       = 2 * time.Second
	silence            = time.Minute // how long beyond its limit a command may have no outcome
)

// cliCommand runs data as argv, one command after the other for each sender.
func cliCommand(h *Host) process.Method {
	c := &commands{CLIConfig: h.CLI, runs: h.Runs}
	m := process.Method{
		Name:       "CLICommand",
		Kinds:      []subject.Kind{subject.CommandACK, subject.CommandNACK},
		Handler:    c,
		Check:      checkArgv,
		Concurrent: 1,
	}
	if h.Runs != nil {
		m.Lasting = c
	}
	return m
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

// commands runs programs, each in a process group of its own: beside the node if
// there are runs, so that they outlive it, else within it.
type commands struct {
	CLIConfig
	runs *runner.Runs
}

// Prepare is process.Lasting's.
func (c *commands) Prepare(m *message.Message) error { return c.runs.Prepare(m.ID, c.spec(m)) }

// Forget is process.Lasting's.
func (c *commands) Forget(m *message.Message) error { return c.runs.Forget(m.ID) }

// Handle runs m's data as argv, without a shell, until it ends or ctx does.
func (c *commands) Handle(ctx context.Context, m *message.Message) message.Result {
	start := time.Now()
	if err := checkArgv(m); err != nil {
		return failed(start, err)
	}
	if c.runs != nil {
		return c.attach(ctx, m)
	}
	if ctx.Err() != nil {
		outcome, why := interrupted(ctx)
		return message.Result{Outcome: outcome, Error: "not started: " + why, StartedAt: start, EndedAt: time.Now()}
	}
	end := runner.Exec(ctx, c.spec(m))
	r := resultOf(end)
	if end.Ending == runner.Interrupted {
		r.Outcome, r.Error = interrupted(ctx)
		r.Error = "killed: " + r.Error
	}
	return r
}

// attach waits for the run of m, in whichever life of the node it began. Its limit
// is its runner's to keep: here ends only the patience with a runner who does not.
func (c *commands) attach(ctx context.Context, m *message.Message) message.Result {
	start := time.Now()
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.RunLimit()+silence)
	defer cancel()
	wait, stop := context.WithCancelCause(wait)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			stop(cause)
		}
	})()
	end, err := c.runs.Attach(wait, m.ID)
	switch {
	case err == nil:
		return resultOf(end)
	case errors.Is(err, runner.ErrLost):
		return message.Result{Outcome: ack.Unknown, Error: err.Error(), StartedAt: start, EndedAt: time.Now()}
	case errors.Is(err, context.DeadlineExceeded):
		return message.Result{Outcome: ack.Unknown, Error: "its runner did not end it at its time limit", StartedAt: start, EndedAt: time.Now()}
	case wait.Err() != nil:
		outcome, why := interrupted(wait)
		return message.Result{Outcome: outcome, Error: why, StartedAt: start, EndedAt: time.Now()}
	}
	return failed(start, fmt.Errorf("cannot start: %w", err))
}

func (c *commands) spec(m *message.Message) runner.Spec {
	return runner.Spec{
		Argv: m.Data, Env: c.environ(m), Dir: c.Dir, Limit: m.RunLimit(),
		Grace: cmp.Or(c.Grace, defaultGrace), Keep: cmp.Or(c.OutputLimit, outputLimit),
	}
}

// usualEnv are the variables of the node's environment that every command gets.
func usualEnv() []string {
	return []string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR",
		"SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", // Windows does not work without them
	}
}

// environ is what a command can rely on, and nothing else of the node's environment.
func (c *commands) environ(m *message.Message) (env []string) {
	own := []string{"STEWARD_MESSAGE_ID=" + m.ID.String(), "STEWARD_FROM_NODE=" + m.FromNode}
	list := slices.Concat(usualEnv(), c.PassEnv)
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); passes(name, list) {
			env = append(env, e)
		}
	}
	return append(env, own...) // of two with one name the last counts
}

// passes reports whether name is one of list, or begins like one that ends in *.
func passes(name string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		prefix, several := strings.CutSuffix(p, "*")
		return name == p || several && strings.HasPrefix(name, prefix)
	})
}

// resultOf says of an end what a sender is told.
func resultOf(end runner.Result) message.Result {
	r := message.Result{StartedAt: end.Started, EndedAt: end.Ended, StdoutBytes: end.Stdout.Total, StderrBytes: end.Stderr.Total}
	switch {
	case end.Ending == runner.NotStarted:
		r.Outcome, r.Error = ack.Failed, end.Why
	case end.Ending == runner.TimedOut:
		r.Outcome, r.Error = ack.Timeout, "killed: ended at its time limit"
	case end.Ending == runner.Interrupted:
		r.Outcome, r.Error = ack.Unknown, "killed: interrupted: "+end.Why
	case end.Ending == runner.Survived:
		r.Outcome, r.Error = ack.Unknown, fmt.Sprintf("process %d cannot be killed and still runs", end.Pid)
	case end.Signal != "":
		r.Outcome, r.Error = ack.Failed, "killed by signal "+end.Signal
	case end.Code != 0:
		r.Outcome, r.ExitCode, r.Error = ack.Failed, &end.Code, fmt.Sprintf("exit code %d", end.Code)
	default:
		r.Outcome, r.ExitCode = ack.Done, &end.Code
	}
	var cutOut, cutErr bool
	r.Stdout, cutOut = textOf(end.Stdout.Kept, end.Stdout.Total)
	r.Stderr, cutErr = textOf(end.Stderr.Kept, end.Stderr.Total)
	r.Truncated = cutOut || cutErr
	return r
}
