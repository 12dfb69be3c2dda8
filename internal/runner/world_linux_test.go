package runner_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// dies lets a node begin runs, and kills it when each has said that it has begun.
func (w *world) dies(ids ...uuid.UUID) (said string) {
	w.t.Helper()
	w.runs.Close()
	node := exec.CommandContext(background, "/proc/self/exe", nodeVerb, w.path("runs"))
	for _, id := range ids {
		node.Args = append(node.Args, id.String())
	}
	node.Stderr = os.Stderr
	if err := node.Start(); err != nil {
		w.t.Fatal(err)
	}
	for n := 0; n < len(ids); n = strings.Count(said, "\n") {
		said += w.hear("begun") + "\n"
	}
	if err := node.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = node.Wait()
	w.reopen()
	return strings.TrimSpace(said)
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
