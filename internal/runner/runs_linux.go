package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// ErrLost is wrapped by what Attach says of a run whose end nobody will ever know.
var ErrLost = errors.New("nobody can tell how it ended")

var errNoRunner = errors.New("runners end without having begun it: see runner.log")

const (
	spares        = 32 // files that are kept to be used again
	spareSize     = 64 << 10
	handOvers     = 3                     // runners that may be given a run which none of them begins
	watchPoll     = 10 * time.Millisecond // between the first looks at another life's runner
	watchSlow     = time.Second           // and between the later ones, at most
	closePatience = 2 * time.Second       // for a runner with nothing to do to end
)

// Runs are the commands of a node that outlive it. Open it, and Close it at the
// end of each life. All methods may be called concurrently, but for one run one
// after the other.
type Runs struct {
	folder
	program string
	place   string
	log     *slog.Logger

	mu     sync.Mutex
	spare  []string
	made   int
	begun  map[uuid.UUID]bool // by earlier lives
	fresh  map[uuid.UUID]bool // prepared in this life, and not yet given to a runner
	runner *process           // that is given runs; nil before the first
	all    map[*process]bool  // runners of this life that have not ended
	closed bool
}

// Open makes the folder of runs, if it is not there. The runner will be program,
// which must call Main if its first argument is Verb; "/proc/self/exe" is the
// present one, also after its file was replaced.
func Open(dir, program string, log *slog.Logger) (*Runs, error) {
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, fmt.Errorf("runs: %w", err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("runs: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	place, err := placeOf(dir)
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	r := &Runs{folder: folder(dir), program: program, place: place, log: log, begun: map[uuid.UUID]bool{}, fresh: map[uuid.UUID]bool{}, all: map[*process]bool{}}
	left, err := filepath.Glob(filepath.Join(dir, spare+"*"))
	for _, name := range left { // numbers of an earlier life would be given twice
		err = errors.Join(err, os.Remove(name))
	}
	found, e := r.names()
	for id, ends := range found {
		r.begun[id] = !slices.Equal(ends, []string{readyEnd})
	}
	if err = errors.Join(err, e); err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	return r, nil
}

// Prepare keeps what to run for Attach, which may then be called in this life of
// the node or in a later one. Nothing is begun; what an earlier life began, though
// the journal does not know it, is left as it is.
func (r *Runs) Prepare(id uuid.UUID, spec Spec) error {
	r.mu.Lock()
	begun := r.begun[id]
	r.mu.Unlock()
	if begun {
		return nil
	}
	name := r.takeSpare()
	err := write(name, id, newHead(r.place, spec))
	if err == nil {
		err = os.Rename(name, r.path(id, readyEnd))
	}
	if err != nil {
		return fmt.Errorf("keep what to run: %w", errors.Join(err, os.Remove(name)))
	}
	r.mu.Lock()
	r.fresh[id] = true
	r.mu.Unlock()
	return nil
}

func write(name string, id uuid.UUID, h head) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	t := newTrace(id)
	return errors.Join(t.append(f, h), f.Close())
}

func (r *Runs) takeSpare() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare); n > 0 {
		name := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return name
	}
	r.made++
	return filepath.Join(string(r.folder), spare+strconv.Itoa(r.made))
}

// Attach begins run id if nobody has, and waits for its end, in whichever life it
// began. Errors: the cause of ctx, which ends the waiting and not the run; one that
// wraps ErrLost; any other says why it did not begin, and will not unless Attach is
// called again.
func (r *Runs) Attach(ctx context.Context, id uuid.UUID) (Result, error) {
	for tries := 0; ; {
		t, who, err := r.look(id)
		switch {
		case err != nil:
			return Result{}, err
		case t.end != nil:
			return *t.end, nil
		case who != "":
			err = r.watch(ctx, id, who)
		default:
			if tries++; tries > handOvers {
				if os.Remove(r.path(id, readyEnd)) == nil { // of a remover and a runner only one succeeds
					return Result{}, errNoRunner
				}
				continue
			}
			err = r.hand(ctx, id)
		}
		if err != nil {
			return Result{}, err
		}
	}
}

