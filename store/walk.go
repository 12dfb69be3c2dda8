package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// maxDepth is more than any tree has that fits on a disk.
const maxDepth = 32

// maxProblems are told of; of the others there is a number.
const maxProblems = 100

// walk reads a whole journal without bbolt, which believes what it finds: a pointer
// in which a bit flipped sends it round in circles, or out of the file. It looks at
// each page once, in as much memory as a page and a bit for each take, and at the
// checksum of each record.
type walk struct {
	pages    *pages
	list     []entry
	problems []string
	more     int // problems beyond those
}

// verify tells what is wrong with a journal, of any size. An error is ErrNewer, or
// it says why there is nothing to be looked at.
func verify(f io.ReaderAt, size int64) (problems []string, err error) {
	h, err := newestHead(f, size)
	if err != nil {
		return nil, err
	}
	return verifyFrom(f, size, h)
}

// verifyFrom is verify of what head h leads to.
func verifyFrom(f io.ReaderAt, size int64, h head) (problems []string, err error) {
	p, err := newPages(f, size, h)
	if err != nil {
		return nil, err
	}
	w := &walk{pages: p}
	if err := w.everything(); err != nil {
		return nil, err
	}
	if w.more > 0 {
		w.problem("and %d more", w.more)
	}
	return w.problems, nil
}

func (w *walk) problem(format string, args ...any) {
	if len(w.problems) > maxProblems {
		w.more++
		return
	}
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *walk) everything() error {
	top := map[string][]byte{}
	w.tree(w.pages.head.root, nil, nil, 0, func(list []entry) {
		for _, e := range w.buckets("the journal", list) {
			top[string(e.key)] = e.value
		}
	})
	if err := w.schema(top[string(bucketMeta)]); err != nil {
		return err
	}
	for _, name := range buckets {
		header, found := top[string(name)]
		switch delete(top, string(name)); {
		case !found:
			w.problem("it has no bucket %q: it is no journal of steward, or was cut", name)
		case bytes.Equal(name, bucketMeta): // was read first
		case bytes.Equal(name, bucketOutbox), bytes.Equal(name, bucketInbox):
			w.bucket(string(name), header, func(list []entry) { w.queues(string(name), list) })
		default:
			w.bucket(string(name), header, func(list []entry) { w.records(string(name), list) })
		}
	}
	for name := range top {
		w.problem("it has a bucket %q, which is unknown", name)
	}
	if len(w.problems) > 0 {
		return nil // what is free follows from what could not be read
	}
	if err := w.pages.freeList(); err != nil {
		w.problem("%v", err)
	}
	return nil
}

// schema reads who the journal is, before all that a newer steward may have written
// in another way.
func (w *walk) schema(meta []byte) (err error) {
	if meta == nil {
		return nil
	}
	w.bucket(string(bucketMeta), meta, func(list []entry) {
		w.records(string(bucketMeta), list)
		for _, e := range list {
			if v, bad := unseal(bucketMeta, e.key, e.value); bad == nil && bytes.Equal(e.key, keySchema) {
				err = known(v)
			}
		}
	})
	return err
}

// queues reads the buckets in a bucket of queues.
func (w *walk) queues(name string, list []entry) {
	for _, e := range w.buckets(name, list) {
		w.bucket(fmt.Sprintf("%s of %s", name, e.key), e.value, func(list []entry) { w.records(name, list) })
	}
}

// buckets copies what has to be a list of buckets.
func (w *walk) buckets(name string, list []entry) (copies []entry) {
	for _, e := range list {
		if !e.bucket {
			w.problem("record %x of %s should be a bucket", e.key, name)
			continue
		}
		copies = append(copies, entry{key: slices.Clone(e.key), value: slices.Clone(e.value)})
	}
	return copies
}

// records compares the checksums of a list of records.
func (w *walk) records(name string, list []entry) {
	for _, e := range list {
		if e.bucket {
			w.problem("bucket %x of %s should be a record", e.key, name)
		} else if _, err := unseal([]byte(name), e.key, e.value); err != nil {
			w.problem("record %x of %s fails its checksum", e.key, name)
		}
	}
}

// bucket reads one by its header: the page where its tree begins and a number that
// it gave last, 8 bytes each, and the page itself if there is no tree.
func (w *walk) bucket(name string, header []byte, leaf func([]entry)) {
	if len(header) < 16 {
		w.problem("bucket %s has no header", name)
		return
	}
	root, within := binary.NativeEndian.Uint64(header), header[16:]
	switch {
	case root == 0 && len(within) >= pageHeader:
		p := decodePage(within)
		if p.kind != pageLeaf || pageHeader+pageEntry*p.count > len(within) || p.end() != int64(len(within)) {
			w.problem("bucket %s does not have the size that it says", name)
			return
		}
		w.leaf(p, nil, nil, leaf)
	case root == 0 || len(within) > 0:
		w.problem("bucket %s has both a page of its own and one within, or neither", name)
	default:
		w.tree(root, nil, nil, 0, leaf)
	}
}

// tree reads all that can be reached from page id, whose keys lie between low and
// high.
func (w *walk) tree(id uint64, low, high []byte, depth int, leaf func([]entry)) {
	p, err := w.pages.tree(id)
	switch {
	case err != nil:
		w.problem("%v", err)
		return
	case p.kind == pageLeaf:
		if p.count == 0 && depth > 0 {
			w.problem("page %d is empty", id)
		}
		w.leaf(p, low, high, leaf)
		return
	case depth == maxDepth:
		w.problem("page %d is too deep", id)
		return
	}
	p.b = slices.Clone(p.b)
	list, err := p.entries(nil, low, high)
	if err != nil {
		w.problem("%v", err)
		return
	}
	for i, e := range list {
		end := high
		if i+1 < len(list) {
			end = list[i+1].key
		}
		w.tree(e.child, e.key, end, depth+1, leaf)
	}
}

func (w *walk) leaf(p page, low, high []byte, leaf func([]entry)) {
	list, err := p.entries(w.list, low, high)
	if err != nil {
		w.problem("%v", err)
		return
	}
	w.list = list
	leaf(list)
}
