package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// TestDamageWhileOpen: pages that go bad under an open journal end it with an
// error that says so, and not the process.
func TestDamageWhileOpen(t *testing.T) {
	for name, fill := range map[string]byte{"zeros": 0, "ones": 0xff, "a pattern": 0x5a} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			db := openJournal(t, path, store.Options{})
			accepted(t, db, 500, 0)
			spoil(t, path, fill)
			s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
			if _, err := db.Next(s, message.Place{}, 10, 1<<20); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("reading gives %v, want %v", err, store.ErrCorrupt)
			}
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
			db.Fresh(m, time.Now())
			if err := db.Accept(t.Context(), []*message.Message{m}, false); !errors.Is(err, store.ErrBroken) && !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("writing gives %v, want %v", err, store.ErrBroken)
			}
			_ = db.Close() // what matters is that it returns
		})
	}
}

// spoil overwrites all pages but the two that say where the others are.
func spoil(t *testing.T, path string, fill byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const metas = 2 * 16 << 10
	b := make([]byte, fi.Size()-metas)
	for i := range b {
		b[i] = fill
	}
	if _, err := f.WriteAt(b, metas); err != nil {
		t.Fatal(err)
	}
}
