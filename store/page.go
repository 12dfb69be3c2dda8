package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A page begins with a header
//
//	| id 8 | kind 2 | count 2 | pages that it flows over into 4 |
//
// and goes on with count entries of 16 bytes, then their keys and values, in
// order and without gaps:
//
//	branch: | offset from here 4 | key 4 | page 8 |
//	leaf:   | flags 4 | offset from here 4 | key 4 | value 4 |
//
// Nothing of it has a checksum, so all of it is compared with all else.
type page struct {
	id    uint64
	kind  uint16
	count int
	over  uint32
	b     []byte // of it, and of those that it flows over into
}

const (
	pageHeader = 16
	pageEntry  = 16

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreeList = 0x10
)

func decodePage(b []byte) page {
	order := binary.NativeEndian
	return page{order.Uint64(b), order.Uint16(b[8:]), int(order.Uint16(b[10:])), order.Uint32(b[12:]), b}
}

// entry is one of a page: of a branch a key and its page, of a leaf a key and its
// value.
type entry struct {
	key, value []byte
	child      uint64
	bucket     bool // the value is the header of a bucket
}

// span is where the content of entry i begins, and where it ends.
func (p page) span(i int) (from, to int64) {
	at := int64(pageHeader + pageEntry*i)
	e, order := p.b[at:], binary.NativeEndian
	if p.kind == pageBranch {
		from = at + int64(order.Uint32(e))
		return from, from + int64(order.Uint32(e[4:]))
	}
	from = at + int64(order.Uint32(e[4:]))
	return from, from + int64(order.Uint32(e[8:])) + int64(order.Uint32(e[12:]))
}

// end is where the content of the page ends.
func (p page) end() int64 {
	if p.count == 0 {
		return pageHeader
	}
	_, end := p.span(p.count - 1)
	return end
}

// entries puts all of the page into list. Their keys rise from low on, and stay
// below high if there is such.
func (p page) entries(list []entry, low, high []byte) ([]entry, error) {
	list = list[:0]
	next := int64(pageHeader + pageEntry*p.count)
	if p.count == 0 && len(bytes.Trim(p.b[pageHeader:min(len(p.b), pageHeader+pageEntry)], "\x00")) > 0 {
		return nil, fmt.Errorf("page %d says that it is empty, and is not", p.id)
	}
	for i := range p.count {
		from, to := p.span(i)
		if from != next || to > int64(len(p.b)) {
			return nil, fmt.Errorf("entry %d of page %d does not lie where it has to", i, p.id)
		}
		e, err := p.entry(i, from, to)
		if err != nil {
			return nil, err
		}
		if bytes.Compare(e.key, low) < 0 || i > 0 && bytes.Equal(e.key, low) || high != nil && bytes.Compare(e.key, high) >= 0 {
			return nil, fmt.Errorf("key %d of page %d is out of order", i, p.id)
		}
		list, low, next = append(list, e), e.key, to
	}
	return list, nil
}

// entry is number i, whose content is from here to there.
func (p page) entry(i int, from, to int64) (e entry, err error) {
	raw, order := p.b[pageHeader+pageEntry*i:], binary.NativeEndian
	n := to - from
	if p.kind == pageBranch {
		e.child = order.Uint64(raw[8:])
	} else {
		n = int64(order.Uint32(raw[8:]))
		e.bucket = order.Uint32(raw) == 1
	}
	if n == 0 || p.kind == pageLeaf && order.Uint32(raw) > 1 {
		return e, fmt.Errorf("entry %d of page %d has no key, or unknown flags", i, p.id)
	}
	e.key, e.value = p.b[from:from+n:from+n], p.b[from+n:to:to]
	return e, nil
}
