package steward_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// A node whose journal meets a failing fsync acknowledges nothing more, and ends
// with an error that names the file; started again, it goes on with what it had
// accepted, and only that.
func TestFailedSyncEndsTheNode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	db, err := store.Open(path, store.Options{Node: "central", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	stewardtest.Ballast(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := func() (*steward.Node, chan error) {
		n, err := steward.New(steward.Config{Name: "central", Dir: dir, Listen: "127.0.0.1:0", Headless: true})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		return n, done
	}
	echo := func(text string) *message.Message {
		return &message.Message{ToNode: "central", Kind: subject.CommandACK, Method: "Echo", Data: []string{text}}
	}
	n, done := start()
	if r, err := n.Do(ctx, echo("before")); err != nil || r.Outcome != ack.Done {
		t.Fatalf("%s, %v", r.Outcome, err)
	}
	waiting := echo("accepted")
	waiting.ToNode = "ship1"
	if err := n.Submit(ctx, waiting); err != nil {
		t.Fatal(err)
	}

	heal := stewardtest.BreakDisk(t, path, stewardtest.NoSync)
	refused := echo("refused")
	if err := n.Submit(ctx, refused); !errors.Is(err, store.ErrBroken) {
		t.Errorf("submitted while fsync fails: %v", err)
	}
	if err := <-done; !errors.Is(err, store.ErrBroken) || !errors.Is(err, errorkernel.ErrFatal) || !strings.Contains(err.Error(), path) {
		t.Errorf("the node ended with %v", err)
	}
	heal()

	n, done = start()
	if r, err := n.Do(ctx, echo("after")); err != nil || r.Outcome != ack.Done {
		t.Fatalf("%s, %v", r.Outcome, err)
	}
	if r, err := n.Message(ctx, waiting.ID.String()); err != nil || r.State != store.Waiting {
		t.Errorf("what was accepted before is %s, %v", r.State, err)
	}
	if r, err := n.Message(ctx, refused.ID.String()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was refused is %s, %v", r.State, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
