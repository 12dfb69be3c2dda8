package steward_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
)

// runAlone runs a node with a broker of its own until stop is called.
func runAlone(t *testing.T, dir string) (n *steward.Node, stop func()) {
	t.Helper()
	n, err := steward.New(steward.Config{Name: "central", Dir: dir, Listen: stewardtest.FreePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// After a crash between the commit and the file, the receipt and the outcome are
// written by the next life.
func TestResultsAfterACrash(t *testing.T) {
	dir := t.TempDir()
	text := ""
	for i := range 3 {
		text += fmt.Sprintf(`{"toNode":"central","data":["%d"],"commandOrEvent":"CommandACK","method":"Echo"}`+"\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "inmsg.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n, stop := runAlone(t, dir)
	var list []store.Record
	waitFor(t, "the outcomes", func() bool {
		var err error
		if list, err = n.Messages(t.Context(), store.Filter{Outcome: ack.Done}); err != nil {
			t.Fatal(err)
		}
		return len(list) == 3
	})
	path := func(i int) string { return filepath.Join(dir, "results", list[i].ID+".json") }
	for i, r := range list {
		checkResultFile(t, path(i), r)
	}
	stop()
	long := time.Unix(0, 0)
	for _, f := range []func() error{
		func() error { return os.Remove(path(0)) },
		func() error { return os.WriteFile(path(1), []byte(`{"state":"waiting"}`), 0o600) },
		func() error { return os.Chtimes(path(1), long, long) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	_, stop = runAlone(t, dir)
	defer stop()
	for i, r := range list {
		checkResultFile(t, path(i), r)
	}
}

// A file of more messages than results are kept of leaves no more files than that
// for long, and those of the newest messages.
func TestResultsOfManyMessages(t *testing.T) {
	const many, kept = 45_000, 10_000
	dir := t.TempDir()
	var text strings.Builder
	for i := range many {
		fmt.Fprintf(&text, `{"toNode":"nobody","data":["%d"],"commandOrEvent":"EventACK","method":"Note"}`+"\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "inmsg.txt"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	n, stop := runAlone(t, dir)
	defer stop()
	newest := ""
	waitFor(t, "the last receipt", func() bool {
		list, err := n.Messages(t.Context(), store.Filter{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 || list[0].Data[0] != fmt.Sprint(many-1) {
			return false
		}
		newest = list[0].ID + ".json"
		_, err = os.Stat(filepath.Join(dir, "results", newest))
		return err == nil
	})
	waitFor(t, "the others to be deleted", func() bool {
		entries, err := os.ReadDir(filepath.Join(dir, "results"))
		return err == nil && len(entries) <= 2*kept && len(entries) >= kept && entries[len(entries)-1].Name() == newest
	})
}
