package steward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// fleet runs central, with an embedded broker on loopback, and ship1, until the
// test ends.
func fleet(t *testing.T) (central *api.Client, dir string) {
	t.Helper()
	dir = t.TempDir()
	addr := stewardtest.FreePort(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for _, cfg := range []steward.Config{
		{Name: "central", Listen: addr, Central: "central"},
		{Name: "ship1", Brokers: []string{"nats://" + addr}, Central: "central"},
	} {
		cfg.Dir, cfg.Log = filepath.Join(dir, cfg.Name), log
		n, err := steward.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- n.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	for {
		c, err := api.Dial(filepath.Join(dir, "central"))
		if err == nil {
			if _, err := c.Status(ctx); err == nil {
				t.Cleanup(c.Close)
				return c, dir
			}
			c.Close()
		}
		select {
		case err := <-done:
			t.Fatalf("a node ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestExamples drops every example into inmsg.txt, as an operator does, and waits
// for the outcome that its method and kind promise.
func TestExamples(t *testing.T) {
	central, dir := fleet(t)
	page := http.Server{Addr: "127.0.0.1:8222", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}), ReadHeaderTimeout: time.Second}
	go func() { _ = page.ListenAndServe() }() // the address in the examples; if it is taken, its owner answers
	defer page.Close()
	files, err := filepath.Glob("examples/messages/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	inmsg, err := os.OpenFile(filepath.Join(dir, "central", "inmsg.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := inmsg.Write(append(b, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := inmsg.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var list []store.Record
	waitFor(t, "all examples to be accepted", func() bool {
		if why := refused(dir); len(why) > 0 {
			t.Fatalf("refused: %v", why)
		}
		if list, err = central.Messages(ctx, store.Filter{FromNode: "central"}); err != nil {
			t.Fatal(err)
		}
		return len(list) == len(files)
	})
	for _, m := range list {
		r, err := central.Wait(ctx, m.ID)
		if err != nil {
			t.Fatalf("%s to %s: %v", m.Method, m.ToNode, err)
		}
		if want := wanted(r); r.Outcome != want {
			t.Errorf("%s %s to %s: %s (%s), want %s", r.Kind, r.Method, r.ToNode, r.Outcome, r.Reason, want)
		}
		checkResultFile(t, filepath.Join(dir, "central", "results", r.ID+".json"), r)
	}
}

func wanted(r store.Record) ack.Outcome {
	switch r.Kind {
	case subject.CommandACK:
		return ack.Done
	case subject.EventACK:
		return ack.Delivered
	}
	return ack.Sent
}

func refused(dir string) (reasons []string) {
	files, _ := filepath.Glob(filepath.Join(dir, "central", "rejected", "*.reason"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		reasons = append(reasons, string(b))
	}
	return reasons
}

// checkResultFile waits until the file tells the outcome.
func checkResultFile(t *testing.T, path string, want store.Record) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%q in %s", want.Outcome, path), func() bool {
		var got store.Record
		b, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(b, &got) == nil && got.Outcome == want.Outcome
	})
}
