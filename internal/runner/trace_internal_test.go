//go:build linux

package runner

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
)

// After a new start of the machine only an end counts: what a name says may have
// been lost, and a pid be another's.
func TestNewBoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	r, err := Open(dir, "/proc/self/exe", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	prepared, begun, done := uuid.New(), uuid.New(), uuid.New()
	for _, id := range []uuid.UUID{prepared, begun, done} {
		if err := r.Prepare(id, Spec{Argv: []string{"true"}, Limit: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Attach(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	r.Close()
	self := identity("self")
	if err := os.Rename(r.path(begun, readyEnd), r.path(begun, taken+self)); err != nil {
		t.Fatal(err)
	}
	if r, err = Open(dir, "/no/such", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Attach(ctx, begun); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while its runner lives: %v", err)
	}
	r.place = "another boot"
	for name, id := range map[string]uuid.UUID{"prepared": prepared, "begun": begun} {
		if end, err := r.Attach(t.Context(), id); !errors.Is(err, ErrLost) {
			t.Errorf("%s: %+v, %v", name, end, err)
		}
	}
	if end, err := r.Attach(t.Context(), done); err != nil || end.Ending != Exited {
		t.Errorf("done: %+v, %v", end, err)
	}
}

// A copy of the folder is another place, in which nothing goes on.
func TestCopyOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(filepath.Join(dir, "runs"), "/no/such", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	if err := r.Prepare(id, Spec{Argv: []string{"true"}, Limit: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(string(r.folder))); err != nil {
		t.Fatal(err)
	}
	c, err := Open(filepath.Join(dir, "copy"), "/no/such", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if end, err := c.Attach(t.Context(), id); !errors.Is(err, ErrLost) {
		t.Errorf("%+v, %v", end, err)
	}
}

// memory is a file that is written over, and never cut.
type memory []byte

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if end := int(at) + len(p); end > len(*m) {
		*m = append(*m, make([]byte, end-len(*m))...)
	}
	return copy((*m)[at:], p), nil
}

// A damaged line ends the trace, and lines of an earlier run never belong to it,
// not even if that was of the same message.
func TestTraceTrustsItsOwnLinesOnly(t *testing.T) {
	id := uuid.New()
	var file memory
	lines := func(n int) {
		t.Helper()
		tr := newTrace(id)
		for _, v := range []any{newHead("here", Spec{Argv: []string{"true"}, Env: []string{"A=\xff", "B="}}), child{Pid: 7}, Result{Ending: Exited, Code: 3}}[:n] {
			if err := tr.append(&file, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines(3)
	whole := bytes.Clone(file)
	tr, err := parse(id, whole)
	if err != nil || tr.end == nil || tr.end.Code != 3 || tr.child.Pid != 7 || tr.length != int64(len(whole)) {
		t.Fatalf("%+v, %v", tr, err)
	}
	if env := tr.head.spec().Env; len(env) != 2 || env[0] != "A=\xff" || env[1] != "B=" {
		t.Errorf("environment %q", env)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 4
		if tr, err := parse(id, b); err == nil && tr.end != nil {
			t.Fatalf("byte %d is another, and its end is %+v", i, tr.end)
		}
		if tr, err := parse(id, whole[:i]); err == nil && tr.end != nil {
			t.Fatalf("it has %d bytes, and its end is %+v", i, tr.end)
		}
	}
	for n := range 2 {
		lines(n + 1)
		if tr, err := parse(id, file); err != nil || tr.end != nil || (tr.child != nil) != (n == 1) {
			t.Errorf("with %d lines of its own: %+v, %v", n+1, tr, err)
		}
	}
	if tr, err := parse(uuid.New(), whole); err == nil {
		t.Errorf("another's: %+v", tr)
	}
}

func TestCgroupFolder(t *testing.T) {
	const v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	for _, c := range []struct{ own, mounts, want string }{
		{"0::/system.slice/steward.service\n", v2, "/sys/fs/cgroup/system.slice/steward.service"},
		{"0::/\n", v2, "/sys/fs/cgroup"},
		{"5:cpu:/a\n0::/b\n", "29 23 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n", "/sys/fs/cgroup/unified/b"},
		{"0::/docker/x/y\n", "30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "/sys/fs/cgroup/y"},
		{"0::/../other\n", v2, ""},
		{"0::/b\n", "30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup ro\n", ""},
		{"5:cpu:/a\n", v2, ""},
		{"0::/a\n", "", ""},
	} {
		if got, err := cgroupFolder(c.own, c.mounts); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v, want %q", c.own, got, err, c.want)
		}
	}
}
