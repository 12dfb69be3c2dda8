package method_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// find is the line of the table that is called name.
func find(t *testing.T, h *method.Host, name string) process.Method {
	t.Helper()
	for _, m := range method.Table(h) {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no method %s in the table", name)
	return process.Method{}
}

// handle runs one message as a subscriber would.
func handle(t *testing.T, h *method.Host, name string, limit time.Duration, data ...string) message.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return find(t, h, name).Handler.Handle(ctx, &message.Message{FromNode: "central", Data: data, MethodTimeout: limit})
}

func TestTable(t *testing.T) {
	want := map[string][]subject.Kind{
		"CLICommand":           {subject.CommandACK, subject.CommandNACK},
		"CLICommandConcurrent": {subject.CommandACK, subject.CommandNACK},
		"TextLogging":          {subject.EventACK, subject.EventNACK},
		"SayHello":             {subject.EventNACK, subject.EventACK},
		"ErrorLog":             {subject.EventACK},
		"Ping":                 {subject.CommandACK},
		"Echo":                 {subject.CommandACK},
		"HTTPGet":              {subject.CommandACK, subject.EventACK},
	}
	for _, m := range method.Table(&method.Host{}) {
		if !slices.Equal(m.Kinds, want[m.Name]) {
			t.Errorf("%s takes %v, want %v", m.Name, m.Kinds, want[m.Name])
		}
		delete(want, m.Name)
		if (m.Handler == nil) == (m.Batch == nil) {
			t.Errorf("%s: want a Handler or a Batch", m.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("not in the table: %v", want)
	}
}

func TestChecksRefuseWhatCannotSucceed(t *testing.T) {
	hello := method.Hello{Version: "1", OS: "linux", Arch: "arm64"}.Data()
	for _, c := range []struct {
		method string
		m      message.Message
		want   string // part of the error; empty: accepted
	}{
		{"CLICommand", message.Message{Data: []string{"true"}}, ""},
		{"CLICommand", message.Message{}, "data is empty"},
		{"CLICommandConcurrent", message.Message{Data: []string{""}}, "data is empty"},
		{"TextLogging", message.Message{Data: []string{""}, Directory: "a/b", FileName: "c.log"}, ""},
		{"TextLogging", message.Message{Data: []string{"x"}, FileName: "app.2026"}, ""},
		{"TextLogging", message.Message{Data: []string{"x"}, FileName: "42"}, ""},
		{"TextLogging", message.Message{}, "data is empty"},
		{"TextLogging", message.Message{Data: []string{"x"}, FileName: "log.txt.1"}, "rotated"},
		{"TextLogging", message.Message{Data: []string{"x"}, Directory: "log.txt.2/a"}, "rotated"},
		{"TextLogging", message.Message{Data: []string{"x"}, FileName: "a.foreign-12"}, "rotated"},
		{"TextLogging", message.Message{Data: []string{"x"}, FileName: "a\nb"}, "control character"},
		{"TextLogging", message.Message{Data: []string{"x"}, FileName: strings.Repeat("n", 241)}, "at most 240"},
		{"TextLogging", message.Message{Data: []string{"x"}, Directory: strings.Repeat("d/", 600) + "d"}, "at most 1024"},
		{"SayHello", message.Message{Data: hello}, ""},
		{"SayHello", message.Message{Data: []string{"hi"}}, "JSON object"},
		{"ErrorLog", message.Message{Data: []string{"{}"}}, ""},
		{"ErrorLog", message.Message{}, "data is empty"},
		{"HTTPGet", message.Message{Data: []string{"http://127.0.0.1:8222/varz"}}, ""},
		{"HTTPGet", message.Message{Data: []string{"file:///etc/passwd"}}, "http://host"},
		{"HTTPGet", message.Message{Data: []string{"http:///x"}}, "http://host"},
		{"HTTPGet", message.Message{Data: []string{"http://h/%zz"}}, "invalid URL escape"},
		{"HTTPGet", message.Message{Data: []string{"http://h/", "x"}}, "one URL"},
		{"HTTPGet", message.Message{Data: []string{"http://h/" + strings.Repeat("x", 9000)}}, "at most 8192"},
	} {
		err := find(t, &method.Host{}, c.method).Check(&c.m)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %+.80v: got %v, want %q", c.method, c.m.Data, err, c.want)
		}
	}
}

func TestPing(t *testing.T) {
	r := handle(t, &method.Host{}, "Ping", time.Second)
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(r.Stdout.String(), "pong "))
	if r.Outcome != ack.Done || err != nil || time.Since(at) > time.Minute {
		t.Errorf("got %+v", r)
	}
}

