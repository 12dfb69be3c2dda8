package runner_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/runner"
)

var background = context.Background()

// world is a folder of runs, and files by which commands and test talk.
type world struct {
	t    *testing.T
	dir  string
	runs *runner.Runs
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	w := &world{t: t, dir: t.TempDir()}
	w.reopen()
	t.Cleanup(func() { w.runs.Close() })
	return w
}

// reopen begins the next life of the node.
func (w *world) reopen() {
	w.t.Helper()
	if w.runs != nil {
		w.runs.Close()
	}
	var err error
	if w.runs, err = open(w.path("runs")); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// prepare prepares a shell script that runs in the world's folder. It may write
// a line to the fifo begun, and read one from go.
func (w *world) prepare(script string, change ...func(*runner.Spec)) uuid.UUID {
	w.t.Helper()
	for _, name := range []string{"begun", "go"} {
		if err := syscall.Mkfifo(w.path(name), 0o600); err != nil && !errors.Is(err, syscall.EEXIST) {
			w.t.Fatal(err)
		}
	}
	id := uuid.New()
	spec := runner.Spec{
		Argv: []string{"sh", "-c", script}, Dir: w.dir, Env: []string{"ID=" + id.String(), "PATH=" + os.Getenv("PATH")},
		Limit: time.Minute, Grace: 200 * time.Millisecond, Keep: 1000,
	}
	for _, f := range change {
		f(&spec)
	}
	if err := w.runs.Prepare(id, spec); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// dies lets a node begin run id, and kills it when the command says that it has begun.
func (w *world) dies(id uuid.UUID) (said string) {
	w.t.Helper()
	w.runs.Close()
	node := exec.CommandContext(background, "/proc/self/exe", nodeVerb, w.path("runs"), id.String())
	node.Stderr = os.Stderr
	if err := node.Start(); err != nil {
		w.t.Fatal(err)
	}
	said = w.hear("begun")
	if err := node.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = node.Wait()
	w.reopen()
	return said
}

// hear reads what the command writes to a fifo.
func (w *world) hear(fifo string) string {
	w.t.Helper()
	heard := make(chan string, 1)
	go func() {
		b, err := os.ReadFile(w.path(fifo))
		if err != nil {
			w.t.Error(err)
		}
		heard <- strings.TrimSpace(string(b))
	}()
	select {
	case s := <-heard:
		return s
	case <-time.After(20 * time.Second):
		w.t.Fatalf("nobody writes to %s", fifo)
		return ""
	}
}

// say lets the command go on.
func (w *world) say() {
	w.t.Helper()
	if err := os.WriteFile(w.path("go"), []byte("go\n"), 0); err != nil {
		w.t.Error(err)
	}
}

func (w *world) attach(id uuid.UUID) (runner.Result, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(background, 30*time.Second)
	defer cancel()
	return w.runs.Attach(ctx, id)
}

func (w *world) done(id uuid.UUID) runner.Result {
	w.t.Helper()
	r, err := w.attach(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// lines is how many lines a file has.
func (w *world) lines(name string) int {
	b, _ := os.ReadFile(w.path(name))
	return strings.Count(string(b), "\n")
}

// runnerOf is the pid of who has run id, and has noted what it became.
func (w *world) runnerOf(id uuid.UUID) int {
	w.t.Helper()
	w.until(func() bool {
		found, _ := filepath.Glob(w.path("runs/" + id.String() + ".run.*"))
		return len(found) == 1 && w.lines("runs/"+filepath.Base(found[0])) == 2
	})
	found, _ := filepath.Glob(w.path("runs/" + id.String() + ".run.*"))
	if len(found) != 1 {
		w.t.Fatalf("runners of %s: %v", id, found)
	}
	_, who, _ := strings.Cut(filepath.Base(found[0]), ".run.")
	who, _, _ = strings.Cut(who, ".")
	pid, err := strconv.Atoi(who)
	if err != nil {
		w.t.Fatal(err)
	}
	return pid
}

// gone waits until a process is no more.
func (w *world) gone(pid string) {
	w.t.Helper()
	w.until(func() bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// until looks at the world until it is as it should be.
func (w *world) until(is func() bool) {
	w.t.Helper()
	late, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatal("it never came to be")
		}
	}
}

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

// What was prepared in a life that died before it began is begun in the next.
func TestPreparedAndNotBegun(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`echo $ID >> effect`)
	w.reopen()
	if r := w.done(id); r.Ending != runner.Exited || w.lines("effect") != 1 {
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

// The limit counts from the start, whoever waits.
func TestLimitAcrossLives(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`sleep 600 & echo $! > begun; echo said; wait`, func(s *runner.Spec) { s.Limit = time.Second })
	child := w.dies(id)
	r := w.done(id)
	if took := r.Ended.Sub(r.Started); r.Ending != runner.TimedOut || took < time.Second || took > 15*time.Second || string(r.Stdout.Kept) != "said\n" {
		t.Errorf("%+v after %s", r, took)
	}
	w.gone(child)
}

// What has a session of its own ends at the limit too, where there are control groups.
func TestLimitEndsOtherSessions(t *testing.T) {
	if !cgroups(t) {
		t.Skip("no control group of version 2 can be made here")
	}
	for name, trap := range map[string]string{"polite": "", "deaf": "trap '' TERM; "} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.prepare(`setsid sh -c "`+trap+`echo \$\$ > begun; sleep 600; sleep 600" & wait`, func(s *runner.Spec) { s.Limit = time.Second })
			child := w.dies(id)
			if r := w.done(id); r.Ending != runner.TimedOut {
				t.Errorf("%+v", r)
			}
			w.gone(child)
		})
	}
}

// Linux kills at its birth whatever is born into a control group that was killed
// before: what comes after such an end must not be.
func TestNextAfterAKill(t *testing.T) {
	w := newWorld(t)
	if r := w.done(w.prepare(`trap '' TERM; sleep 600; sleep 600`, func(s *runner.Spec) { s.Limit = 100 * time.Millisecond })); r.Ending != runner.TimedOut {
		t.Errorf("%+v", r)
	}
	for range 3 {
		if r := w.done(w.prepare(`echo lives`)); r.Ending != runner.Exited || r.Signal != "" || string(r.Stdout.Kept) != "lives\n" {
			t.Errorf("%+v", r)
		}
	}
}

// cgroups reports whether a process here can make itself a control group.
func cgroups(t *testing.T) bool {
	t.Helper()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	_, path, ok := strings.Cut(string(own), "0::")
	path, _, _ = strings.Cut(path, "\n")
	for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		dir := filepath.Join(mount, path, "steward-test")
		if ok && os.Mkdir(dir, 0o755) == nil {
			_, err := os.Stat(filepath.Join(dir, "cgroup.kill"))
			_ = os.Remove(dir)
			return err == nil
		}
	}
	return false
}

