package method_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
)

const plenty = time.Minute

func shortGrace() *method.Host {
	return &method.Host{CLI: method.CLIConfig{Grace: 200 * time.Millisecond}}
}

func encodedSize(t *testing.T, r message.Result) int {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return len(b)
}

// alive reports whether a process is there and not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// gone waits until a killed process has left.
func gone(t *testing.T, pid int) {
	t.Helper()
	if !eventually(func() bool { return !alive(pid) }) {
		t.Errorf("process %d still runs", pid)
	}
}

// eventually looks at the world of processes until it is as it should be, or
// ten seconds are over.
func eventually(is func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if is() {
			return true
		}
		<-tick.C
	}
	return false
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestCommandOutcomes(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(notExecutable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv             []string
		outcome          ack.Outcome
		code             int // -1: none
		out, errOut, why string
	}{
		{[]string{"sh", "-c", "echo out; echo err >&2"}, ack.Done, 0, "out\n", "err\n", ""},
		{[]string{"printf", "%s|", "a b", "$HOME", "*"}, ack.Done, 0, "a b|$HOME|*|", "", ""},
		{[]string{"sh", "-c", "echo no >&2; exit 3"}, ack.Failed, 3, "", "no\n", "exit code 3"},
		{[]string{"cat"}, ack.Done, 0, "", "", ""}, // no input
		{[]string{"sh", "-c", "kill -SEGV $$"}, ack.Failed, -1, "", "", "killed by signal SIGSEGV"},
		{[]string{"no-such-program"}, ack.Failed, -1, "", "", "cannot start"},
		{[]string{notExecutable}, ack.Failed, -1, "", "", "permission denied"},
		{nil, ack.Failed, -1, "", "", "data is empty"},
	} {
		r := handle(t, &method.Host{}, "CLICommand", plenty, c.argv...)
		code := -1
		if r.ExitCode != nil {
			code = *r.ExitCode
		}
		if r.Outcome != c.outcome || code != c.code || r.Stdout.String() != c.out || r.Stderr.String() != c.errOut || !strings.Contains(r.Error, c.why) {
			t.Errorf("%q: got %+v code %d", c.argv, r, code)
		}
		if r.StartedAt.IsZero() || r.EndedAt.Before(r.StartedAt) {
			t.Errorf("%q: from %s to %s", c.argv, r.StartedAt, r.EndedAt)
		}
		if r.StdoutBytes != int64(len(c.out)) || r.StderrBytes != int64(len(c.errOut)) || r.Truncated {
			t.Errorf("%q: lengths %d %d %t", c.argv, r.StdoutBytes, r.StderrBytes, r.Truncated)
		}
	}
}

func TestCommandEnvironment(t *testing.T) {
	t.Setenv("STEWARD_SECRET", "x")
	for name, value := range map[string]string{"SITE": "north", "SITES": "all", "APP_A": "1", "APP_B": "x=y", "APPLE": "red", "LC_TIME": "C", "STEWARD_FROM_NODE": "shell"} {
		t.Setenv(name, value)
	}
	h := &method.Host{CLI: method.CLIConfig{PassEnv: []string{"SITE", "APP_*", "STEWARD_FROM_*"}, Dir: "/"}}
	m := &message.Message{ID: uuid.MustParse("019b0000-0000-7000-8000-000000000001"), FromNode: "central", Data: []string{"sh", "-c", "pwd; env"}}
	r := find(t, h, "CLICommand").Handler.Handle(t.Context(), m)
	lines := strings.Split(r.Stdout.String(), "\n")
	for _, want := range []string{"STEWARD_MESSAGE_ID=" + m.ID.String(), "STEWARD_FROM_NODE=central", "SITE=north", "APP_A=1", "APP_B=x=y", "LC_TIME=C", "PATH=" + os.Getenv("PATH")} {
		if !strings.Contains("\n"+r.Stdout.String(), "\n"+want+"\n") {
			t.Errorf("no %s in %q", want, lines)
		}
	}
	for _, other := range []string{"SECRET", "SITES", "APPLE", "=shell"} {
		if strings.Contains(r.Stdout.String(), other) || lines[0] != "/" {
			t.Errorf("%s in %q", other, lines)
		}
	}
}

