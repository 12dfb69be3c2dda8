package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/steward-bus/steward/store"
)

// The table of exit codes is a contract: one row each.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, row := range []struct {
		name   string
		code   int
		args   []string
		stderr string // part of it
	}{
		{"done", 0, []string{"exec", "ship1", "--", "true"}, ""},
		{"delivered", 0, []string{"send", "--to", "ship1", "--kind", "EventACK", "--method", "TextLogging", "--wait", "--", "a line"}, ""},
		{"sent", 0, []string{"send", "--to", "ship1", "--kind", "CommandNACK", "--method", "CLICommand", "--wait", "--", "true"}, ""},
		{"failed", 1, []string{"exec", "ship1", "--", "false"}, "ship1: failed (exit code 1)"},
		{"remote exit code", 42, []string{"exec", "ship1", "--", "sh", "-c", "exit 42"}, "exit code 42"},
		{"no such program", 1, []string{"exec", "ship1", "--", "no-such-program"}, "no-such-program"},
		{"one of several failed", 1, []string{"exec", "ship1,central", "--", "sh", "-c", `test $STEWARD_FROM_NODE = other && exit 42; exit 43`}, "ship1: failed (exit code 43)"},
		{"killed at its limit", 124, []string{"exec", "ship1", "--method-timeout", "100ms", "--", "sleep", "30"}, "ship1: timeout"},
		{"unknown command", 2, []string{"mesages"}, "did you mean messages?"},
		{"unknown command of a group", 2, []string{"store", "chek"}, "did you mean check?"},
		{"unknown flag", 2, []string{"messages", "--bogus"}, "--bogus"},
		{"unknown format", 2, []string{"nodes", "-o", "xml"}, "want one of table, json, jsonl, yaml"},
		{"flag of the remote command", 2, []string{"exec", "ship1", "uname", "-a"}, "steward exec ship1 -- uname -a"},
		{"unknown word", 2, []string{"messages", "--state", "lost"}, "want one of waiting, cancelling"},
		{"number out of range", 2, []string{"messages", "--limit", "20000"}, "--limit is 20000: want 1 to 10000"},
		{"exec without command", 2, []string{"exec", "ship1"}, "a node and a command"},
		{"missing argument", 2, []string{"show"}, "usage: steward show ID|last"},
		{"argument too many", 2, []string{"messages", "all"}, "takes no arguments"},
		{"invalid message", 2, []string{"exec", "ship.1", "--", "true"}, `use "ship-1"`},
		{"method without receiver", 2, []string{"send", "--method", "Ping"}, "--to"},
		{"bytes that are no text", 2, []string{"exec", "ship1", "--", "touch", "bad\xffname"}, "is not UTF-8"},
		{"a label that is no text", 2, []string{"send", "--to", "ship1", "--method", "Echo", "--label", "k=\xff", "--", "x"}, "is not UTF-8"},
		{"no such message", 3, []string{"show", "01a1fbe6-7b18-78a6-9edd-000000000000"}, "not found"},
		{"no such file to send", 3, []string{"send", "/no/such/file"}, "/no/such/file"},
		{"nothing to resend", 3, []string{"resend", "/no/such/file"}, "no such file"},
		{"no such process", 3, []string{"processes", "restart", "none"}, "none"},
		{"no such failure", 3, []string{"errors", "resolve", "01a1fbe6-7b18-78a6-9edd-000000000000"}, "not found"},
		{"no node", 4, []string{"status", "--data", f.dir}, "steward run --data " + f.dir},
		{"rejected", 5, []string{"send", "--to", "ship1", "--method", "HTTPGet", "--wait", "--", "http://127.0.0.1:1"}, "ship1: rejected: ship1 does not take HTTPGet"},
		{"a method that a present node lacks", 2, []string{"send", "--to", "ship1", "--method", "Nope"}, "method is \"Nope\": ship1 has CLICommand, "},
		{"a method that this node lacks", 2, []string{"send", "--to", "central", "--method", "Nope"}, "this node has no such method"},
		{"exec without --", 2, []string{"exec", "ship1", "uname"}, "comes after --"},
		{"exec of a command with its own --", 1, []string{"exec", "ship1", "--", "sh", "-c", `test "$1" = -- && exit 1`, "sh", "--", "x"}, "exit code 1"},
		{"a -- that is not the first", 2, []string{"exec", "ship1", "git", "log", "--", "file"}, "comes after --"},
		{"expired", 6, []string{"exec", "nowhere", "--expires", "300ms", "--", "true"}, "nowhere: expired"},
		{"seconds", 75, []string{"exec", "nowhere", "--expires", "1d", "--ack-timeout", "5", "--timeout", "0.2", "--", "true"}, "nowhere: waiting"},
		{"still waiting", 75, []string{"exec", "nowhere", "--timeout", "100ms", "--", "true"}, "nothing is lost. To wait on: steward wait "},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := call(t, f.env(), "", row.args...)
			if r.code != row.code || !strings.Contains(r.stderr, row.stderr) {
				t.Errorf("%v: exit code %d, want %d with %q\nstdout: %s\nstderr: %s", row.args, r.code, row.code, row.stderr, r.stdout, r.stderr)
			}
		})
	}
}

func TestExitCodeOfTheCancelled(t *testing.T) {
	f := newFleet(t)
	exec := begin(t, f.env(), "exec", "nowhere", "--", "true")
	f.central.line(`"msg":"accepted"`, `"to":"nowhere"`)
	if out := f.do("cancel", "last"); out.code != 0 && out.code != exitWaiting {
		t.Fatalf("cancel: %+v", out)
	}
	if code := exec.wait(); code != 8 {
		t.Errorf("exec of a cancelled message: exit code %d, want 8", code)
	}
	if r := f.do("cancel", "last"); r.code != 1 || !strings.Contains(r.stderr, "too late") {
		t.Errorf("cancel of what has ended: %+v", r)
	}
}

// A command whose runner died may or may not have done its work.
func TestExitCodeOfTheUnknown(t *testing.T) {
	f := newFleet(t)
	pipe := fifo(t)
	exec := begin(t, f.env(), "exec", "ship1", "--", "sh", "-c", "echo > "+pipe+"; exec sleep 60")
	told(t, pipe)
	f.ship.end(syscall.SIGKILL)
	f.killRunner()
	f.startShip()
	if code := exec.wait(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}

// An interrupt ends the waiting, never the message.
func TestInterruptedWaiting(t *testing.T) {
	f := newFleet(t)
	pipe, release := fifo(t), fifo(t)
	exec := begin(t, f.env(), "exec", "ship1", "--", "sh", "-c", "echo > "+pipe+"; cat "+release)
	told(t, pipe)
	if code := exec.end(syscall.SIGINT); code != exitWaiting {
		t.Errorf("exit code %d, want %d", code, exitWaiting)
	}
	if all := strings.Join(exec.tail, "\n"); !strings.Contains(all, "steward wait ") {
		t.Errorf("it does not say how to wait on: %s", all)
	}
	out := make(chan ran, 1)
	go func() { out <- f.do("wait", "last") }()
	writeFifo(t, release, "late\n")
	if r := <-out; r.code != 0 {
		t.Errorf("wait: %+v", r)
	}
	if show := f.want(0, "show", "last"); !strings.HasSuffix(show, "\n\nlate\n") {
		t.Errorf("show last: %s", show)
	}
}

func TestExitCodeOfABrokenJournal(t *testing.T) {
	if code := exitCode(fmt.Errorf("run: %w", store.ErrBroken)); code != 70 {
		t.Errorf("exit code %d, want 70", code)
	}
}
