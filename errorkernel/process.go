package errorkernel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// State says what a process is doing.
type State string

// The states of a process.
const (
	Running    State = "running"    // or about to
	Backoff    State = "backoff"    // it failed, or found no room on the disk, and starts again at RetryAt
	Terminated State = "terminated" // it failed too often and waits for the operator
)

// ProcessStatus is what an operator sees of a process. JSON names are part of the API.
type ProcessStatus struct {
	Name      string    `json:"name"`
	State     State     `json:"state"`
	Restarts  int       `json:"restarts"`            // by the kernel, since the operator last started it
	LastError string    `json:"lastError,omitempty"` // without a panic's stack
	Since     time.Time `json:"since"`               // when State began
	RetryAt   time.Time `json:"retryAt,omitzero"`    // end of the backoff
	Advice    string    `json:"advice,omitempty"`    // what the operator does next
}

// process is one supervised function. Its fields are guarded by Kernel.mu.
type process struct {
	status ProcessStatus
	run    func(context.Context) error
	again  bool          // Ensure was called during this run
	skip   chan struct{} // of size one: end the backoff
	failed []time.Time   // failures within the policy's window
}

// Go starts run as the process name, once the kernel runs. When run returns nil
// the process is gone; an error or a panic is a Failure of class Process, after
// which run is called again, or, if it failed too often, not until the operator
// says so. run must return soon after its ctx ended. While the name is taken
// nothing changes and the error wraps ErrLives, or ErrTerminated; after the
// kernel stopped it wraps ErrStopped.
func (k *Kernel) Go(name string, run func(ctx context.Context) error) error {
	k.setup()
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.processes[name]; p != nil && p.status.State != Terminated && k.phase != stopped {
		return fmt.Errorf("start process %s: %w", name, ErrLives)
	}
	return k.begin(name, run)
}

// Ensure is Go for a process that ends by itself when it is idle. Where the name
// lives it is no error: should its present run return nil, another begins, with
// this run. So work that came before the call is never missed between the last
// look of a process and its end. The errors are Go's other two.
func (k *Kernel) Ensure(name string, run func(ctx context.Context) error) error {
	k.setup()
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.processes[name]; p != nil && p.status.State != Terminated && k.phase != stopped {
		p.run, p.again = run, true
		return nil
	}
	return k.begin(name, run)
}

// begin starts a process whose name does not live. The caller holds mu.
func (k *Kernel) begin(name string, run func(ctx context.Context) error) error {
	if k.phase == stopped {
		return fmt.Errorf("start process %s: %w", name, ErrStopped)
	}
	if p := k.processes[name]; p != nil {
		return fmt.Errorf("start process %s: %w: %s", name, ErrTerminated, p.status.Advice)
	}
	p := &process{run: run, skip: make(chan struct{}, 1)}
	p.status.Name = name
	k.processes[name] = p
	k.launch(p)
	return nil
}

// launch hands p to Run. The caller holds mu.
func (k *Kernel) launch(p *process) {
	p.failed = nil
	p.status = ProcessStatus{Name: p.status.Name, State: Running, Since: time.Now()}
	k.pending = append(k.pending, p)
	k.nudge()
}

// supervise runs p until it ends by itself, is terminated, or ctx ends.
func (k *Kernel) supervise(ctx context.Context, p *process) {
	for {
		err := protect(ctx, k.next(p))
		if err == nil {
			if k.ended(p) {
				return
			}
			continue
		}
		if ctx.Err() != nil {
			k.failedAtStop(p, err)
			return
		}
		pause, down := k.Policy.Pause, false
		if k.waits(err) {
			k.waiting(p, err)
		} else if pause, down = k.failed(p, err); down {
			return
		}
		select {
		case <-time.After(pause):
		case <-p.skip:
		case <-ctx.Done():
			return
		}
	}
}

// next begins a run of p.
func (k *Kernel) next(p *process) func(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.again = false
	select {
	case <-p.skip: // it came too late for the backoff that it was to end
	default:
	}
	if p.status.State != Running {
		p.status.State, p.status.Since, p.status.RetryAt = Running, time.Now(), time.Time{}
	}
	return p.run
}

