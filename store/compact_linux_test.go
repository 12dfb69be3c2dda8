package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/steward-bus/steward/store"
)

// Where there is no room for a second journal, compact leaves the first as it is.
func TestCompactOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("no small disk: mount tmpfs: %v (needs root)", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "journal.db")
	db := openJournal(t, path, store.Options{})
	accepted(t, db, 2500, 0)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Compact(path); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("there is no room, and compact says %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the journal is another one: %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("%v is left, %v", list, err)
	}
	db = openJournal(t, path, store.Options{})
	if n := db.Counts().Waiting; n != 2500 || db.Copied() {
		t.Errorf("%d messages wait; copied %t", n, db.Copied())
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
