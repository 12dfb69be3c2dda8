package main

import (
	"strings"
	"syscall"
	"testing"
)

// Who waits for an outcome outlasts a restart of the local node; where that does
// not come back, the wait ends, and nothing is lost.
func TestWaitOutlastsTheLocalNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	c := newLongCommand(t)
	waiting := begin(t, f.env(), append([]string{"exec", "ship1", "--"}, c.argv()...)...)
	told(t, c.begun)
	f.central.end(syscall.SIGKILL)
	waiting.line("the local node is away")
	f.central = begin(t, nil, "run", "--node", "central", "--listen", strings.TrimPrefix(f.broker, "nats://"), "--data", f.data("central"))
	writeFifo(t, c.release, "go on\n")
	waiting.line("after")
	if code := waiting.wait(); code != 0 || c.runs(t) != 1 {
		t.Errorf("exec ended with %d, after %d runs", code, c.runs(t))
	}

	f.ship.end(syscall.SIGTERM)
	waiting = begin(t, f.env(), "exec", "ship1", "--timeout", "2s", "--", "true")
	f.central.line("accepted", `"CLICommand"`)
	f.central.end(syscall.SIGTERM)
	waiting.line("still on its way; nothing is lost")
	if code := waiting.wait(); code != exitWaiting {
		t.Errorf("exec ended with %d, want %d", code, exitWaiting)
	}
}
