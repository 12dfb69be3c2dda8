package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// pages are those of a file that a head speaks of, each of which belongs to one
// thing only.
type pages struct {
	file   io.ReaderAt
	head   head
	owned  []uint64 // a bit for each
	buffer []byte
}

func newPages(f io.ReaderAt, size int64, h head) (*pages, error) {
	if h.pages > uint64(size/h.size) {
		return nil, fmt.Errorf("%w: it has %d bytes where its head speaks of %d pages of %d", ErrCorrupt, size, h.pages, h.size)
	}
	return &pages{file: f, head: h, owned: make([]uint64, h.pages/64+1), buffer: make([]byte, h.size)}, nil
}

// own takes page id, and the n pages after it, for one thing.
func (p *pages) own(id uint64, n uint32) error {
	if id < 2 || id >= p.head.pages || uint64(n) >= p.head.pages-id {
		return fmt.Errorf("page %d, with %d more, is not within the file", id, n)
	}
	for i := id; i <= id+uint64(n); i++ {
		if p.owned[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("page %d belongs to two things", i)
		}
		p.owned[i/64] |= 1 << (i % 64)
	}
	return nil
}

// lost is a page that belongs to nothing, if there is one.
func (p *pages) lost() (id uint64, found bool) {
	for id := uint64(2); id < p.head.pages; id++ {
		if p.owned[id/64]&(1<<(id%64)) == 0 {
			return id, true
		}
	}
	return 0, false
}

// header reads page id as far as that goes in one.
func (p *pages) header(id uint64) (page, error) {
	if id < 2 || id >= p.head.pages {
		return page{}, fmt.Errorf("page %d is not within the file", id)
	}
	b := p.buffer[:p.head.size]
	if _, err := p.file.ReadAt(b, int64(id)*p.head.size); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	got := decodePage(b)
	if got.id != id {
		return page{}, fmt.Errorf("page %d says that it is page %d", id, got.id)
	}
	return got, p.own(id, got.over)
}

// tree reads page id, a branch or a leaf. What it gives lasts until the next one
// is read.
func (p *pages) tree(id uint64) (page, error) {
	got, err := p.header(id)
	switch {
	case err != nil:
		return page{}, err
	case got.kind != pageBranch && got.kind != pageLeaf || got.kind == pageBranch && got.count == 0:
		return page{}, fmt.Errorf("page %d is neither a branch nor a leaf", id)
	case int64(pageHeader+pageEntry*got.count) > p.head.size: // what flows over has few entries
		return page{}, fmt.Errorf("page %d cannot hold %d entries", id, got.count)
	}
	if n := (got.end() + p.head.size - 1) / p.head.size; n != int64(got.over)+1 {
		return page{}, fmt.Errorf("page %d needs %d pages, and has %d", id, n, int64(got.over)+1)
	}
	if got.over == 0 {
		return got, nil
	}
	size := int(got.over+1) * int(p.head.size)
	p.buffer = slices.Grow(p.buffer[:0], size)[:size]
	if _, err := p.file.ReadAt(p.buffer, int64(id)*p.head.size); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return decodePage(p.buffer), nil
}

// freeList takes the pages that the list of free ones names, and tells of those
// that belong to nothing.
func (p *pages) freeList() error {
	if p.head.free == noFreeList {
		return nil
	}
	got, err := p.header(p.head.free)
	switch {
	case err != nil:
		return err
	case got.kind != pageFreeList:
		return fmt.Errorf("page %d is not the list of free pages", got.id)
	}
	n, at := uint64(got.count), int64(pageHeader)
	if n == 0xFFFF {
		n, at = binary.NativeEndian.Uint64(got.b[at:]), at+8
	}
	if n >= p.head.pages || at+int64(n)*8 > (int64(got.over)+1)*p.head.size {
		return fmt.Errorf("the list of free pages speaks of %d, where there is no room for so many", n)
	}
	last := uint64(0)
	r := bufio.NewReader(io.NewSectionReader(p.file, int64(got.id)*p.head.size+at, int64(n)*8))
	for b := make([]byte, 8); n > 0; n-- {
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("the list of free pages: %w", err)
		}
		id := binary.NativeEndian.Uint64(b)
		if id <= last {
			return fmt.Errorf("the list of free pages is out of order at page %d", id)
		}
		if err := p.own(id, 0); err != nil {
			return fmt.Errorf("the list of free pages: %w", err)
		}
		last = id
	}
	if id, found := p.lost(); found {
		return fmt.Errorf("page %d is neither free nor in use", id)
	}
	return nil
}
