package message

import (
	"errors"
	"fmt"
	"io"
)

// MaxPart is how long the text of one message may be, with all that is blank or
// escaped in it.
const MaxPart = 8 << 20

// windowSize is how much of a submission is read at once.
const windowSize = 256 << 10

// window is the part of a submission that is in memory. What it once held is not
// overwritten.
type window struct {
	src         io.ReaderAt
	size        int64  // of the submission
	base        int64  // where text begins in it
	text        []byte // one byte of it was read before, unless it begins the submission
	err         error
	least, most int // to read at once, and to hold
}

// open places the window at offset, and returns where in text that is.
func (w *window) open(src io.ReaderAt, size, offset int64) int {
	w.src, w.size, w.base = src, size, max(0, offset-1)
	if w.most == 0 {
		w.least, w.most = windowSize, MaxPart
	}
	w.fill(nil, w.least)
	return min(int(offset-w.base), len(w.text))
}

// more moves the window to pos and reads more than it had behind that; it returns
// where in text that is then, and false if there is no more, or no room.
func (w *window) more(pos int) (int, bool) {
	if w.ends() || w.full(pos) || w.err != nil {
		return pos, false
	}
	from := max(0, pos-1)
	rest := w.text[from:]
	w.base += int64(from)
	w.fill(rest, max(w.least, 2*len(rest)))
	return pos - from, len(w.text) > len(rest)
}

// fill makes text of head and what follows it, n bytes together.
func (w *window) fill(head []byte, n int) {
	n = int(min(int64(min(n, w.most+1)), w.size-w.base))
	w.text = append(make([]byte, 0, max(n, len(head))), head...)
	if n <= len(head) {
		return
	}
	k, err := w.src.ReadAt(w.text[len(head):n], w.base+int64(len(head)))
	w.text = w.text[:len(head)+k]
	if k < n-len(head) { // it became shorter
		w.size = w.base + int64(len(w.text))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = fmt.Errorf("read the submission: %w", err)
	}
}

// ends reports whether the submission ends with the window.
func (w *window) ends() bool { return w.base+int64(len(w.text)) >= w.size }

// full reports whether no more than what is behind pos is held at once.
func (w *window) full(pos int) bool { return len(w.text)-pos >= w.most }
