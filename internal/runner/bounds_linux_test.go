package runner_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/runner"
)

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
	var ids []uuid.UUID
	for i := range 60 { // more at once than files are kept of
		ids = append(ids, w.prepare(`head -c 100000 /dev/zero`, func(s *runner.Spec) { s.Keep = i % 10 / 9 * 100_000 }))
	}
	for range 2 {
		ids = append(ids, w.prepare(`exit 0`))
	}
	for _, id := range ids {
		w.done(id)
		if err := w.runs.Forget(id); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := filepath.Glob(w.path("runs/spare.*")); err != nil || len(kept) == 0 || len(kept) > 32 {
		t.Errorf("%d files are kept to be used again, %v", len(kept), err)
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
