package main

import (
	"strings"
	"syscall"
	"testing"
)

// The log of the sender, and every command that looks, tell of each step of a
// command while it is at it.
func TestStepsOfACommandThatRuns(t *testing.T) {
	f, long := newFleet(t), newLongCommand(t)
	id := strings.TrimSpace(f.want(0, append([]string{"exec", "ship1", "-d", "--"}, long.argv()...)...))
	told(t, long.begun)
	for _, step := range []string{"accepted", "delivered", "started"} {
		f.central.line(`"msg":"`+step+`"`, id, `"to":"ship1"`)
	}
	f.ship.line(`"msg":"started"`, id, `"from":"central"`)
	for _, row := range []struct {
		part string
		args []string
	}{
		{"started ", []string{"messages", "--state", "started"}},
		{"\nstate     started\n", []string{"show", id}},
		{"\nstarted   20", []string{"show", id}},
		{"  started  ", []string{"trace", id}},
		{"still started", []string{"trace", id}},
		{"1 (1 started)", []string{"status"}},
	} {
		if out := f.want(0, row.args...); !strings.Contains(out, row.part) {
			t.Errorf("%v: no %q in\n%s", row.args, row.part, out)
		}
	}
	writeFifo(t, long.release, "go\n")
	f.central.line(`"msg":"ended"`, id, `"outcome":"done"`, `"exitCode":0`, `"startedAt":"20`)
	if out := f.want(0, "status"); !strings.Contains(out, "awaiting results  0\n") {
		t.Errorf("after its end: %s", out)
	}
}

// The road's own messages are not what an operator sent: their steps are for who
// looks for them.
func TestStepsOfTheRoadAreQuiet(t *testing.T) {
	f := newFleet(t)
	f.want(0, "exec", "ship1", "--", "true")
	f.central.end(syscall.SIGTERM)
	f.ship.line(`"msg":"failure"`, "broker lost") // which ship1 sends to central
	f.ship.end(syscall.SIGTERM)
	for _, line := range f.ship.tail {
		if strings.Contains(line, `"msg":"accepted"`) || strings.Contains(line, `"msg":"ended"`) {
			t.Errorf("not quiet: %s", line)
		}
	}
}
