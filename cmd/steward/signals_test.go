package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/steward-bus/steward/internal/stewardtest"
)

// A terminal that goes away ends a node as SIGTERM does; more than one SIGHUP
// comes of that, and none cuts the end short.
func TestHangupEndsTheNode(t *testing.T) {
	f := newFleet(t)
	f.ship.end(syscall.SIGTERM)
	f.ship = begin(t, []string{"STEWARD_GRACE=200ms"}, "run", "--node", "ship1", "--broker", f.broker, "--data", f.data("ship1"))
	page := silentPage(t)
	f.want(0, "send", "--to", "ship1", "--method", "HTTPGet", "--", page.url)
	page.asked()
	if err := f.ship.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.ship.line(`"msg":"stopping"`)
	if code := f.ship.end(syscall.SIGHUP); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if !slices.ContainsFunc(f.ship.tail, func(line string) bool { return strings.Contains(line, `"msg":"stopped"`) }) {
		t.Error("it did not say that it stopped")
	}
}

// Who started it with SIGHUP ignored wants it to go on.
func TestHangupUnderNohup(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	nohup := write(t, "nohup", "#!/bin/sh\ntrap '' HUP\nexec "+os.Getenv(binaryVariable)+" \"$@\"\n")
	if err := os.Chmod(nohup, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(binaryVariable, nohup)
	n := begin(t, nil, "run", "--node", "a", "--listen", "127.0.0.1:0", "--data", dir)
	n.line(`"msg":"ready"`)
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if r := call(t, nil, "", "exec", "a", "--data", dir, "--", "true"); r.code != 0 {
		t.Errorf("after SIGHUP: %+v", r)
	}
	if code := n.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d, want 0", code)
	}
}
