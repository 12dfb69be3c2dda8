package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

func TestAcceptedSurvivesReopeningAndOthersAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	opts := store.Options{Node: "central", MinFree: 1}
	var last message.Place
	for n := 1; n <= 3; n++ {
		db, err := store.Open(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "CliCommand", Data: []string{"date"}}
		if err := db.Accept(context.Background(), []*message.Message{m}, false); err != nil {
			t.Fatal(err)
		}
		if m.Place.Compare(last) <= 0 || db.Counts().Waiting != n {
			t.Fatalf("place %v after %v, counts %+v", m.Place, last, db.Counts())
		}
		last = m.Place
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Open(path, store.Options{Node: "ship1", MinFree: 1}); !errors.Is(err, store.ErrForeign) {
		t.Errorf("another node's journal: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 100, 4096, 8192, len(whole) / 2} {
		cut := filepath.Join(t.TempDir(), "cut.db")
		if err := os.WriteFile(cut, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if db, err := store.Open(cut, opts); err == nil {
			t.Errorf("cut to %d bytes: opened with %+v", n, db.Counts())
			_ = db.Close()
		}
	}
}
