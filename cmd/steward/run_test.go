package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
)

// The story of the README: what was dropped while one end was away, and the
// other was killed, runs in order and once.
func TestTenMessagesAndAKill(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.ship.end(syscall.SIGTERM)
	out := filepath.Join(f.dir, "out")
	var docs, want strings.Builder
	for i := range 10 {
		fmt.Fprintf(&want, "%d\n", i)
		fmt.Fprintf(&docs, `[{"toNode":"ship1","data":["sh","-c","echo %d >> %s"],"commandOrEvent":"CommandACK","method":"CLICommand"}]`+"\n", i, out)
	}
	inmsg, err := os.OpenFile(filepath.Join(f.data("central"), "inmsg.txt"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inmsg.WriteString(docs.String()); err != nil {
		t.Fatal(err)
	}
	if err := inmsg.Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		f.central.line(`"msg":"accepted"`, `"to":"ship1"`)
	}
	f.central.end(syscall.SIGKILL)
	f.central = begin(t, nil, "run", "--node", "central", "--listen", strings.TrimPrefix(f.broker, "nats://"), "--data", f.data("central"))
	f.startShip()
	var list []record
	parse(t, f.want(0, "messages", "--method", "CLICommand", "-o", "json"), &list)
	for _, r := range list {
		f.want(0, "wait", r.ID)
	}
	got, err := os.ReadFile(out)
	if err != nil || string(got) != want.String() || len(list) != 10 {
		t.Errorf("%d messages wrote %q, %v", len(list), got, err)
	}
}

func TestSecondStewardOnOneFolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	r := call(t, nil, "", "run", "--node", "central", "--listen", "127.0.0.1:0", "--data", f.data("central"))
	if r.code != 1 || !strings.Contains(r.stderr, "in use by another steward") || !strings.Contains(r.stderr, f.data("central")) {
		t.Errorf("%+v", r)
	}
	f.want(0, "status") // and the first goes on
}

// What keeps a node from starting is said in one line, with what to do.
func TestStartsThatFail(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr, dir := taken.Addr().String(), stewardtest.ShortDir(t)
	other := filepath.Join(dir, "other")
	begin(t, nil, "run", "--node", "other", "--listen", "127.0.0.1:0", "--data", other).line(`"msg":"ready"`)
	stopped := filepath.Join(dir, "stopped")
	p := begin(t, nil, "run", "--node", "stopped", "--listen", "127.0.0.1:0", "--data", stopped)
	p.line(`"msg":"ready"`)
	p.end(syscall.SIGTERM)
	for _, row := range []struct {
		code int
		want string
		args []string
	}{
		{1, "another program listens on " + addr + ": if that is a broker, join it by --broker nats://" + addr, []string{"--listen", addr, "--data", filepath.Join(dir, "a")}},
		{1, "the journal is in use by another steward: stop that one", []string{"--data", other}},
		{1, `it is "stopped"'s, this node is "a": give each node its own data folder`, []string{"--data", stopped}},
		{1, "/file cannot be made: not a directory: choose another by --data", []string{"--data", write(t, "file", "")}},
		{1, "data folder /proc/sys/steward cannot be ", []string{"--data", "/proc/sys/steward"}}, // not even by root
		{1, "choose another by --data", []string{"--data", "/proc/sys/steward"}},
		{2, `node name "a.b.example": only A-Z a-z 0-9 _ and - are allowed (dots separate the tokens of a subject: use "a-b-example")`, []string{"--node", "a.b.example"}},
		{2, "--broker: broker[0] is \"http://127.0.0.1:1\": want a URL such as nats://", []string{"--broker", "http://127.0.0.1:1"}},
	} {
		r := call(t, nil, "", append([]string{"run", "--node", "a", "--listen", "127.0.0.1:0"}, row.args...)...)
		if r.code != row.code || !strings.Contains(r.stderr, row.want) || strings.Count(r.stderr, "\n") > 1 && row.code == 1 {
			t.Errorf("%v: exit code %d, want %d and %q in\n%s", row.args, r.code, row.code, row.want, r.stderr)
		}
	}
}

// What runs within the node may end within the grace; a second signal ends that.
func TestSecondSignalExitsAtOnce(t *testing.T) {
	f := newFleet(t)
	f.ship.end(syscall.SIGTERM)
	f.ship = begin(t, []string{"STEWARD_GRACE=1h"}, "run", "--node", "ship1", "--broker", f.broker, "--data", f.data("ship1"))
	page := silentPage(t)
	f.want(0, "send", "--to", "ship1", "--method", "HTTPGet", "--", page.url)
	page.asked()
	if err := f.ship.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.ship.line(`"msg":"stopping"`)
	// While it stops nobody waits for an answer: what comes is known not to have been taken.
	f.want(6, "exec", "ship1", "--expires", "500ms", "--", "true")
	if code := f.ship.end(syscall.SIGINT); code != 128+int(syscall.SIGINT) && code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want that of a signal", code)
	}
}

