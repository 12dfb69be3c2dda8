package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The first two pages of the file are its heads. A commit writes the one that its
// number is odd or even for, and with it all that it wrote begins to count:
//
//	page header 16 | magic 4 | version 4 | page size 4 | flags 4 | root 8 | sequence 8 | free list 8 | pages 8 | commit 8 | fnv1a 8
type head struct {
	size   int64  // of a page
	root   uint64 // page of the bucket of buckets
	free   uint64 // page of the list of free pages, or noFreeList
	pages  uint64 // in use, the heads included
	commit uint64
}

const (
	headAt     = 16 // in its page
	headLen    = 64
	headMagic  = 0xED0CDAED
	headFormat = 2
	noFreeList = ^uint64(0)

	minPage, maxPage = 1 << 10, 64 << 10
)

// decodeHead reads a head whose checksum is right.
func decodeHead(b []byte) (h head, ok bool) {
	order := binary.NativeEndian
	if order.Uint32(b) != headMagic || order.Uint32(b[4:]) != headFormat || order.Uint64(b[56:]) != headSum(b) {
		return h, false
	}
	h.size = int64(order.Uint32(b[8:]))
	h.root, h.free, h.pages, h.commit = order.Uint64(b[16:]), order.Uint64(b[32:]), order.Uint64(b[40:]), order.Uint64(b[48:])
	return h, h.size >= minPage && h.size <= maxPage && h.size&(h.size-1) == 0
}

func headSum(b []byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56]) // never fails
	return sum.Sum64()
}

// heads are the newest head that can be read in a file of size bytes and, if the
// other one cannot be read, where that lies and what is there.
func heads(f io.ReaderAt, size int64) (h head, damagedAt int64, damaged []byte, err error) {
	read := func(at int64) (head, []byte, bool, error) {
		b := make([]byte, headLen)
		if _, err := f.ReadAt(b, at+headAt); err != nil {
			return head{}, nil, false, unread(err)
		}
		h, good := decodeHead(b)
		return h, b, good, nil
	}
	first, raw, good, err := read(0)
	if err != nil {
		return h, 0, nil, err
	}
	if good {
		second, raw, good, err := read(first.size)
		switch {
		case err != nil:
			return h, 0, nil, err
		case !good:
			return first, first.size + headAt, raw, nil
		case second.size != first.size || second.commit == first.commit:
			return h, 0, nil, fmt.Errorf("%w: its two heads contradict each other", ErrCorrupt)
		case second.commit > first.commit:
			return second, 0, nil, nil
		}
		return first, 0, nil, nil
	}
	for at := int64(minPage); at <= maxPage && at+headAt+headLen <= size; at *= 2 { // the first tells the size of a page
		second, _, good, err := read(at)
		if err != nil {
			return h, 0, nil, err
		}
		if good && second.size == at {
			return second, headAt, raw, nil
		}
	}
	return h, 0, nil, fmt.Errorf("%w: neither of its two heads can be read", ErrCorrupt)
}

// newestHead is the head that counts in a file of size bytes. Where the other one
// is damaged, and may have been the newer one, a commit may be lost that others
// rely on: that is an error.
func newestHead(f io.ReaderAt, size int64) (head, error) {
	h, _, damaged, err := heads(f, size)
	if err != nil || damaged == nil || h.surelyNewer(damaged) {
		return h, err
	}
	return head{}, fmt.Errorf("%w: one of its two heads cannot be read, and may have been the newer one: without it the last commit is missing, to before which `steward store revert` goes back", ErrCorrupt)
}

// surelyNewer reports whether a damaged head was the older one: with a single bit
// turned it is whole again, and says so.
func (h head) surelyNewer(damaged []byte) bool {
	for bit := range len(damaged) * 8 {
		damaged[bit/8] ^= 1 << (bit % 8)
		was, whole := decodeHead(damaged)
		damaged[bit/8] ^= 1 << (bit % 8)
		if whole && was.commit < h.commit {
			return true
		}
	}
	return false
}

// unread is what a failed read of the file means.
func unread(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it was cut short", ErrCorrupt)
	}
	return fmt.Errorf("%w: it cannot be read: %w", ErrCorrupt, err)
}