// ended removes p, unless Ensure wants it again and the kernel still runs.
func (k *Kernel) ended(p *process) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.again && k.phase == running {
		return false
	}
	delete(k.processes, p.status.Name)
	return true
}

// failedAtStop tells of what went wrong while the node stopped; the end of ctx
// is nothing wrong.
func (k *Kernel) failedAtStop(p *process, err error) {
	if !errors.Is(err, context.Canceled) && !k.waits(err) {
		f := failureOf(err)
		f.Severity, f.Process, f.Action = Error, p.status.Name, Log
		k.record(f, f.Cause)
	}
}

func (k *Kernel) waits(err error) bool { return k.Waits != nil && k.Waits(err) }

// waiting notes that p starts again when it is likely to find what it lacks.
func (k *Kernel) waiting(p *process, err error) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	p.status.State, p.status.Since, p.status.RetryAt = Backoff, now, now.Add(k.Policy.Pause)
	p.status.LastError = cut(err.Error(), 1024)
}

// failed decides what p does after err, and tells.
func (k *Kernel) failed(p *process, err error) (pause time.Duration, down bool) {
	now := time.Now()
	k.mu.Lock()
	p.failed = append(slices.DeleteFunc(p.failed, func(t time.Time) bool { return now.Sub(t) >= k.Policy.Window }), now)
	n := len(p.failed)
	d, _ := k.Policy.decide(Process, n)
	p.status.Since, p.status.LastError = now, cut(err.Error(), 1024)
	f := failureOf(err)
	cause := f.Cause
	if down = d.action == Terminate; down {
		p.status.State = Terminated
		p.status.Advice = "steward processes restart " + p.status.Name
		f.Cause = fmt.Sprintf("terminated after %d failures within %s; when the cause is mended: %s; the last: %s",
			n, k.Policy.Window, p.status.Advice, f.Cause)
	} else {
		pause = k.Policy.pause(n)
		p.status.State, p.status.RetryAt = Backoff, now.Add(pause)
		p.status.Restarts++
	}
	f.Severity, f.Process, f.Action = d.severity, p.status.Name, d.action
	k.mu.Unlock()
	k.record(f, cause)
	return pause, down
}

// Processes lists the processes by name.
func (k *Kernel) Processes() []ProcessStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]ProcessStatus, 0, len(k.processes))
	for _, p := range k.processes {
		list = append(list, p.status)
	}
	slices.SortFunc(list, func(a, b ProcessStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// RestartProcess starts a terminated process, or ends the backoff of one that
// failed, and forgets its failures. The error wraps ErrNoProcess, ErrLives if the
// process runs, which is left as it is, or ErrStopped.
func (k *Kernel) RestartProcess(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.processes[name]
	switch {
	case k.phase == stopped:
		return fmt.Errorf("restart process %s: %w", name, ErrStopped)
	case p == nil:
		return fmt.Errorf("restart process %q: %w: steward processes lists them", name, ErrNoProcess)
	case p.status.State == Running:
		return fmt.Errorf("restart process %s: %w and needs no restart", name, ErrLives)
	case p.status.State == Terminated:
		k.launch(p)
	default:
		p.failed, p.status.Restarts = nil, 0
		select {
		case p.skip <- struct{}{}:
		default: // it was told already
		}
	}
	return nil
}

// panicked is the error of a run that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func protect(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{value: v, stack: debug.Stack()}
		}
	}()
	return run(ctx)
}

// Blame is an error of a process that knows what it failed on: About gives the
// failure its class, subject, message and cause.
type Blame struct {
	About Failure
	Err   error
}

func (b *Blame) Error() string { return b.Err.Error() }
func (b *Blame) Unwrap() error { return b.Err }

// failureOf is err for the operator, with the stack of a panic.
func failureOf(err error) Failure {
	if b, ok := errors.AsType[*Blame](err); ok {
		return b.About
	}
	f := Failure{Class: Process, Cause: err.Error()}
	if p, ok := errors.AsType[*panicked](err); ok {
		f.Cause += "\n" + string(p.stack)
	}
	return f
}
