package method

import (
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

// textOf is what was kept of an output of total bytes, cut to what fits in a result.
func textOf(kept []byte, total int64) (t message.Text, cut bool) {
	if total > int64(len(kept)) {
		kept = wholeRunes(kept)
	}
	kept = fit(kept, encodedLimit)
	return kept, int64(len(kept)) < total
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