func TestEcho(t *testing.T) {
	r := handle(t, &method.Host{}, "Echo", time.Second, "one", "", "three\n")
	if r.Outcome != ack.Done || r.Stdout.String() != "one\n\nthree\n" || r.StdoutBytes != 11 || r.Truncated {
		t.Errorf("got %+v", r)
	}
	long := strings.Repeat("\x01", 500<<10)
	r = handle(t, &method.Host{}, "Echo", time.Second, long)
	if !r.Truncated || r.StdoutBytes != 500<<10 || encodedSize(t, r) > 900<<10 || len(r.Stdout) < 100<<10 {
		t.Errorf("kept %d of %d, truncated %t, %d bytes encoded", len(r.Stdout), r.StdoutBytes, r.Truncated, encodedSize(t, r))
	}
}

func BenchmarkEcho(b *testing.B) {
	var echo process.Method
	for _, m := range method.Table(&method.Host{}) {
		if m.Name == "Echo" {
			echo = m
		}
	}
	m := &message.Message{Data: []string{strings.Repeat("x", 512)}}
	for b.Loop() {
		echo.Handler.Handle(b.Context(), m)
	}
}

func TestErrorLog(t *testing.T) {
	var got *message.Message
	fail := error(nil)
	h := &method.Host{Failed: func(_ context.Context, m *message.Message) error { got = m; return fail }}
	if r := handle(t, h, "ErrorLog", time.Second, `{"cause":"x"}`); r.Outcome != ack.Done || got == nil || got.Data[0] != `{"cause":"x"}` {
		t.Errorf("got %+v, host got %+v", r, got)
	}
	fail = os.ErrPermission
	if r := handle(t, h, "ErrorLog", time.Second, `{}`); r.Outcome != ack.Failed || !strings.Contains(r.Error, "permission") {
		t.Errorf("got %+v", r)
	}
}

// TestExamples holds the example of every method and kind to the table.
func TestExamples(t *testing.T) {
	left := map[string]bool{}
	table := map[string]process.Method{}
	for _, m := range method.Table(&method.Host{}) {
		table[m.Name] = m
		for _, k := range m.Kinds {
			left[m.Name+" "+string(k)] = true
		}
	}
	files, err := filepath.Glob("../../examples/messages/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range message.ParseComplete(b, time.Now()) {
			if e.Err != nil {
				t.Errorf("%s: %v", file, e.Err)
				continue
			}
			m := e.Message
			line := table[m.Method]
			name := "to" + strings.ToUpper(m.ToNode[:1]) + m.ToNode[1:] + "-" + m.Method
			if base := strings.TrimSuffix(filepath.Base(file), ".json"); base != name && base != name+"-"+string(m.Kind) {
				t.Errorf("%s holds a message for %s-%s", file, name, m.Kind)
			}
			if !line.Takes(m.Kind) {
				t.Errorf("%s: %s does not take %s", file, m.Method, m.Kind)
			} else if line.Check != nil && line.Check(m) != nil {
				t.Errorf("%s: %v", file, line.Check(m))
			}
			delete(left, m.Method+" "+string(m.Kind))
		}
	}
	for l := range left {
		t.Errorf("no example for %s", l)
	}
}
