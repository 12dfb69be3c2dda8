package runner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// writeLimit is how long a runner may leave what it is told unread, tens of
// kilobytes of it, before it is given nothing more.
const writeLimit = 5 * time.Second

const logTail = 4 << 10 // of what a runner said at its death

var errClosed = errors.New("node is stopping")

// process is a runner as its node sees it.
type process struct {
	cmd  *exec.Cmd
	in   *os.File      // what it is told
	out  *os.File      // what it says
	gone chan struct{} // closed when it says nothing more

	mu    sync.Mutex
	waits map[uuid.UUID]chan struct{} // runs that it was given and has not ended
	left  bool                        // it goes on without us
}

// current is the runner of this life, which it starts if there is none.
func (r *Runs) current() (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if r.runner != nil {
		return r.runner, nil
	}
	p, err := r.start()
	if err != nil {
		return nil, fmt.Errorf("start the runner %s: %w", r.program, err)
	}
	r.log.Info("runner started", "pid", p.cmd.Process.Pid)
	r.runner, r.all[p] = p, true
	go r.listen(p) // until p is gone, or Close
	return p, nil
}

func (r *Runs) logFile() string { return filepath.Join(string(r.folder), "runner.log") }

func (r *Runs) start() (*process, error) {
	log, err := os.OpenFile(r.logFile(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer stdout.Close()
	cmd := exec.CommandContext(context.Background(), r.program, Verb, string(r.folder)) // it is to outlive us
	cmd.Args[0] = "steward"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	return &process{cmd: cmd, in: in, out: out, gone: make(chan struct{}), waits: map[uuid.UUID]chan struct{}{}}, nil
}

// listen takes what p says, until it is gone or the node lets go of it.
func (r *Runs) listen(p *process) {
	defer close(p.gone)
	for s := bufio.NewScanner(p.out); s.Scan(); {
		if id, err := uuid.Parse(s.Text()); err == nil {
			p.heard(id)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.isLeft() {
		_ = p.cmd.Process.Release()
	} else if err := p.cmd.Wait(); err != nil {
		text, _ := os.ReadFile(r.logFile())
		r.log.Error("runner died", "pid", p.cmd.Process.Pid, "err", err, "said", string(text[max(0, len(text)-logTail):]))
	}
	p.in.Close()
	p.out.Close()
	delete(r.all, p)
	if r.runner == p {
		r.runner = nil
	}
}

// give hands over run id; told is closed when the runner has said a word of it.
func (p *process) give(id uuid.UUID) (told <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan struct{})
	p.waits[id] = c
	if err := p.in.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintln(p.in, id)
	return c, err
}

// retire gives p nothing more. If it is alive it ends what it has.
func (r *Runs) retire(p *process) {
	r.mu.Lock()
	if r.runner == p {
		r.runner = nil
	}
	r.mu.Unlock()
	p.in.Close()
}

func (p *process) heard(id uuid.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.waits[id]; c != nil {
		close(c)
		delete(p.waits, id)
	}
}

func (p *process) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waits) > 0
}

// Close lets go of the runners: each ends what it began, and then itself. For one
// with nothing to do Close waits.
func (r *Runs) Close() {
	r.mu.Lock()
	r.closed, r.runner = true, nil
	all := slices.Collect(maps.Keys(r.all))
	r.mu.Unlock()
	for _, p := range all {
		p.in.Close()
	}
	for _, p := range all {
		if !p.busy() {
			idle := time.NewTimer(closePatience)
			select {
			case <-p.gone:
			case <-idle.C:
			}
			idle.Stop()
		}
		p.leave()
		<-p.gone
	}
}

// leave ends the listening to p.
func (p *process) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
	p.out.Close()
}

func (p *process) isLeft() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}
