package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const oldForm = `[{"toNode":"ship1","data":["one"],"commandOrEvent":"CommandACK","method":"Echo","timeout":10,"retries":3}]`

func TestSend(t *testing.T) {
	f := newFleet(t)
	file := write(t, "messages.json", oldForm+"\n"+strings.Replace(oldForm, "one", "two", 1))
	var list []record
	parse(t, f.want(0, "send", file, "--wait", "-o", "json"), &list)
	if len(list) != 2 || list[0].Result.Stdout != "one" || list[1].Result.Stdout != "two" {
		t.Errorf("from a file: %+v", list)
	}
	r := call(t, f.env(), oldForm, "send", "-", "-o", "json")
	if parse(t, r.stdout, &list); len(list) != 1 || list[0].ToNode != "ship1" {
		t.Errorf("from stdin: %+v", r)
	}
	parse(t, f.want(0, "send", "--to", "ship1,central", "--method", "Echo", "--wait", "-l", "a=b", "-o", "json", "--", "--x", "y"), &list)
	if len(list) != 2 || list[1].ToNode != "central" || list[0].Labels["a"] != "b" || list[0].Result.Stdout != "--x\ny" {
		t.Errorf("by flags: %+v", list)
	}
	bad := write(t, "bad.json", oldForm+`{"toNode":"ship1","dta":[],"commandOrEvent":"CommandACK","method":"Echo"}`)
	r = f.do("send", bad)
	if r.code != 2 || !strings.Contains(r.stderr, `"dta"`) || !strings.Contains(r.stderr, `"data"`) || r.stdout != "" {
		t.Errorf("of a bad file: %+v", r)
	}
	if parse(t, f.want(0, "messages", "--from", "central", "--method", "Echo", "-o", "json"), &list); len(list) != 5 {
		t.Errorf("%d messages, want 5: a document is taken whole or not at all", len(list))
	}
	if r := f.do("send", "--to", "nowhere", "--method", "Echo", "--timeout", "50ms"); r.code != exitWaiting || !strings.Contains(r.stdout, "waiting") {
		t.Errorf("send --timeout: %+v", r)
	}
}

// exec is transparent: what the command writes comes out, each to its stream.
func TestExecStreams(t *testing.T) {
	f := newFleet(t)
	r := f.do("exec", "ship1", "--", "printf", `a\0b`)
	if r != (ran{0, "a\x00b", ""}) {
		t.Errorf("one node: %#v", r)
	}
	r = f.do("exec", "ship1,central", "--", "sh", "-c", "printf 'x\ny'; echo e >&2")
	if r != (ran{0, "ship1: x\nship1: y\ncentral: x\ncentral: y\n", "ship1: e\ncentral: e\n"}) {
		t.Errorf("several nodes: %#v", r)
	}
	r = f.do("exec", "ship1", "--", "sh", "-c", `head -c 300000 /dev/zero | tr '\0' x`)
	if len(r.stdout) != 256<<10 || !strings.Contains(r.stderr, "stdout had 300000 bytes") {
		t.Errorf("much output: %d bytes, %q", len(r.stdout), r.stderr)
	}
}

func TestDetachAndWait(t *testing.T) {
	f := newFleet(t)
	out := f.want(0, "exec", "ship1,central", "--detach", "--", "sh", "-c", "exit 0")
	ids := strings.Fields(out)
	if len(ids) != 2 || !regexp.MustCompile(`^([0-9a-f-]{36}\n){2}$`).MatchString(out) {
		t.Fatalf("--detach printed %q", out)
	}
	table := f.want(0, "wait", ids[0], ids[1])
	if strings.Count(table, "done") != 2 {
		t.Errorf("wait: %s", table)
	}
	if show := f.want(0, "show", ids[0][24:]); !strings.Contains(show, ids[0]) {
		t.Errorf("show by the end of an id: %s", show)
	}
}

// --timeout ends the wait, never the message.
func TestTimeoutOfTheWait(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.ship.end(syscall.SIGTERM)
	var list []record
	r := f.do("exec", "ship1,central", "--timeout", "1s", "-o", "json", "--", "echo", "hi")
	parse(t, r.stdout, &list)
	if r.code != exitWaiting || list[0].State != "waiting" || list[0].Attempts == 0 || list[1].Outcome != "done" {
		t.Errorf("%+v", r)
	}
	f.startShip()
	if out := f.want(0, "wait", list[0].ID, "--timeout", "20s"); !strings.Contains(out, "done") {
		t.Errorf("wait: %s", out)
	}
}