func TestFloodIsCutAndCounted(t *testing.T) {
	h := &method.Host{CLI: method.CLIConfig{OutputLimit: 1000}}
	r := handle(t, h, "CLICommand", plenty, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 2000000 /dev/zero | tr '\\0' y >&2; exit 4")
	if r.Outcome != ack.Failed || *r.ExitCode != 4 || !r.Truncated {
		t.Errorf("got %s %v %t", r.Outcome, r.ExitCode, r.Truncated)
	}
	if len(r.Stdout) != 1000 || r.StdoutBytes != 3000000 || len(r.Stderr) != 1000 || r.StderrBytes != 2000000 {
		t.Errorf("kept %d of %d and %d of %d", len(r.Stdout), r.StdoutBytes, len(r.Stderr), r.StderrBytes)
	}
}

func TestWorstOutputFitsABroker(t *testing.T) {
	for _, flood := range []string{"tr '\\0' '\\1'", "tr '\\0' '\\377'", "tr '\\0' '<'", "cat"} {
		script := "head -c 900000 /dev/zero | " + flood + "; head -c 900000 /dev/zero | " + flood + " >&2"
		r := handle(t, &method.Host{}, "CLICommand", plenty, "sh", "-c", script)
		if n := encodedSize(t, r); n > 900<<10 || !r.Truncated || r.StdoutBytes != 900000 || len(r.Stderr) < 70<<10 {
			t.Errorf("%s: %d bytes encoded, kept %d and %d, truncated %t", flood, n, len(r.Stdout), len(r.Stderr), r.Truncated)
		}
	}
}

// TestLimitKillsTheGroup: neither a trap, nor a child that holds the output, nor
// one that the leader waits for outlives the limit.
func TestLimitKillsTheGroup(t *testing.T) {
	for name, script := range map[string]string{
		"child":           `sleep 600 & echo $! > $PIDFILE; wait`,
		"deaf":            `trap '' TERM; echo before; echo $$ > $PIDFILE; while :; do sleep 600; done`,
		"orphan is deaf":  `(trap '' TERM; while :; do sleep 600; done) & echo $! > $PIDFILE; wait`,
		"exits 0 on TERM": `trap 'exit 0' TERM; sleep 600 & echo $! > $PIDFILE; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pidfile := filepath.Join(t.TempDir(), "pid")
			r := handle(t, shortGrace(), "CLICommand", 500*time.Millisecond, "sh", "-c", "PIDFILE="+pidfile+"; "+script)
			if r.Outcome != ack.Timeout || r.ExitCode != nil || !strings.Contains(r.Error, "time limit") {
				t.Errorf("got %+v", r)
			}
			if took := r.EndedAt.Sub(r.StartedAt); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
			if name == "deaf" && r.Stdout.String() != "before\n" {
				t.Errorf("output before the limit: %q", r.Stdout)
			}
			gone(t, pidIn(t, pidfile))
		})
	}
}

// TestGraceIsForTheWholeGroup: the leader dies of TERM at once, its child gets
// the time to clean up.
func TestGraceIsForTheWholeGroup(t *testing.T) {
	t.Parallel()
	cleaned := filepath.Join(t.TempDir(), "cleaned")
	script := `(trap 'sleep 0.3; echo > ` + cleaned + `; exit' TERM; while :; do sleep 0.05; done) >/dev/null 2>&1 & wait`
	r := handle(t, &method.Host{CLI: method.CLIConfig{Grace: 20 * time.Second}}, "CLICommand", 500*time.Millisecond, "sh", "-c", script)
	if _, err := os.Stat(cleaned); r.Outcome != ack.Timeout || err != nil {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestLeaderLeavesAChildBehind(t *testing.T) {
	t.Parallel()
	pidfile := filepath.Join(t.TempDir(), "pid")
	r := handle(t, &method.Host{}, "CLICommand", plenty, "sh", "-c", "sleep 600 & echo $! > "+pidfile+"; echo started")
	if r.Outcome != ack.Done || r.Stdout.String() != "started\n" || r.EndedAt.Sub(r.StartedAt) > 20*time.Second {
		t.Errorf("got %+v", r)
	}
	pid := pidIn(t, pidfile)
	if !alive(pid) {
		t.Error("the child was killed")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// TestExitBeforeTheLimitCounts: the limit comes while only a child still holds
// the output of a command that has ended.
func TestExitBeforeTheLimitCounts(t *testing.T) {
	t.Parallel()
	ctx, limit := context.WithCancelCause(t.Context())
	dir := t.TempDir()
	go func() {
		defer limit(context.DeadlineExceeded)
		eventually(func() bool {
			b, err := os.ReadFile(dir + "/leader")
			if err != nil || !strings.HasSuffix(string(b), "\n") {
				return false
			}
			_, err = os.Stat("/proc/" + strings.TrimSpace(string(b)))
			return err != nil
		})
	}()
	script := "cd " + dir + "; sleep 600 & echo $! > child; echo $$ > leader"
	r := find(t, shortGrace(), "CLICommand").Handler.Handle(ctx, &message.Message{Data: []string{"sh", "-c", script}})
	pid := pidIn(t, dir+"/child")
	if r.Outcome != ack.Done || ctx.Err() == nil || !alive(pid) {
		t.Errorf("got %+v, limit %v, child alive %t", r, ctx.Err(), alive(pid))
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestEscapedChildDoesNotHangTheLimit(t *testing.T) {
	t.Parallel()
	pidfile := filepath.Join(t.TempDir(), "pid")
	r := handle(t, shortGrace(), "CLICommand", 700*time.Millisecond, "sh", "-c", "setsid sh -c 'echo $$ > "+pidfile+"; exec sleep 600' & wait")
	if r.Outcome != ack.Timeout || r.EndedAt.Sub(r.StartedAt) > 20*time.Second {
		t.Errorf("got %+v", r)
	}
	_ = syscall.Kill(pidIn(t, pidfile), syscall.SIGKILL) // a session of its own is out of reach
}

func TestNodeStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancelCause(t.Context())
	pidfile := filepath.Join(t.TempDir(), "pid")
	go func() {
		defer stop(process.ErrStopping)
		eventually(func() bool {
			b, _ := os.ReadFile(pidfile)
			return strings.HasSuffix(string(b), "\n")
		})
	}()
	m := &message.Message{Data: []string{"sh", "-c", "echo $$ > " + pidfile + "; exec sleep 600"}}
	r := find(t, shortGrace(), "CLICommand").Handler.Handle(ctx, m)
	if r.Outcome != ack.Unknown || !strings.Contains(r.Error, "stopping") {
		t.Errorf("got %+v", r)
	}
	gone(t, pidIn(t, pidfile))

	r = find(t, shortGrace(), "CLICommand").Handler.Handle(ctx, &message.Message{Data: []string{"touch", pidfile + ".2"}})
	if _, err := os.Stat(pidfile + ".2"); err == nil || r.Outcome != ack.Unknown || !strings.Contains(r.Error, "not started") {
		t.Errorf("after the stop: %+v, %v", r, err)
	}
}

func TestConcurrentCommandsDoNotMix(t *testing.T) {
	m := find(t, &method.Host{}, "CLICommandConcurrent")
	if m.Concurrent != 16 {
		t.Errorf("runs %d at once", m.Concurrent)
	}
	var wg sync.WaitGroup
	for i := range m.Concurrent {
		wg.Go(func() {
			want := strconv.Itoa(i)
			r := m.Handler.Handle(t.Context(), &message.Message{Data: []string{"echo", "-n", want}})
			if r.Outcome != ack.Done || r.Stdout.String() != want {
				t.Errorf("%s: got %+v", want, r)
			}
		})
	}
	wg.Wait()
}
