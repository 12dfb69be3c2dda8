package runner_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steward-bus/steward/internal/runner"
)

func TestResult(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`echo out; echo err >&2; echo $ID >> effect; exit 3`)
	r := w.done(id)
	if r.Ending != runner.Exited || r.Code != 3 || string(r.Stdout.Kept) != "out\n" || string(r.Stderr.Kept) != "err\n" || r.Stdout.Total != 4 {
		t.Errorf("%+v", r)
	}
	if again := w.done(id); again.Code != 3 {
		t.Errorf("asked again: %+v", again)
	}
	if err := w.runs.Forget(id); err != nil {
		t.Error(err)
	}
	if r, err := w.attach(id); !errors.Is(err, runner.ErrLost) {
		t.Errorf("of a run that was forgotten: %+v, %v", r, err)
	}
	if r := w.done(w.prepare("", func(s *runner.Spec) { s.Argv = []string{"/no/such"} })); r.Ending != runner.NotStarted || !strings.Contains(r.Why, "no such file") {
		t.Errorf("%+v", r)
	}
	if n := w.lines("effect"); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// A node dies in the middle of a command: the next life learns how it ended, also
// if that was before it came.
func TestNodeDies(t *testing.T) {
	for name, early := range map[string]bool{"attached while it runs": false, "collected": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.prepare(`echo $ID >> effect; echo before; echo $PPID > begun; read x < go; echo after; sleep 0.05`)
			pid := w.dies(id)
			if sid, err := unix.Getsid(w.runnerOf(id)); err != nil || sid != w.runnerOf(id) {
				t.Errorf("its session is %d, %v", sid, err)
			}
			if early {
				w.say()
				w.gone(pid) // the runner ends after the last of its commands
			} else {
				go w.say()
			}
			if r := w.done(id); r.Ending != runner.Exited || string(r.Stdout.Kept) != "before\nafter\n" {
				t.Errorf("%+v", r)
			}
			if n := w.lines("effect"); n != 1 {
				t.Errorf("it ran %d times", n)
			}
			w.gone(pid)
		})
	}
}

// The end of one command, which the dead node cannot hear of, is not that of another.
func TestNodeDiesWithTwo(t *testing.T) {
	w := newWorld(t)
	first := w.prepare(`echo $$ > begun; read x < go`)
	second := w.prepare(`echo $$ > begun; while [ ! -e over ]; do sleep 0.01; done; echo second`)
	w.dies(first, second)
	w.say()
	if r := w.done(first); r.Ending != runner.Exited {
		t.Errorf("%+v", r)
	}
	if err := os.WriteFile(w.path("over"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.done(second); r.Ending != runner.Exited || string(r.Stdout.Kept) != "second\n" {
		t.Errorf("%+v", r)
	}
}

// What was prepared in a life that died before it began is begun in the next.
func TestPreparedAndNotBegun(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`echo $ID >> effect`)
	w.reopen()
	if r := w.done(id); r.Ending != runner.Exited || w.lines("effect") != 1 {
		t.Errorf("%+v, ran %d times", r, w.lines("effect"))
	}
}

// A journal from before a run began does not begin it again, while there is a trace.
func TestBegunAndPreparedAgain(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`echo $ID >> effect; echo $$ > begun; read x < go; echo first`)
	w.dies(id)
	if err := w.runs.Prepare(id, runner.Spec{Argv: []string{"sh", "-c", "echo $ID >> effect"}, Dir: w.dir, Limit: time.Minute}); err != nil {
		t.Fatal(err)
	}
	go w.say()
	if r := w.done(id); string(r.Stdout.Kept) != "first\n" || w.lines("effect") != 1 {
		t.Errorf("%+v, ran %d times", r, w.lines("effect"))
	}
}

// Two lives at once, which no node has, begin a run once.
func TestTwoRunners(t *testing.T) {
	w := newWorld(t)
	other, err := open(w.path("runs"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for range 20 {
		id := w.prepare(`echo $ID >> effect`)
		var both sync.WaitGroup
		for _, runs := range []*runner.Runs{w.runs, other} {
			both.Go(func() {
				if r, err := runs.Attach(background, id); err != nil || r.Ending != runner.Exited {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
		both.Wait()
	}
	if n := w.lines("effect"); n != 20 {
		t.Errorf("20 runs ran %d times", n)
	}
}