// And when the grace is over the node ends it.
func TestTerminationHasABound(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.ship.end(syscall.SIGTERM)
	f.ship = begin(t, []string{"STEWARD_GRACE=200ms"}, "run", "--node", "ship1", "--broker", f.broker, "--data", f.data("ship1"))
	page := silentPage(t)
	f.want(0, "send", "--to", "ship1", "--method", "HTTPGet", "--", page.url)
	page.asked()
	began := time.Now()
	if code := f.ship.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d, want 0", code)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("SIGTERM took %s", took)
	}
	if code := f.central.end(syscall.SIGINT); code != 0 {
		t.Errorf("SIGINT: exit code %d, want 0", code)
	}
}

// The exit codes of the help and of the documentation are the same ones.
func TestDocumentedExitCodes(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(exitCodesText) {
		if code := strings.Fields(line)[0]; strings.HasPrefix(line, "  ") && !strings.Contains(string(doc), "\n| "+code+" | ") {
			t.Errorf("code %s is not documented", code)
		}
	}
}

func TestBrokerOffLoopback(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	r := call(t, nil, "", "run", "--node", "a", "--data", dir, "--listen", "0.0.0.0:0")
	if r.code != exitUsage || !strings.Contains(r.stderr, "--insecure") {
		t.Errorf("%+v", r)
	}
	n := begin(t, nil, "run", "--node", "a", "--data", dir, "--listen", "0.0.0.0:0", "--insecure")
	n.line(`"msg":"ready"`)
	if out := call(t, nil, "", "status", "--data", dir).stdout; !strings.Contains(out, "INSECURE") {
		t.Errorf("status does not tell: %s", out)
	}
}

func TestStoreCommands(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.want(0, "exec", "ship1", "--", "true")
	f.want(75, "exec", "nowhere", "--timeout", "50ms", "--", "true")
	for _, verb := range []string{"stats", "check", "compact", "init", "revert"} {
		if r := f.do("store", verb); r.code != 1 || !strings.Contains(r.stderr, "is running: stop it first") || r.stdout != "" {
			t.Errorf("%s of a running node: %+v", verb, r)
		}
	}
	f.central.end(syscall.SIGTERM)
	if out := f.want(0, "store", "check"); out != "ok\n" {
		t.Errorf("check: %s", out)
	}
	var stats struct {
		Node   string
		Counts struct{ Waiting int }
	}
	out := f.want(0, "store", "stats", "-o", "json")
	if parse(t, out, &stats); stats.Node != "central" || !strings.Contains(strings.ToLower(out), `"waiting": 1`) {
		t.Errorf("stats: %s", out)
	}
	var sizes struct{ Before, After, Bytes, FreeBytes int64 }
	parse(t, out, &sizes)
	was := sizes.Bytes
	parse(t, f.want(0, "store", "compact", "-o", "json"), &sizes)
	if sizes.Before != was || sizes.After >= was {
		t.Errorf("stats say %d bytes, and compact %d, then %d", was, sizes.Before, sizes.After)
	}
	parse(t, f.want(0, "store", "stats", "-o", "json"), &sizes)
	if sizes.Bytes != sizes.After || sizes.FreeBytes > sizes.Bytes/2 {
		t.Errorf("compact says %d bytes, and then stats %d, of which %d are free", sizes.After, sizes.Bytes, sizes.FreeBytes)
	}
	if r := f.do("store", "revert"); r.code != 1 || !strings.Contains(r.stderr, "nothing to go back from") {
		t.Errorf("revert of a journal that is whole: %+v", r)
	}
	if r := f.do("store", "check", "--data", f.dir); r.code != exitNotFound {
		t.Errorf("check where no journal is: %+v", r)
	}
	journal := filepath.Join(f.data("central"), "journal.db")
	loseHead(t, journal)
	if out := f.want(0, "store", "revert", "-o", "jsonl"); !strings.Contains(out, journal) {
		t.Errorf("revert: %s", out)
	}
	if out := f.want(0, "store", "check"); out != "ok\n" {
		t.Errorf("check of a reverted journal: %s", out)
	}
	if err := os.Truncate(journal, 5000); err != nil {
		t.Fatal(err)
	}
	if r := f.do("store", "check"); r.code != 1 || strings.Count(r.stdout+r.stderr, store.Advice) != 1 {
		t.Errorf("check of a cut journal: %+v", r)
	}
	run := []string{"run", "--node", "central", "--listen", "127.0.0.1:0"}
	if r := f.do(run...); r.code == 0 || !strings.Contains(r.stderr, "backup") {
		t.Errorf("run with a cut journal: %+v", r)
	}
	if r := f.do("store", "init"); r.code != 1 || !strings.Contains(r.stderr, "move it away first") {
		t.Errorf("init over a cut journal: %+v", r)
	}
	if err := os.Remove(journal); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"journal.db.opening", "messages.log"} {
		if r := f.do(run...); r.code == 0 || !strings.Contains(r.stderr, "the journal is gone") || !strings.Contains(r.stderr, left) {
			t.Errorf("run without the journal, but with %s: %+v", left, r)
		}
		_ = os.Remove(journal + ".opening")
	}
	if out := f.want(0, "store", "init", "-o", "jsonl"); !strings.Contains(out, journal) {
		t.Errorf("init: %s", out)
	}
	if out := f.want(0, "store", "check"); out != "ok\n" {
		t.Errorf("check of a new journal: %s", out)
	}
}