// look finds out where run id stands: at its end, with a runner who is alive, or
// ready, with neither.
func (r *Runs) look(id uuid.UUID) (t trace, who string, err error) {
	if r.isFresh(id) {
		return t, "", nil
	}
	for range 3 { // it may get another name between two looks
		if t, err = r.read(id, doneEnd); err == nil && t.end != nil {
			return t, "", nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return t, "", lost("its end cannot be read (%v)", cmpErr(err))
		}
		if t, err = r.read(id, readyEnd); err == nil && t.head.Place == r.place {
			return t, "", nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return t, "", lost("the machine was started anew meanwhile, or the folder is a copy")
		}
		end, err := r.takenBy(id)
		if err != nil {
			return t, "", err
		}
		if end == "" {
			continue
		}
		t, err = r.read(id, end)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || t.head.Place != r.place {
			return t, "", lost("the machine was started anew while it ran, or the folder is a copy")
		}
		if who = strings.TrimPrefix(end, taken); alive(who) {
			t.end = nil // it is about to be
			return t, who, nil
		}
		if _, err := os.Stat(r.path(id, end)); errors.Is(err, fs.ErrNotExist) {
			continue // it was its last deed
		}
		return t, "", r.abandoned(id, t)
	}
	return t, "", lost("there is no trace of it")
}

// isFresh spares the first look at what this life has prepared.
func (r *Runs) isFresh(id uuid.UUID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.fresh[id]
	delete(r.fresh, id)
	return fresh
}

func lost(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrLost, fmt.Sprintf(format, args...))
}

func cmpErr(err error) error {
	if err == nil {
		return errTorn
	}
	return err
}

// takenBy is the end of the name under which a runner has run id, if one has it.
func (r *Runs) takenBy(id uuid.UUID) (string, error) {
	found, err := filepath.Glob(r.path(id, taken+"*"))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return strings.TrimPrefix(filepath.Base(found[0]), id.String()), nil
}

// abandoned ends what a dead runner left behind: nobody reads what it says, or
// knows its limit, and what comes next must not run beside it.
func (r *Runs) abandoned(id uuid.UUID, t trace) error {
	if t.child != nil && t.child.Pid > 0 {
		if strings.HasPrefix(filepath.Base(t.child.Group), groupPrefix) {
			(&cgroup{dir: t.child.Group}).kill()
		}
		// The pid may be another process's by now: ours has the id in its environment.
		env, err := os.ReadFile("/proc/" + strconv.Itoa(t.child.Pid) + "/environ")
		if err == nil && bytes.Contains(env, []byte(id.String())) {
			_ = signalGroup(t.child.Pid, syscall.SIGKILL)
		}
	}
	return lost("its runner died while it ran")
}

// watch waits until the runner who has run id is gone, or has left its end.
func (r *Runs) watch(ctx context.Context, id uuid.UUID, who string) error {
	for pause := watchPoll; alive(who) && r.has(id, taken+who); pause = min(pause+pause/4, watchSlow) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// hand gives run id to the runner of this life, and waits until it has ended or
// the runner is gone. It returns an error if there is no use in looking again.
func (r *Runs) hand(ctx context.Context, id uuid.UUID) error {
	p, err := r.current()
	if err != nil {
		return err
	}
	told, err := p.give(id)
	if err != nil {
		r.retire(p)
		return nil //nolint:nilerr // there is use in looking again
	}
	select {
	case <-told:
	case <-p.gone:
		r.retire(p)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Forget removes what is kept of run id: its end is in the journal.
func (r *Runs) Forget(id uuid.UUID) error {
	r.mu.Lock()
	delete(r.begun, id)
	delete(r.fresh, id)
	r.made++
	name := filepath.Join(string(r.folder), spare+strconv.Itoa(r.made))
	room := len(r.spare) < spares
	r.mu.Unlock()
	done := r.path(id, doneEnd)
	fi, err := os.Stat(done)
	if err != nil || !room || fi.Size() > spareSize || os.Rename(done, name) != nil {
		return r.remove(id)
	}
	r.mu.Lock()
	r.spare = append(r.spare, name)
	r.mu.Unlock()
	return nil
}

// Sweep removes what is left of runs that ended says are over. What still runs
// stays, for a later Sweep.
func (r *Runs) Sweep(ended func(uuid.UUID) (bool, error)) error {
	found, err := r.names()
	for id, ends := range found {
		over, e := ended(id)
		if err = errors.Join(err, e); e != nil || !over {
			continue
		}
		for _, end := range ends {
			if !alive(strings.TrimPrefix(end, taken)) {
				err = errors.Join(err, os.Remove(r.path(id, end)))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	return nil
}
