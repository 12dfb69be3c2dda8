package steward_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// do sends m from n and waits for its outcome.
func do(t *testing.T, n *steward.Node, m *message.Message) store.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := n.Do(ctx, m)
	if err != nil {
		t.Fatalf("%v is %s: %v", m.Data, r.State, err)
	}
	return r
}

func shell(script string) *message.Message {
	return &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "CLICommand", Data: []string{"sh", "-c", script}}
}

// What bounds a command at its node is told truly at the node that asked.
func TestCommandLimitsBetweenNodes(t *testing.T) {
	url := broker(t)
	central := onBroker(t, url, "central")
	onBroker(t, url, "ship1")
	t.Run("the limit ends the whole group", func(t *testing.T) {
		pids := filepath.Join(t.TempDir(), "pids")
		m := shell("sleep 60 & echo $! > " + pids + "; wait")
		m.MethodTimeout = 300 * time.Millisecond
		if r := do(t, central, m); r.Outcome != ack.Timeout || r.Result.EndedAt.Sub(r.Result.StartedAt) > 5*time.Second {
			t.Errorf("%s after %s", r.Outcome, r.Result.EndedAt.Sub(r.Result.StartedAt))
		}
		b, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
			t.Errorf("the child %d lives on: %v", pid, err)
		}
	})
	t.Run("a child that holds stdout", func(t *testing.T) {
		if r := do(t, central, shell("sleep 5 & echo out; exit 3")); r.Outcome != ack.Failed || *r.Result.ExitCode != 3 || string(r.Result.Stdout) != "out\n" ||
			r.Result.EndedAt.Sub(r.Result.StartedAt) > 4*time.Second {
			t.Errorf("%s: %+v", r.Outcome, r.Result)
		}
	})
	t.Run("output that is cut", func(t *testing.T) {
		const size = 3_000_000
		r := do(t, central, shell("head -c "+strconv.Itoa(size)+" /dev/zero | tr '\\0' x; echo e >&2"))
		if r.Outcome != ack.Done || !r.Result.Truncated || r.Result.StdoutBytes != size || len(r.Result.Stdout) >= size || string(r.Result.Stderr) != "e\n" {
			t.Errorf("%s: truncated %v, %d of %d bytes", r.Outcome, r.Result.Truncated, len(r.Result.Stdout), r.Result.StdoutBytes)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		m := shell("")
		m.Data = []string{"/no/such/program"}
		if r := do(t, central, m); r.Outcome != ack.Failed || r.Result.ExitCode != nil || !strings.Contains(r.Reason, "no such file") {
			t.Errorf("%s: %s", r.Outcome, r.Reason)
		}
	})
}

// zombie reports whether the process has ended, and only waits for its parent.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

// Commands of one sender run one at a time and in order; concurrent ones side by
// side, up to their bound.
func TestSerialAndConcurrentCommands(t *testing.T) {
	url, dir := broker(t), t.TempDir()
	central := onBroker(t, url, "central")
	onBroker(t, url, "ship1")
	const script = `mkdir "$1/$2" && ls "$1" | wc -l >> "$1.width"; echo $2 >> "$1.order"; sleep 0.0$((3 + $2 % 3)); rmdir "$1/$2"`
	for method, widest := range map[string]int{"CLICommand": 1, "CLICommandConcurrent": 16} {
		at := filepath.Join(dir, method)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		var ms []*message.Message
		var order []string
		for i := range 40 {
			ms = append(ms, &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: method, Data: []string{"sh", "-c", script, "sh", at, strconv.Itoa(i)}})
			order = append(order, strconv.Itoa(i))
		}
		if err := central.Submit(t.Context(), ms...); err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			if r, err := central.Wait(t.Context(), m.ID.String()); err != nil || r.Outcome != ack.Done {
				t.Fatalf("%s %s %s, %v", method, r.Outcome, r.Reason, err)
			}
		}
		width := 0
		for _, w := range words(t, at+".width") {
			k, err := strconv.Atoi(w)
			if err != nil {
				t.Fatal(err)
			}
			width = max(width, k)
		}
		if width > widest || method == "CLICommandConcurrent" && width < 2 {
			t.Errorf("%d of %s ran at once, at most %d may", width, method, widest)
		}
		if got := words(t, at+".order"); widest == 1 && !slices.Equal(got, order) {
			t.Errorf("%s ran in the order %v", method, got)
		}
	}
}

func words(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// A page that one node fetches for another goes back to it, or to a third.
func TestHTTPGetForOthers(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
		}
		_, _ = w.Write([]byte("pressure 7\ntemperature 80\n"))
	}))
	defer page.Close()
	url := broker(t)
	central, ship2 := onBroker(t, url, "central"), onBroker(t, url, "ship2")
	onBroker(t, url, "ship1")
	get := func(path string) *message.Message {
		return &message.Message{ToNode: "ship1", Kind: subject.EventACK, Method: "HTTPGet", Data: []string{page.URL + path}}
	}
	back := get("/")
	if r := do(t, central, back); r.Outcome != ack.Delivered {
		t.Errorf("%s %s", r.Outcome, r.Reason)
	}
	// The event is delivered when it is taken; what was fetched is an event of its own.
	r := answered(t, central, back)
	if r.Result == nil || r.Result.HTTP == nil || r.Result.HTTP.Status != http.StatusOK || string(r.Result.Stdout) != "pressure 7\ntemperature 80\n" {
		t.Errorf("what came back: %+v", r.Result)
	}
	third := get("/")
	third.ReplyTo, third.ReplyMethod, third.FileName = "ship2", "TextLogging", "page.log"
	do(t, central, third)
	answered(t, ship2, third)
	result := get("/gone")
	result.ReplyTo = "ship2"
	do(t, central, result)
	if r := answered(t, ship2, result); r.Result == nil || r.Result.Outcome != ack.Failed || r.Result.HTTP.Status != http.StatusGone {
		t.Errorf("what the third got: %+v", r.Result)
	}
	status, err := ship2.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := words(t, filepath.Join(status.Data, "logs", "ship1", "page.log")); !slices.Equal(got, []string{"pressure", "7", "temperature", "80"}) {
		t.Errorf("the log has %q", got)
	}
}

// answered waits until n has ended with the event that answers m.
func answered(t *testing.T, n *steward.Node, m *message.Message) (answer store.Record) {
	t.Helper()
	waitFor(t, "an answer at "+n.Name(), func() bool {
		list, err := n.Messages(t.Context(), store.Filter{Results: true})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(r store.Record) bool {
			return r.CausationID == m.ID.String() && r.State == store.Ended || r.ID == m.ID.String() && r.Result != nil
		})
		if i >= 0 {
			answer = list[i]
		}
		return i >= 0
	})
	return answer
}
