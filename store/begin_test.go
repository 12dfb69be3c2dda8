package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/steward-bus/steward/store"
)

// A journal begins where there never was one, and nowhere else by itself.
func TestLostJournalIsNotBegunAnew(t *testing.T) {
	traces := []string{"messages.log", "runs"}
	for name, x := range map[string]struct {
		before func(dir string) error
		gone   string // what the refusal names
	}{
		"an empty folder": {func(string) error { return nil }, ""},
		"submissions":     {func(dir string) error { return os.WriteFile(filepath.Join(dir, "inmsg.txt"), []byte("[]"), 0o600) }, ""},
		"an empty trace":  {func(dir string) error { return os.Mkdir(filepath.Join(dir, "runs"), 0o700) }, ""},
		"a crash in the first creation": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "journal.db.new"), []byte("half"), 0o600)
		}, ""},
		"a note of its opening": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "journal.db.opening"), nil, 0o600) }, "journal.db.opening"},
		"a file":                {func(dir string) error { return os.WriteFile(filepath.Join(dir, "messages.log"), []byte("{}"), 0o600) }, "messages.log"},
		"a folder with a run":   {func(dir string) error { return os.MkdirAll(filepath.Join(dir, "runs", "1"), 0o700) }, "runs"},
		"a link to nothing":     {func(dir string) error { return os.Symlink("/nowhere/journal.db", filepath.Join(dir, "journal.db")) }, "/nowhere/journal.db"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "journal.db")
			if err := x.before(dir); err != nil {
				t.Fatal(err)
			}
			db, err := store.Open(path, store.Options{Node: "central", MinFree: 1, Traces: traces})
			if x.gone == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, store.ErrGone) || !strings.Contains(err.Error(), x.gone) {
				t.Fatalf("opened: %v", err)
			}
			if strings.HasPrefix(x.gone, "/") {
				if err := store.Init(path); !errors.Is(err, store.ErrGone) {
					t.Errorf("begun in place of a link: %v", err)
				}
				return
			}
			if err := store.Init(path); err != nil {
				t.Fatal(err)
			}
			if sum, err := store.Stats(path); err != nil || sum.Messages != 0 || sum.ID != "" {
				t.Errorf("stats of it: %+v, %v", sum, err)
			}
			if db, err = store.Open(path, store.Options{Node: "central", MinFree: 1, Traces: traces}); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil || db.Copied() {
				t.Errorf("begun knowingly: copied %t, %v", db.Copied(), err)
			}
			if err := store.Init(path); err == nil {
				t.Error("init replaced a journal")
			}
		})
	}
}
