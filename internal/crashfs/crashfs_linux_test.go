package crashfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func mounted(t *testing.T, mode Mode) (*Disk, string) {
	t.Helper()
	d, dir := New(mode), t.TempDir()
	unmount, err := d.Mount(dir)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, dir
}

// put writes a file, and syncs it and its folder if it is to.
func put(t *testing.T, path string, text []byte, sync, syncDir bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if syncDir {
		d, err := os.Open(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *Disk) cut() {
	d.Freeze()
	d.Off(rand.New(rand.NewPCG(1, 1)))
	d.On()
}

func TestPowerLoss(t *testing.T) {
	for _, mode := range []Mode{Lost, Torn, Strict} {
		t.Run(string(mode), func(t *testing.T) {
			d, dir := mounted(t, mode)
			path := filepath.Join(dir, "file")
			put(t, path, []byte("old"), true, true)
			put(t, path, []byte("new"), false, false)
			if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
				t.Fatalf("before: %q, %v", b, err)
			}
			before := inode(t, path)
			d.cut()
			want := map[Mode]string{Lost: "old", Strict: "old"}[mode]
			if b, err := os.ReadFile(path); err != nil || string(b) != want && mode != Torn {
				t.Errorf("after: %q, %v", b, err)
			}
			if inode(t, path) != before {
				t.Error("it has another inode")
			}
		})
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Ino
}

func TestNames(t *testing.T) {
	for mode, kept := range map[Mode]bool{Lost: true, Strict: false} {
		d, dir := mounted(t, mode)
		put(t, filepath.Join(dir, "synced"), []byte("x"), true, false)
		put(t, filepath.Join(dir, "both"), []byte("x"), true, true)
		put(t, filepath.Join(dir, "late"), []byte("x"), true, false)
		put(t, filepath.Join(dir, "never"), []byte("x"), false, false)
		if err := os.Rename(filepath.Join(dir, "both"), filepath.Join(dir, "renamed")); err != nil {
			t.Fatal(err)
		}
		d.cut()
		for name, want := range map[string]bool{"synced": true, "late": kept, "never": false, "both": true, "renamed": false} {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
				t.Errorf("%s: %s: %v", mode, name, err)
			}
		}
	}
}

func TestTornPages(t *testing.T) {
	d, dir := mounted(t, Torn)
	path := filepath.Join(dir, "file")
	put(t, path, make([]byte, 64*page), true, true)
	put(t, path, bytes.Repeat([]byte{1}, 64*page), false, false)
	d.cut()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	there := 0
	for i := 0; i < len(b); i += page {
		if n := bytes.Count(b[i:i+page], []byte{1}); n == page {
			there++
		} else if n != 0 {
			t.Fatalf("page %d is torn within", i/page)
		}
	}
	if there < 16 || there > 48 {
		t.Errorf("%d of 64 pages are there", there)
	}
}

func TestFaults(t *testing.T) {
	d, dir := mounted(t, Lost)
	path := filepath.Join(dir, "file")
	put(t, path, []byte("old"), true, true)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d.Break(Fault{Sync: syscall.EIO})
	_, err = f.WriteAt([]byte("new"), 0)
	if serr := f.Sync(); err != nil || !errors.Is(serr, syscall.EIO) {
		t.Errorf("write %v, sync %v", err, serr)
	}
	d.Break(Fault{Write: syscall.ENOSPC, Full: true})
	if _, err := f.WriteAt([]byte("more"), 3); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	d.Break(Fault{Write: syscall.EROFS, Names: syscall.EROFS})
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o700); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
	d.Break(Fault{})
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	f.Close()
	d.cut()
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("%q: what a failed fsync was to bring is lost for good", b)
	}
}
