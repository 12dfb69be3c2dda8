package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

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
		db.Fresh(m, time.Now())
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

// A backup that is written over the journal has its file, and is told by the note
// of its last opening. A crash in the middle of an opening does not look like one.
func TestBackupInTheSameFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	note := path + ".opening"
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var id uuid.UUID
	reopen := func(what string, copied bool) (journal, said []byte) {
		t.Helper()
		db := openJournal(t, path, store.Options{})
		if same := db.ID() == id; id != uuid.Nil && same == copied || db.Copied() != copied {
			t.Errorf("%s: journal %s was %s; copied %t", what, db.ID(), id, db.Copied())
		}
		id = db.ID()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return read(path), read(note)
	}
	backup, _ := reopen("new", false)
	reopen("again", false)
	write(path, backup)
	reopen("a backup", true)
	before, said := reopen("the same again", false)
	after, says := reopen("and again", false)

	between := slices.Concat(bytes.SplitAfter(says, []byte("\n"))[0], bytes.SplitAfter(said, []byte("\n"))[0])
	for what, journal := range map[string][]byte{"a crash before the commit": before, "a crash after the commit": after} {
		write(path, journal)
		write(note, between)
		reopen(what, false)
	}
	write(path, before)
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	reopen("a snapshot of the machine", false)
}
