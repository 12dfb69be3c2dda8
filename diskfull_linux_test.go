package steward_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

// smallDisk is a folder on a disk of its own of 16 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no small disk: mount tmpfs: %v (needs root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all the room there is, and returns what holds it.
func fillDisk(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, chunk := range [][]byte{make([]byte, 1<<20), make([]byte, 4096)} {
		for err == nil {
			_, err = f.Write(chunk)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	return f.Name()
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get asks a node's port for what watches it.
func get(t *testing.T, address, path string) (code int, text string) {
	t.Helper()
	r, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// On a full disk submissions are refused clearly and files wait; what was
// accepted is not lost; and all goes on when there is room again.
func TestDiskFull(t *testing.T) {
	dir, drop := smallDisk(t), t.TempDir()
	inmsg := filepath.Join(drop, "inmsg.txt")
	metrics := freeAddress(t)
	n, err := steward.New(steward.Config{Name: "central", Dir: dir, InMsg: inmsg, Listen: "127.0.0.1:0", Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	echo := func(text string) *message.Message {
		return &message.Message{ToNode: "central", Kind: subject.CommandACK, Method: "Echo", Data: []string{text}}
	}
	if r, err := n.Do(ctx, echo("before")); err != nil || r.Outcome != ack.Done {
		t.Fatalf("%s, %v", r.Outcome, err)
	}
	waiting := echo("accepted")
	waiting.ToNode = "ship1"
	if err := n.Submit(ctx, waiting); err != nil {
		t.Fatal(err)
	}

	filler := fillDisk(t, dir)
	for err = nil; err == nil && ctx.Err() == nil; { // the disk is looked at a few times a second
		err = n.Submit(ctx, echo("refused"))
	}
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("submitted on a full disk: %v", err)
	}
	if code, text := get(t, metrics, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, dir) {
		t.Errorf("/readyz on a full disk: %d %s", code, text)
	}
	if _, text := get(t, metrics, "/metrics"); !strings.Contains(text, "\nsteward_disk_full 1\n") {
		t.Error("the metrics do not tell that the disk is full")
	}
	document := `[{"toNode": "central", "data": ["from the file"], "commandOrEvent": "CommandACK", "method": "Echo"}]`
	if err := os.WriteFile(inmsg, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for err = store.ErrFull; errors.Is(err, store.ErrFull); {
		_, err = n.Do(ctx, echo("after"))
	}
	if err != nil {
		t.Fatalf("after there was room again: %v", err)
	}
	waitFor(t, "/readyz", func() bool {
		code, _ := get(t, metrics, "/readyz")
		return code == http.StatusOK
	})
	if _, text := get(t, metrics, "/metrics"); !strings.Contains(text, "\nsteward_disk_full 0\n") {
		t.Error("the metrics tell that the disk is full")
	}
	waitFor(t, "the document of the file", func() bool {
		list, err := n.Messages(ctx, store.Filter{Method: "Echo", Outcome: ack.Done})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.Data[0] == "from the file" {
				return true
			}
		}
		return false
	})
	if r, err := n.Message(ctx, waiting.ID.String()); err != nil || r.State != store.Waiting {
		t.Errorf("what was accepted before is %s, %v", r.State, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
