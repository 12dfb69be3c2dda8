package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// A journal that lost its newest head refuses to start, although bbolt would go on
// with the other one: a message that was accepted may be missing. Reverted, it says
// that it was set back.
func TestRevert(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	db, err := Open(path, Options{Node: "central", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	accept := func(to string) {
		m := &message.Message{ToNode: to, Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
		db.Fresh(m, time.Now())
		if err := db.Accept(t.Context(), []*message.Message{m}, false); err != nil {
			t.Fatal(err)
		}
	}
	accept("ship1")
	accept("ship2")
	killed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	id := db.ID()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, killed)
	if err := Revert(path); err == nil || !strings.Contains(err.Error(), "nothing to go back from") {
		t.Errorf("reverted without need: %v", err)
	}

	h, err := newestHead(bytes.NewReader(killed), int64(len(killed)))
	if err != nil {
		t.Fatal(err)
	}
	copy(layout{killed, h}.newest(), bytes.Repeat([]byte{0xff}, headLen))
	write(t, path, killed)
	if _, err := Open(path, Options{Node: "central", MinFree: 1}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "store revert") {
		t.Fatalf("opened: %v", err)
	}
	if err := Revert(path); err != nil {
		t.Fatal(err)
	}
	if problems, err := Check(path); err != nil || len(problems) > 0 {
		t.Errorf("check: %q, %v", problems, err)
	}
	if db, err = Open(path, Options{Node: "central", MinFree: 1}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if w := db.WaitingFor(); len(w) != 1 || w["steward.ship1.CommandACK.Echo"] != 1 || !db.Copied() || db.ID() == id {
		t.Errorf("%v wait; journal %s was %s, copied %t", w, db.ID(), id, db.Copied())
	}
	accept("ship3")
}

// What does not hold with the older head either is not reverted to.
func TestRevertToDamage(t *testing.T) {
	closed, _ := usedJournal(t)
	h, err := newestHead(bytes.NewReader(closed), int64(len(closed)))
	if err != nil {
		t.Fatal(err)
	}
	l := layout{closed, h}
	clear(l.newest())
	clear(l.page(l.rootOf(t, "messages")))
	path := filepath.Join(t.TempDir(), "journal.db")
	write(t, path, closed)
	if err := Revert(path); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("reverted: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, closed) {
		t.Errorf("it was written to: %v", err)
	}
}
