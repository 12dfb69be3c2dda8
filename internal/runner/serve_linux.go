package runner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

const (
	keepDelay  = time.Second // how long a node may take to commit an end before the runner makes it durable
	writeRetry = time.Second
)

// Main is the runner: its argument is the folder of runs. On stdin come the ids of
// those that it is to begin, and each goes back on stdout when its trace is worth
// another look. It returns when its node is gone and all that it began has ended,
// or after a signal, which ends that too.
func Main(args []string) int {
	if len(args) == 1 && args[0] == probe {
		return 0
	}
	s, err := newServer(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "steward runner:", err)
		return 2
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a node that is gone is told by the end of stdin
	go func() { cancel(fmt.Errorf("its runner got the signal %s", <-signals)) }()
	s.serve(ctx)
	return 0
}

type server struct {
	folder
	self   string
	groups *cgroups
	runs   sync.WaitGroup
	alone  chan struct{} // closed when nothing more is begun: the node is gone, or it is to end

	mu  sync.Mutex // what is begun
	out sync.Mutex // stdout
}

func newServer(args []string) (*server, error) {
	if len(args) != 1 {
		return nil, errors.New("want the folder of runs")
	}
	self := identity(strconv.Itoa(os.Getpid()))
	if self == "" {
		return nil, errors.New("/proc tells nothing of this process")
	}
	return &server{folder: folder(args[0]), self: self, groups: newCgroups(self), alone: make(chan struct{})}, nil
}

func (s *server) serve(ctx context.Context) {
	_ = syscall.SetNonblock(0, true) // else each id would wake a thread of its own
	gone := make(chan struct{})
	go func() { // ends with the process
		s.listen(ctx, os.NewFile(0, "stdin"))
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	}
	s.mu.Lock()
	close(s.alone)
	s.mu.Unlock()
	s.runs.Wait()
	s.groups.close()
}

// listen begins what the node asks for, until it is gone, or nothing more is begun.
func (s *server) listen(ctx context.Context, in io.Reader) {
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return // an id without its end is none
		}
		if id, err := uuid.Parse(strings.TrimSpace(line)); err == nil {
			s.mu.Lock()
			if !s.isAlone() && ctx.Err() == nil {
				s.runs.Go(func() { s.run(ctx, id) })
			}
			s.mu.Unlock()
		}
	}
}

func (s *server) answer(id uuid.UUID) {
	s.out.Lock()
	defer s.out.Unlock()
	_, _ = fmt.Println(id) // the node may be gone
}

// run takes run id, if nobody has, and leaves its end.
func (s *server) run(ctx context.Context, id uuid.UUID) {
	mine := taken + s.self
	if os.Rename(s.path(id, readyEnd), s.path(id, mine)) != nil {
		s.answer(id)
		return
	}
	f, err := os.OpenFile(s.path(id, mine), os.O_RDWR, 0)
	if err != nil { // nothing of it has begun
		_ = os.Rename(s.path(id, mine), s.path(id, readyEnd))
		s.answer(id)
		return
	}
	t, err := readTrace(f, id)
	end := Result{Ending: NotStarted, Started: time.Now(), Ended: time.Now()}
	if err != nil {
		end.Why = fmt.Sprintf("cannot start: what to run: %v", err)
	} else {
		end = s.exec(ctx, f, &t)
	}
	if s.leave(ctx, f, &t, end) && os.Rename(f.Name(), s.path(id, doneEnd)) == nil {
		s.answer(id)
		s.keep(id)
	}
}

// exec runs the command, and notes what it became.
func (s *server) exec(ctx context.Context, f *os.File, t *trace) Result {
	spec := t.head.spec()
	ctx, cancel := context.WithTimeout(ctx, spec.Limit)
	defer cancel()
	c, group := newCommand(spec), s.groups.take()
	c.group = group
	defer s.groups.give(group)
	c.failed = func(error) { s.groups.disable() }
	c.began = func(pid int) {
		became := child{Pid: pid}
		if c.group != nil {
			became.Group = c.group.dir
		}
		if t.append(f, became) == nil {
			t.child = &became
		}
	}
	return c.run(ctx)
}

// leave writes the end of a run, until it is written: a truth that is known must
// not be lost because the disk was full for a while.
func (s *server) leave(ctx context.Context, f *os.File, t *trace, end Result) (left bool) {
	defer f.Close()
	lines := []any{end}
	if t.child == nil {
		lines = []any{child{}, end}
	}
	for len(lines) > 0 {
		if t.append(f, lines[0]) == nil {
			lines = lines[1:]
			continue
		}
		if _, err := os.Stat(f.Name()); err != nil || ctx.Err() != nil {
			return false // nobody waits for it any more, or is to
		}
		time.Sleep(writeRetry)
	}
	if s.isAlone() {
		_ = f.Sync() // where it fails, the checksum tells
	}
	return true
}

// keep makes the end of run id durable, unless the node does so by its journal,
// and the trace is gone.
func (s *server) keep(id uuid.UUID) {
	late := time.NewTimer(keepDelay)
	defer late.Stop()
	select {
	case <-s.alone:
	case <-late.C:
	}
	f, err := os.Open(s.path(id, doneEnd))
	if err != nil {
		return
	}
	defer f.Close()
	_ = f.Sync()
	_ = syncDir(string(s.folder))
}

func (s *server) isAlone() bool {
	select {
	case <-s.alone:
		return true
	default:
		return false
	}
}
