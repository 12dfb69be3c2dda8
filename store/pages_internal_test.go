package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layout is where things are in the file of a journal.
type layout struct {
	b    []byte
	head head
}

func (l layout) page(id uint64) []byte { return l.b[id*uint64(l.head.size):][:l.head.size] }

// header is where the header of the named bucket lies in the bucket of buckets.
func (l layout) header(t *testing.T, name string) []byte {
	t.Helper()
	list, err := decodePage(l.page(l.head.root)).entries(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(e entry) bool { return string(e.key) == name })
	return list[i].value
}

// rootOf is the page of the named bucket.
func (l layout) rootOf(t *testing.T, name string) uint64 {
	t.Helper()
	return binary.NativeEndian.Uint64(l.header(t, name))
}

// newest and older are the heads, from their magic number on.
func (l layout) newest() []byte { return l.page(l.head.commit % 2)[headAt:][:headLen] }
func (l layout) older() []byte  { return l.page(1 - l.head.commit%2)[headAt:][:headLen] }

// TestDamagedPages: whatever is wrong with the pages of a journal, it is refused,
// by opening and by check, before bbolt gets to see it.
func TestDamagedPages(t *testing.T) {
	closed, _ := usedJournal(t)
	put64, put32, put16 := binary.NativeEndian.PutUint64, binary.NativeEndian.PutUint32, binary.NativeEndian.PutUint16
	for name, x := range map[string]struct {
		damage func(t *testing.T, l layout)
		want   string
	}{
		"a bucket begins at the bucket of buckets": {func(t *testing.T, l layout) { put64(l.header(t, "messages"), l.head.root) }, "belongs to two things"},
		"two buckets share a page":                 {func(t *testing.T, l layout) { put64(l.header(t, "messages"), l.rootOf(t, "states")) }, "belongs to two things"},
		"a bucket begins beyond the file":          {func(t *testing.T, l layout) { put64(l.header(t, "messages"), 1<<40) }, "is not within the file"},
		"a bucket begins at a head":                {func(t *testing.T, l layout) { put64(l.header(t, "messages"), 1) }, "is not within the file"},
		"a bucket begins at the free list":         {func(t *testing.T, l layout) { put64(l.header(t, "messages"), l.head.free) }, "neither a branch nor a leaf"},
		"a bucket begins nowhere":                  {func(t *testing.T, l layout) { put64(l.header(t, "messages"), 0) }, "a page of its own"},
		"a branch leads back to itself": {func(t *testing.T, l layout) {
			root := l.rootOf(t, "messages")
			put64(l.page(root)[pageHeader+8:], root)
		}, "belongs to two things"},
		"a branch leads twice to one page": {func(t *testing.T, l layout) {
			b := l.page(l.rootOf(t, "messages"))[pageHeader:]
			copy(b[8:16], b[pageEntry+8:])
		}, "out of order"},
		"a branch is called a leaf":   {func(t *testing.T, l layout) { put16(l.page(l.rootOf(t, "messages"))[8:], pageLeaf) }, "page"},
		"a page is of no kind":        {func(t *testing.T, l layout) { put16(l.page(l.rootOf(t, "messages"))[8:], 0) }, "neither a branch nor a leaf"},
		"a page is empty":             {func(t *testing.T, l layout) { put16(l.page(l.rootOf(t, "states"))[10:], 0) }, "is empty, and is not"},
		"a page has too many entries": {func(t *testing.T, l layout) { put16(l.page(l.rootOf(t, "states"))[10:], 0xffff) }, "cannot hold"},
		"a page lacks an entry": {func(t *testing.T, l layout) {
			b := l.page(l.rootOf(t, "states"))
			put16(b[10:], binary.NativeEndian.Uint16(b[10:])-1)
		}, "does not lie where it has to"},
		"a page flows out of the file": {func(t *testing.T, l layout) { put32(l.page(l.rootOf(t, "states"))[12:], 1<<31) }, "is not within the file"},
		"a page flows into others":     {func(t *testing.T, l layout) { put32(l.page(l.rootOf(t, "states"))[12:], 1) }, "page"},
		"a page has another number":    {func(t *testing.T, l layout) { put64(l.page(l.rootOf(t, "states")), 99) }, "says that it is page 99"},
		"the free list names a page in use": {func(t *testing.T, l layout) {
			put64(l.page(l.head.free)[pageHeader:], l.rootOf(t, "states"))
		}, "list of free pages"},
		"the free list lacks a page": {func(t *testing.T, l layout) {
			b := l.page(l.head.free)
			put16(b[10:], binary.NativeEndian.Uint16(b[10:])-1)
		}, "neither free nor in use"},
		"the free list has no end": {func(t *testing.T, l layout) {
			b := l.page(l.head.free)
			put16(b[10:], 0xffff)
			put64(b[pageHeader:], 1<<60)
		}, "no room"},
		"an unknown bucket": {func(t *testing.T, l layout) {
			before, _, _ := bytes.Cut(l.page(l.head.root), []byte("plain"))
			copy(l.page(l.head.root)[len(before):], "plaim")
		}, `no bucket "plain"`},
		"both heads":      {func(t *testing.T, l layout) { l.newest()[20]++; l.older()[20]++ }, "neither of its two heads"},
		"the newest head": {func(t *testing.T, l layout) { l.newest()[20]++ }, "the last commit is missing"},
		"the older head, beyond what can be told": {func(t *testing.T, l layout) { clear(l.older()) }, "the last commit is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(closed)
			h, err := newestHead(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			x.damage(t, layout{b, h})
			path := filepath.Join(t.TempDir(), "journal.db")
			write(t, path, b)
			if _, err := Open(path, Options{Node: "central"}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), "restore it from a backup") {
				t.Errorf("opening it gives %v; want %q", err, x.want)
			}
			problems, err := Check(path)
			if err != nil || !strings.Contains(strings.Join(problems, "\n"), x.want) {
				t.Errorf("check finds %q, %v; want %q", problems, err, x.want)
			}
		})
	}
}

// A bit that flipped in the older head is no matter: the newer one counts.
func TestOlderHeadIsNotNeeded(t *testing.T) {
	closed, _ := usedJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	for bit := range headLen * 8 {
		b := bytes.Clone(closed)
		h, err := newestHead(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		layout{b, h}.older()[bit/8] ^= 1 << (bit % 8)
		if got, err := newestHead(bytes.NewReader(b), int64(len(b))); err != nil || got != h {
			t.Errorf("with bit %d turned: %+v, %v; want %+v", bit, got, err, h)
		}
		if bit%100 == 0 {
			write(t, path, b)
			useOn(t, path)
		}
	}
}

// Who waits for the lock of a file that is replaced meanwhile does not get the old
// one.
func TestLockOfAReplacedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	write(t, path, []byte("old"))
	f, err := locked(path, false)
	if err != nil || !stillAt(path, f) {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	write(t, path+".compact", []byte("new"))
	if err := os.Rename(path+".compact", path); err != nil {
		t.Fatal(err)
	}
	if stillAt(path, f) {
		t.Error("the old file counts as the journal")
	}
}

// FuzzPages writes anything anywhere into a journal.
func FuzzPages(f *testing.F) {
	closed, _ := usedJournal(f)
	f.Add(uint32(16), []byte{1})
	f.Add(uint32(16<<10*4), []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(closed)
		copy(b[int(at)%len(b):], patch)
		if problems, err := verify(bytes.NewReader(b), int64(len(b))); err != nil || len(problems) > 0 {
			return
		}
		path := filepath.Join(t.TempDir(), "journal.db")
		write(t, path, b)
		_, _ = everything(path) // it does not panic
	})
}
