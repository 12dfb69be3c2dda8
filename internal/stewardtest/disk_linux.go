package stewardtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/steward-bus/steward/store"
)

// Devices of BreakDisk.
const (
	NoSync = "/dev/null" // takes every write, and fdatasync is EINVAL
	NoRoom = "/dev/full" // every write is ENOSPC
)

// BreakDisk lets device answer what this process writes to the journal at path,
// until heal is called, once. The journal's descriptor becomes the device's; what
// it reads comes through its map, as before. Ballast must have made room in it:
// to grow, the journal asks how long the file behind the descriptor is.
func BreakDisk(t testing.TB, path, device string) (heal func()) {
	t.Helper()
	fd := descriptor(t, path)
	saved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Dup3(other, fd, unix.O_CLOEXEC), unix.Close(other)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if name, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); err == nil && name == device { // else it was closed
			if err := unix.Dup3(saved, fd, unix.O_CLOEXEC); err != nil {
				t.Error(err)
			}
		}
		if err := unix.Close(saved); err != nil {
			t.Error(err)
		}
	}
}

// descriptor is the one through which the journal at path is written and synced:
// of those that this process has of it, the one that can also be read.
func descriptor(t testing.TB, path string) int {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		name, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || name != path {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && flags&unix.O_ACCMODE == unix.O_RDWR {
			return fd
		}
	}
	t.Fatalf("this process does not write to %s", path)
	return 0
}

// Ballast gives an open journal a megabyte of free pages.
func Ballast(t testing.TB, db *store.DB) {
	t.Helper()
	for _, v := range [][]byte{make([]byte, 1<<20), nil} {
		if err := db.Accept(t.Context(), nil, false, store.Note{Key: "ballast", Value: v}); err != nil {
			t.Fatal(err)
		}
	}
}
