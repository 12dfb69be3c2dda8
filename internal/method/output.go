package method

import (
	"sync"
	"unicode/utf8"

	"github.com/steward-bus/steward/message"
)

// Limits of what comes back. A control byte of output becomes six in JSON, so the
// encoded size is bounded too: two outputs and all else stay below 900 KiB, which
// a broker with its usual payload of 1 MiB carries.
const (
	outputLimit  = 256 << 10 // bytes of one output, unless the configuration says otherwise
	encodedLimit = 440 << 10 // bytes of one output in JSON, whatever it says
)

// capture keeps the first limit bytes that are written to it and counts the
// rest, so that a writer never waits and never fails.
type capture struct {
	limit int

	mu    sync.Mutex
	kept  []byte
	total int64
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += int64(len(p))
	c.kept = append(c.kept, p[:min(len(p), c.limit-len(c.kept))]...)
	return len(p), nil
}

// text is what was kept, cut to what fits in a result, and the true length.
func (c *capture) text() (t message.Text, total int64, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.kept[:len(c.kept):len(c.kept)] // a process that outlives its limit may still write
	if c.total > int64(len(b)) {
		b = wholeRunes(b)
	}
	b = fit(b, encodedLimit)
	return b, c.total, int64(len(b)) < c.total
}

// fit is the longest useful prefix of b whose form in JSON takes at most limit
// bytes; it ends between characters if b is text.
func fit(b []byte, limit int) []byte {
	if !utf8.Valid(b) {
		b = b[:min(len(b), (limit-len(`{"base64":""}`))/4*3)]
		if !utf8.Valid(b) {
			return b
		}
	}
	size := len(`""`)
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if size += encodedRune(r, n); size > limit {
			return b[:i]
		}
		i += n
	}
	return b
}

// encodedRune is how many bytes encoding/json makes of r, which has n in UTF-8.
func encodedRune(r rune, n int) int {
	switch r {
	case '"', '\\', '\b', '\f', '\n', '\r', '\t':
		return 2
	case '<', '>', '&', '\u2028', '\u2029':
		return 6
	}
	if r < ' ' {
		return 6
	}
	return n
}

// wholeRunes drops the beginning of a character that a cut left at the end of b.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}