// loseHead overwrites the first of the two heads of a journal.
func loseHead(t *testing.T, journal string) {
	t.Helper()
	f, err := os.OpenFile(journal, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A broker that is not there yet is no error.
func TestBrokerThatComesLater(t *testing.T) {
	t.Parallel()
	dir, addr := stewardtest.ShortDir(t), stewardtest.FreePort(t)
	ship := begin(t, nil, "run", "--node", "ship1", "--data", filepath.Join(dir, "ship1"), "--broker", "nats://"+addr)
	ship.line(`"msg":"ready"`)
	env := []string{"STEWARD_DATA=" + filepath.Join(dir, "ship1")}
	if out := call(t, env, "", "status").stdout; !strings.Contains(out, "not connected") {
		t.Errorf("status: %s", out)
	}
	id := strings.TrimSpace(call(t, env, "", "exec", "central", "-d", "--", "echo", "hi").stdout)
	begin(t, nil, "run", "--node", "central", "--data", filepath.Join(dir, "central"), "--listen", addr)
	if r := call(t, env, "", "wait", id); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// What failed comes back by hand, as soon as the cause is gone.
func TestProcessesRestart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := l.Addr().String(), stewardtest.ShortDir(t)
	n := begin(t, nil, "run", "--node", "a", "--data", dir, "--listen", "127.0.0.1:0", "--metrics", addr)
	env := []string{"STEWARD_DATA=" + dir}
	n.line(`"msg":"failure"`, addr)
	var list []struct{ Name, State, LastError string }
	find := func() (state, cause string) {
		parse(t, call(t, env, "", "processes", "-o", "json").stdout, &list)
		for _, p := range list {
			if p.Name == "metrics" {
				return p.State, p.LastError
			}
		}
		return "", ""
	}
	if state, cause := find(); state == "running" || !strings.Contains(cause, addr) {
		t.Errorf("metrics is %q: %q", state, cause)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := call(t, env, "", "processes", "restart", "metrics"); r.code != 0 || !strings.Contains(r.stderr, "metrics is started again") {
		t.Errorf("%+v", r)
	}
	n.line(`"msg":"metrics"`)
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %d, %v", resp.StatusCode, err)
	}
	if r := call(t, env, "", "processes", "restart", "metrics"); r.code != 1 {
		t.Errorf("restart of what runs: %+v", r)
	}
}

// Without --data the commands take the one node that runs below ./data.
func TestNodeBelowTheWorkingFolder(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	t.Chdir(dir)
	if r := call(t, nil, "", "status"); r.code != exitNoNode || !strings.Contains(r.stderr, "steward run") {
		t.Errorf("none: %+v", r)
	}
	killed := begin(t, nil, "run", "--node", "b", "--listen", "127.0.0.1:0")
	killed.line(`"msg":"ready"`)
	killed.end(syscall.SIGKILL)
	a := begin(t, nil, "run", "--node", "a", "--listen", "127.0.0.1:0")
	a.line(`"msg":"ready"`)
	if r := call(t, nil, "", "status", "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"node": "a"`) {
		t.Errorf("one: %+v", r)
	}
	begin(t, nil, "run", "--node", "b", "--listen", "127.0.0.1:0").line(`"msg":"ready"`)
	if r := call(t, nil, "", "status"); r.code != exitUsage || !strings.Contains(r.stderr, "data/a, data/b") {
		t.Errorf("two: %+v", r)
	}
}

// Logs are JSON where no terminal reads them, and go to stderr.
func TestLogsOfRun(t *testing.T) {
	f := newFleet(t)
	f.central.end(syscall.SIGTERM)
	for _, line := range f.central.tail {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	n := begin(t, nil, "run", "--node", "x", "--listen", "127.0.0.1:0", "--data", filepath.Join(f.dir, "x"), "--log-format", "text")
	n.line("msg=ready")
}

func TestDemo(t *testing.T) {
	r := call(t, []string{"TMPDIR=" + stewardtest.ShortDir(t)}, "", "demo")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	at := 0
	for _, part := range []string{"1. ", "2. ", `"toNode":"ship1"`, "exit code 0", "output     hello from", "3. ", "waiting", "4. ", "done", "hello again", "steward run --node central"} {
		i := strings.Index(r.stdout[at:], part)
		if i < 0 {
			t.Fatalf("%q is missing or out of order: %s", part, r.stdout)
		}
		at += i
	}
}
