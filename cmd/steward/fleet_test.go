package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/stewardtest"
)

// patience bounds every wait of these tests; nothing of them takes so long.
const patience = 20 * time.Second

const binaryVariable = "STEWARD_TEST_BINARY"

// TestMain builds the program that all tests run.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "steward-bin-")
	if err != nil {
		panic(err)
	}
	bin := filepath.Join(dir, "steward")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	if err := os.Setenv(binaryVariable, bin); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// binary is a call of the program in an environment of its own.
func binary(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Getenv(binaryVariable), args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "STEWARD_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// ran is what a command came to.
type ran struct {
	code           int
	stdout, stderr string
}

func call(t *testing.T, env []string, stdin string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := binary(ctx, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v does not end: %s%s", args, &stdout, &stderr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// proc is a process that runs beside the test, and whose lines the test can read.
type proc struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of stdout and stderr, closed at the end
	tail  []string    // read so far
	ended bool
}

func begin(t *testing.T, env []string, args ...string) *proc {
	t.Helper()
	return start(t, binary(context.WithoutCancel(t.Context()), env, args...))
}

func start(t *testing.T, cmd *exec.Cmd) *proc {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{t: t, cmd: cmd, lines: make(chan string, 10_000)}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	}()
	t.Cleanup(func() {
		if !p.ended {
			p.end(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("%v:\n%s", cmd.Args, strings.Join(p.tail, "\n"))
		}
	})
	return p
}

// line reads up to the line that has all of parts, and returns it.
func (p *proc) line(parts ...string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("ended without a line with %q", parts)
			}
			p.tail = append(p.tail, l)
			found := 0
			for _, part := range parts {
				if strings.Contains(l, part) {
					found++
				}
			}
			if found == len(parts) {
				return l
			}
		case <-timeout:
			p.t.Fatalf("no line with %q", parts)
		}
	}
}

// end signals, waits, and returns the exit code: -1 if the signal ended it.
func (p *proc) end(s syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
	return p.wait()
}

func (p *proc) wait() int {
	p.t.Helper()
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Error(err)
	}
	p.ended = true
	for l := range p.lines {
		p.tail = append(p.tail, l)
	}
	return p.cmd.ProcessState.ExitCode()
}

// fleet is central and ship1, each a process.
type fleet struct {
	t             *testing.T
	dir           string
	broker        string
	central, ship *proc
}

// newFleet starts both, central with more in its environment.
func newFleet(t *testing.T, env ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: stewardtest.ShortDir(t)}
	f.central = begin(t, env, "run", "--node", "central", "--listen", "127.0.0.1:0", "--data", f.data("central"))
	var ready struct {
		Broker string `json:"broker"`
	}
	parse(t, f.central.line(`"msg":"ready"`), &ready)
	f.broker = ready.Broker
	f.startShip()
	return f
}

// startShip returns when central knows that ship1 is there.
func (f *fleet) startShip() {
	f.t.Helper()
	f.ship = begin(f.t, nil, "run", "--node", "ship1", "--broker", f.broker, "--data", f.data("ship1"), "--config", write(f.t, "ship1.yaml", "allow: {HTTPGet: [nobody]}\n"))
	f.central.line(`"msg":"hello"`, `"from":"ship1"`)
}

func (f *fleet) data(node string) string { return filepath.Join(f.dir, node) }

func (f *fleet) env() []string { return []string{"STEWARD_DATA=" + f.data("central")} }

// do runs a command against central.
func (f *fleet) do(args ...string) ran {
	f.t.Helper()
	return call(f.t, f.env(), "", args...)
}

// want is do for a command that must end with code; it returns stdout.
func (f *fleet) want(code int, args ...string) string {
	f.t.Helper()
	r := f.do(args...)
	if r.code != code {
		f.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	return r.stdout
}

// submitted is the first record that a command with -o json printed.
func (f *fleet) submitted(args ...string) (r record) {
	f.t.Helper()
	var list []record
	parse(f.t, f.want(0, slices.Insert(args, 1, "-o", "json")...), &list)
	if len(list) == 0 {
		f.t.Fatalf("%v printed no message", args)
	}
	return list[0]
}

// record is what scripts read of a message.
type record struct {
	ID, FromNode, ToNode, CommandOrEvent, Method, State, Outcome, CausationID string
	Data                                                                      []string
	Labels                                                                    map[string]string
	AcceptedAt, EndedAt                                                       time.Time
	Attempts                                                                  int
	Result                                                                    *struct {
		ExitCode       *int
		Stdout, Stderr string
	}
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// fifo is a pipe in the file system: reading it waits for a writer.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// told waits until somebody wrote to the fifo.
func told(t *testing.T, fifo string) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(fifo)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the command does not start")
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFifo(t *testing.T, path, text string) {
	t.Helper()
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
