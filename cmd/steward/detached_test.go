package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killRunner ends the runner of ship1's commands, of which one is running.
func (f *fleet) killRunner() {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.data("ship1"), "runs", "*.run.*"))
	if err != nil || len(found) != 1 {
		f.t.Fatalf("runs: %v, %v", found, err)
	}
	_, who, _ := strings.Cut(filepath.Base(found[0]), ".run.")
	who, _, _ = strings.Cut(who, ".")
	pid, err := strconv.Atoi(who)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
}

// longCommand has an effect, says so, and goes on when it may.
type longCommand struct {
	effects, begun, release string
}

func newLongCommand(t *testing.T) longCommand {
	t.Helper()
	return longCommand{filepath.Join(t.TempDir(), "effects"), fifo(t), fifo(t)}
}

func (c longCommand) argv() []string {
	return []string{"sh", "-c", fmt.Sprintf("echo x >> %s; echo before; echo > %s; cat %s; echo after", c.effects, c.begun, c.release)}
}

func (c longCommand) runs(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(c.effects)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// A node that dies or stops does not take its command with it: the next life
// brings the result, also of what ended in between.
func TestCommandOutlivesItsNode(t *testing.T) {
	for name, c := range map[string]struct {
		signal syscall.Signal
		early  bool
	}{
		"killed":                   {syscall.SIGKILL, false},
		"killed, ended in between": {syscall.SIGKILL, true},
		"stopped":                  {syscall.SIGTERM, false},
		"stopped, ended between":   {syscall.SIGTERM, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, long := newFleet(t), newLongCommand(t)
			id := strings.TrimSpace(f.want(0, append([]string{"exec", "ship1", "-d", "--"}, long.argv()...)...))
			told(t, long.begun)
			next := f.submitted("exec", "ship1", "-d", "--", "sh", "-c", "echo y >> "+long.effects)
			began := time.Now()
			if code := f.ship.end(c.signal); c.signal == syscall.SIGTERM && (code != 0 || time.Since(began) > 5*time.Second) {
				t.Errorf("exit code %d after %s", code, time.Since(began))
			}
			if c.early {
				writeFifo(t, long.release, "go\n")
				f.startShip()
			} else {
				f.startShip()
				writeFifo(t, long.release, "go\n")
			}
			f.want(0, "wait", id)
			f.want(0, "wait", next.ID)
			var r record
			parse(t, f.want(0, "show", id, "-o", "json"), &r)
			if r.Outcome != "done" || r.Result == nil || r.Result.Stdout != "before\ngo\nafter\n" {
				t.Errorf("%+v %+v", r, r.Result)
			}
			if b, err := os.ReadFile(long.effects); err != nil || string(b) != "x\ny\n" {
				t.Errorf("effects %q, %v", b, err)
			}
		})
	}
}

// A command whose message asks for it runs again after its runner died.
func TestRerunAfterItsRunnerDied(t *testing.T) {
	t.Parallel()
	f, long := newFleet(t), newLongCommand(t)
	id := strings.TrimSpace(f.want(0, append([]string{"exec", "ship1", "-d", "--on-unknown", "rerun", "--"}, long.argv()...)...))
	told(t, long.begun)
	f.killRunner()
	told(t, long.begun)
	writeFifo(t, long.release, "go\n")
	f.want(0, "wait", id)
	if n := long.runs(t); n != 2 {
		t.Errorf("it ran %d times", n)
	}
}

// page is a web server that takes a request and never answers.
type page struct {
	t    *testing.T
	url  string
	took chan struct{}
}

func silentPage(t *testing.T) page {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := page{t, "http://" + l.Addr().String(), make(chan struct{}, 100)}
	go func() { // until the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			p.took <- struct{}{}
		}
	}()
	return p
}

func (p page) asked() {
	p.t.Helper()
	select {
	case <-p.took:
	case <-time.After(patience):
		p.t.Fatal("nobody asks for the page")
	}
}
