package store

import (
	"encoding/binary"
	"time"

	"github.com/steward-bus/steward/message"
)

// reader takes fields off the front of a record; after a short read all it
// gives is zero, and short says so.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return make([]byte, min(max(n, 0), 64))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) uvarint() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) time() time.Time {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.short, r.b = true, nil
		return time.Time{}
	}
	r.b = r.b[k:]
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (r *reader) place() message.Place { return readPlace(r.take(placeLen)) }
