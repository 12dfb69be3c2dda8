package follow

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// line is one line, or one piece of a long one, ready for a message.
type line struct {
	text  string
	size  int    // raw bytes that it stands for, with its newline
	split string // splitMore, splitEnd, or empty for a whole line
}

// cutter takes lines from raw bytes.
type cutter struct {
	maxLine int
	split   bool // what comes next continues a line
}

// next takes the first line of b; ok is false while b has neither a newline nor
// more than maxLine bytes. With flush, what is left without a newline is a line.
func (c *cutter) next(b []byte, flush bool) (l line, ok bool) {
	end := bytes.IndexByte(b, '\n')
	size := end + 1
	switch {
	case end < 0 && len(b) <= c.maxLine:
		if !flush || len(b) == 0 {
			return line{}, false
		}
		end, size = len(b), len(b)
	case end < 0 || end > c.maxLine:
		n := pieceEnd(b, c.maxLine)
		c.split = true
		return line{text: clean(b[:n]), size: n, split: splitMore}, true
	}
	l = line{text: clean(b[:end]), size: size}
	if c.split {
		l.split, c.split = splitEnd, false
	}
	return l, true
}

// pieceEnd is n, or up to three bytes less where n is inside a character.
func pieceEnd(b []byte, n int) int {
	for i := n; i > max(0, n-utf8.UTFMax); i-- {
		if !utf8.RuneStart(b[i]) {
			continue
		}
		if r, _ := utf8.DecodeRune(b[i:]); i == n || r != utf8.RuneError || !utf8.FullRune(b[i:]) {
			return i
		}
		break
	}
	return n
}

// clean is b as a message can carry it: what is not UTF-8 becomes U+FFFD, a NUL
// its picture U+2400.
func clean(b []byte) string {
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\u2400")
	}
	return s
}

// cost is about what s takes in an encoded message.
func cost(s string) int {
	n := len(s) + 3
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&':
			n += 5
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}
