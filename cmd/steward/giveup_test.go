package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node that is there and does not answer: what was not sent is undelivered when
// its retries ran out; what may have arrived is unknown until the node, asked, says
// that it has not.
func TestExitCodeOfTheUndelivered(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "STEWARD_ACK_TIMEOUT=200ms")
	ran := filepath.Join(t.TempDir(), "ran")
	touch := []string{"exec", "ship1", "--retries", "1", "--", "touch", ran}
	f.signalShip(syscall.SIGSTOP)
	if r := f.do(touch...); r.code != 6 || !strings.Contains(r.stderr, "ship1: undelivered: its retries ran out") {
		t.Errorf("exec that was not sent: %+v", r)
	}
	f.signalShip(syscall.SIGCONT)
	f.want(0, "exec", "ship1", "--", "true")
	f.signalShip(syscall.SIGSTOP)
	if r := f.do(touch...); r.code != 7 || !strings.Contains(r.stderr, "ship1: unknown: its retries ran out") {
		t.Errorf("exec that may have arrived: %+v", r)
	}
	id := f.newest()
	f.signalShip(syscall.SIGCONT)
	f.central.line(`"msg":"failure resolved"`, id)
	if r := f.do("wait", id); r.code != 6 || !strings.Contains(r.stderr, "ship1: undelivered") {
		t.Errorf("wait for what is undelivered: %+v", r)
	}
	if _, err := os.Stat(ran); !os.IsNotExist(err) {
		t.Errorf("it was run: %v", err)
	}
}

// A cancel that waits for the receiver's word is counted, by a node that runs and
// in the journal of one that does not.
func TestCancellingIsCounted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "STEWARD_ACK_TIMEOUT=200ms")
	f.want(0, "exec", "ship1", "--", "true")
	f.signalShip(syscall.SIGSTOP)
	f.want(0, "exec", "ship1", "--detach", "--", "true")
	f.awaitAttempt()
	f.want(exitWaiting, "cancel", "last")
	one := regexp.MustCompile(`(?m)^cancelling +1$`)
	if out := f.want(0, "status"); !one.MatchString(out) {
		t.Errorf("status: %s", out)
	}
	f.central.end(syscall.SIGTERM)
	if out := f.want(0, "store", "stats"); !one.MatchString(out) {
		t.Errorf("store stats: %s", out)
	}
}

func (f *fleet) signalShip(s syscall.Signal) {
	f.t.Helper()
	if err := f.ship.cmd.Process.Signal(s); err != nil {
		f.t.Fatal(err)
	}
}

// newest is the id of the message that was accepted last.
func (f *fleet) newest() string {
	f.t.Helper()
	var list []record
	parse(f.t, f.want(0, "messages", "--limit", "1", "-o", "json"), &list)
	return list[0].ID
}

// awaitAttempt returns when the newest message was sent and not answered.
func (f *fleet) awaitAttempt() {
	f.t.Helper()
	for end := time.Now().Add(patience); ; {
		r := f.do("wait", "last", "--timeout", "100ms")
		if strings.Contains(r.stderr, "deadline exceeded") {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("no attempt: %+v", r)
		}
	}
}
