package main

import (
	"strings"
	"syscall"
	"testing"
)

// A second ship1 in another folder stands by and says so, survives a kill -9 of
// the first that is started again at once, and takes over from one that is gone.
func TestTwinOfANode(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	twin := begin(t, nil, "run", "--node", "ship1", "--broker", f.broker, "--data", f.data("twin"))
	twin.line(`"level":"ERROR"`, "another node serves as ship1", f.data("ship1"))
	env := []string{"STEWARD_DATA=" + f.data("twin")}
	if r := call(t, env, "", "status"); r.code != 0 || !strings.Contains(r.stdout, "STANDS BY") || !strings.Contains(r.stdout, f.data("ship1")) {
		t.Errorf("status: %+v", r)
	}
	if out := call(t, env, "", "errors").stdout; !strings.Contains(out, "another node serves as ship1") {
		t.Errorf("errors: %s", out)
	}
	f.central.line(`"msg":"failure"`, f.data("twin")) // the first told central
	where := func() string {
		return f.want(0, "exec", "ship1", "--", "sh", "-c", "tr '\\0' ' ' < /proc/$PPID/cmdline")
	}
	for range 3 {
		if out := where(); !strings.Contains(out, f.data("ship1")) {
			t.Errorf("it ran at %s", out)
		}
		f.ship.end(syscall.SIGKILL)
		f.startShip()
	}
	f.ship.end(syscall.SIGKILL)
	f.central.line(`"msg":"hello"`, `"from":"ship1"`)
	if out := where(); !strings.Contains(out, f.data("twin")) {
		t.Errorf("it ran at %s", out)
	}
	if r := call(t, env, "", "status"); strings.Contains(r.stdout, "STANDS BY") {
		t.Errorf("status: %+v", r)
	}
}