// A flood is cut and counted, whoever waits for its end.
func TestFloodAcrossLives(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`head -c 2000000 /dev/zero | tr '\0' x; echo $$ > begun; head -c 1000000 /dev/zero | tr '\0' x; head -c 7000 /dev/zero >&2`)
	w.dies(id)
	if r := w.done(id); r.Stdout.Total != 3000000 || len(r.Stdout.Kept) != 1000 || r.Stderr.Total != 7000 || len(r.Stderr.Kept) != 1000 {
		t.Errorf("kept %d of %d and %d of %d", len(r.Stdout.Kept), r.Stdout.Total, len(r.Stderr.Kept), r.Stderr.Total)
	}
}

// When a runner dies nobody can tell how its commands end: they are ended, so that
// nothing runs beside what comes next.
func TestRunnerDies(t *testing.T) {
	for name, dies := range map[string]bool{"before its node": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.prepare(`echo $$ > begun; exec sleep 600`)
			var command string
			attached := make(chan error, 1)
			if dies {
				command = w.dies(id)
			} else {
				go func() {
					_, err := w.runs.Attach(background, id)
					attached <- err
				}()
				command = w.hear("begun")
			}
			if err := syscall.Kill(w.runnerOf(id), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if dies {
				_, err := w.attach(id)
				attached <- err
			}
			if err := <-attached; !errors.Is(err, runner.ErrLost) || !strings.Contains(err.Error(), "runner died") {
				t.Errorf("got %v", err)
			}
			w.gone(command)
			if err := w.runs.Forget(id); err != nil {
				t.Error(err)
			}
			if r := w.done(w.prepare("exit 0")); r.Ending != runner.Exited {
				t.Errorf("the next: %+v", r)
			}
		})
	}
}

// A runner that is told to end says what became of its commands.
func TestRunnerIsTerminated(t *testing.T) {
	w := newWorld(t)
	id := w.prepare(`echo said; echo $$ > begun; exec sleep 600`)
	command := w.dies(id)
	if err := syscall.Kill(w.runnerOf(id), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := w.done(id); r.Ending != runner.Interrupted || !strings.Contains(r.Why, "signal terminated") || string(r.Stdout.Kept) != "said\n" {
		t.Errorf("%+v", r)
	}
	w.gone(command)
}

// Another program in the place of the runner begins nothing, and that is certain.
func TestNoRunner(t *testing.T) {
	for _, program := range []string{"/no/such", "/bin/true"} {
		t.Run(program, func(t *testing.T) {
			w := newWorld(t)
			other, err := runner.Open(w.path("runs"), program, discard)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			id := w.prepare(`echo $ID >> effect`)
			if r, err := other.Attach(background, id); err == nil || errors.Is(err, runner.ErrLost) {
				t.Errorf("%+v, %v", r, err)
			}
			if n := w.lines("effect"); n != 0 {
				t.Error("it ran")
			}
		})
	}
}

// The folder holds what runs, and some files to be used again, whatever went through it.
func TestFolderStaysSmall(t *testing.T) {
	w := newWorld(t)
	for range 40 {
		id := w.prepare(`head -c 100000 /dev/zero`, func(s *runner.Spec) { s.Keep = 100_000 })
		w.done(id)
		if err := w.runs.Forget(id); err != nil {
			t.Fatal(err)
		}
	}
	waiting, over := w.prepare(`exit 0`), w.prepare(`exit 1`)
	running := w.prepare(`echo $$ > begun; read x < go`)
	w.dies(running)
	err := w.runs.Sweep(func(id uuid.UUID) (bool, error) { return id != waiting, nil })
	if err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(w.path("runs"))
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		left[name] = true
		if fi, err := e.Info(); err == nil && fi.Size() > 64<<10 {
			t.Errorf("%s has %d bytes", e.Name(), fi.Size())
		}
	}
	if !left[waiting.String()] || !left[running.String()] || left[over.String()] || len(entries) > 5 {
		t.Errorf("what is left: %v", entries)
	}
	w.say()
	w.done(running)
}