func TestResend(t *testing.T) {
	f := newFleet(t)
	first := f.submitted("send", "--to", "ship1", "--method", "Echo", "-l", "a=b", "--wait", "--", "hello")
	again := f.submitted("resend", first.ID)
	if again.CausationID != first.ID || again.ID == first.ID || !slices.Equal(again.Data, first.Data) {
		t.Errorf("by id: %+v", again)
	}
	if out := f.want(0, "wait", again.ID); !strings.Contains(out, "done") {
		t.Error(out)
	}
	log, err := os.ReadFile(f.data("central") + "/messages.log")
	if err != nil {
		t.Fatal(err)
	}
	line := ""
	for l := range strings.Lines(string(log)) {
		if strings.Contains(l, `"id":"`+first.ID) {
			line = l
		}
	}
	again = f.submitted("resend", write(t, "again", line))
	if again.CausationID != first.ID || !slices.Equal(again.Data, first.Data) || again.Labels["a"] != "b" {
		t.Errorf("by file: %+v", again)
	}
	f.want(0, "wait", again.ID)
	own, err := os.ReadFile(f.data("ship1") + "/messages.log") // results, and nothing else
	if err != nil {
		t.Fatal(err)
	}
	whole := f.do("resend", write(t, "whole", string(log)+string(own)+string(log)), "-o", "json")
	var records []record
	if parse(t, whole.stdout, &records); whole.code != 0 || len(records) != 2 || !strings.Contains(whole.stderr, "of the road's own") || !strings.Contains(whole.stderr, "2 repeats") {
		t.Errorf("of a whole log: %+v", whole)
	}
	if r := f.do("resend", write(t, "results", string(own))); r.code != 2 || !strings.Contains(r.stderr, "no message that can be submitted again") {
		t.Errorf("of results only: %+v", r)
	}
	if r := f.do("resend", first.ID, "--data", f.data("ship1")); r.code == 0 || !strings.Contains(r.stderr, "came from central: resend it there") {
		t.Errorf("of a message that was received: %+v", r)
	}
	if show := f.want(0, "show", again.ID); !strings.Contains(show, first.ID) {
		t.Errorf("show does not name the first: %s", show)
	}
	if r := f.do("resend", write(t, "other", "{}\n")); r.code != 2 || !strings.Contains(r.stderr, "line 1") {
		t.Errorf("of another file: %+v", r)
	}
}

func TestTraceTellsEveryStep(t *testing.T) {
	f := newFleet(t)
	f.want(3, "exec", "ship1", "--", "sh", "-c", "echo out; exit 3")
	out := f.want(0, "trace", "last")
	at := 0
	for _, part := range []string{"central to ship1", "accepted", "delivered", "started", "finished", "exit code 3", "failed", "\n\nout\n"} {
		i := strings.Index(out[at:], part)
		if i < 0 {
			t.Fatalf("%q is missing or out of order: %s", part, out)
		}
		at += i
	}
	f.want(75, "exec", "nowhere", "--timeout", "200ms", "--", "true")
	if out := f.want(0, "trace", "last"); !strings.Contains(out, "still waiting") || !strings.Contains(out, "not connected") {
		t.Errorf("of a waiting message: %s", out)
	}
}

func TestFollowMessages(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	follow := begin(t, f.env(), "messages", "--follow", "-o", "json", "--to", "ship1")
	table := begin(t, f.env(), "messages", "--follow", "--to", "ship1")
	r := f.submitted("send", "--to", "ship1", "--method", "Echo", "--wait", "--", "a\x1b[31mb")
	var got record
	parse(t, follow.line(r.ID, `"state":"ended"`), &got)
	if got.Outcome != "done" {
		t.Errorf("%+v", got)
	}
	table.line("ID", "STATE", "DATA")
	if line := table.line(r.ID, "done"); strings.Contains(line, "\x1b") || !strings.Contains(line, `a\x1b[31mb`) {
		t.Errorf("%q", line)
	}
	for _, p := range []*proc{follow, table} {
		if code := p.end(syscall.SIGINT); code != 0 {
			t.Errorf("an interrupt ends --follow with %d, want 0", code)
		}
	}
}

func TestErrorsFollowAndResolve(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	follow := begin(t, f.env(), "errors", "--follow", "-o", "jsonl")
	f.want(5, "send", "--to", "ship1", "--method", "HTTPGet", "--wait", "--", "http://127.0.0.1:1")
	var failure struct{ ID, Class, Cause string }
	parse(t, follow.line(`"class":"rejection"`, `"node":"central"`), &failure)
	if !strings.Contains(failure.Cause, "HTTPGet") {
		t.Errorf("%+v", failure)
	}
	if r := f.do("errors", "resolve", failure.ID); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "resolved") {
		t.Errorf("resolve: %+v", r)
	}
	if out := f.want(0, "errors", "-o", "json"); strings.Contains(out, failure.ID) {
		t.Errorf("resolved, and still listed: %s", out)
	}
	if out := f.want(0, "errors", "--all"); !strings.Contains(out, failure.ID) {
		t.Errorf("--all leaves out the resolved: %s", out)
	}
	f.want(0, "errors", "resolve", "all")
	if out := f.want(0, "errors", "-o", "jsonl"); out != "" {
		t.Errorf("after resolve all: %s", out)
	}
}

func TestCompletion(t *testing.T) {
	f := newFleet(t)
	r := f.submitted("send", "--to", "ship1", "--method", "Echo", "--wait", "--", "x")
	for _, row := range []struct{ typed, offers string }{
		{"exec shi", "ship1\tonline"}, {"exec central,", "central,ship1\t"}, {"send --to c", "central\t"}, {"show ", r.ID + "\tdone, Echo to ship1"},
		{"wait last ", r.ID}, {"messages --outcome ", "undelivered"}, {"messages -o ", "jsonl"}, {"processes restart ", "submit\trunning"},
		{"errors --class ", "identity"}, {"errors resolve ", "all"}, {"send --kind ", "EventNACK"},
		{"send --method ", "TextLogging"}, {"messages --method ", "CLICommand\n"}, {"exec --reply-method ", "TextLogging"},
	} {
		if out := f.want(0, append([]string{"__complete"}, strings.Split(row.typed, " ")...)...); !strings.Contains(out, row.offers) {
			t.Errorf("%q offers %q, want %q", row.typed, out, row.offers)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := f.want(0, "completion", shell); !strings.Contains(out, "steward") {
			t.Errorf("completion %s: %.100s", shell, out)
		}
	}
	if r := call(t, []string{"STEWARD_DATA=" + f.dir}, "", "__complete", "exec", ""); r.code != 0 {
		t.Errorf("without a node: %#v", r)
	}
}
