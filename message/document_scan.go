package message

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep the brackets of one message may be nested.
const MaxDepth = 16

var errUnfinished = errors.New("the text ends too early")

// fault is a place where a text is not JSON.
type fault struct {
	pos       int
	was, want string
}

func (f *fault) Error() string { return f.was }

// scanValue returns the end of the JSON value at i. It fails with a *fault, or
// with errUnfinished where b ends first.
func scanValue(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, errUnfinished
	}
	switch c := b[i]; {
	case opens(c):
		if depth > MaxDepth {
			return i, &fault{i, fmt.Sprintf("more than %d nested brackets", MaxDepth), fmt.Sprintf("at most %d", MaxDepth)}
		}
		if c == '{' {
			return scanList(b, i, depth, '}', scanMember)
		}
		return scanList(b, i, depth, ']', scanValue)
	case c == '"':
		return scanString(b, i)
	case c == '-' || '0' <= c && c <= '9':
		return scanNumber(b, i)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	}
	return i, unexpected(b, i, "a JSON value")
}

// scanList reads what stands between two brackets, of which end is the second:
// pieces with commas between them.
func scanList(b []byte, i, depth int, end byte, piece func(b []byte, i, depth int) (int, error)) (int, error) {
	if i = blank(b, i+1); i < len(b) && b[i] == end {
		return i + 1, nil
	}
	for {
		next, err := piece(b, i, depth+1)
		if err != nil {
			return next, err
		}
		if i = blank(b, next); i >= len(b) {
			return i, errUnfinished
		}
		if b[i] == end {
			return i + 1, nil
		}
		if b[i] != ',' {
			return i, unexpected(b, i, fmt.Sprintf(`"," or "%c"`, end))
		}
		i = blank(b, i+1)
	}
}

func scanMember(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, errUnfinished
	}
	if b[i] != '"' {
		return i, unexpected(b, i, "a field name in double quotes")
	}
	end, err := scanString(b, i)
	if err != nil {
		return end, err
	}
	if i = blank(b, end); i >= len(b) {
		return i, errUnfinished
	}
	if b[i] != ':' {
		return i, unexpected(b, i, `":"`)
	}
	return scanValue(b, blank(b, i+1), depth)
}

// scanString checks quotes, escapes and control characters; whether the bytes
// are UTF-8 is told with the field that they stand in.
func scanString(b []byte, i int) (int, error) {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c < 0x20:
			return i, &fault{i, fmt.Sprintf("the control character %#02x in a string", c), fmt.Sprintf(`\u%04x`, c)}
		case c == '\\':
			n, err := scanEscape(b, i)
			if err != nil {
				return i, err
			}
			i += n
		}
	}
	return i, errUnfinished
}

// scanEscape returns how many bytes follow the backslash at i.
func scanEscape(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return 0, errUnfinished
	}
	if c := b[i+1]; c != 'u' {
		if strings.IndexByte(`"\/bfnrt`, c) < 0 {
			return 0, &fault{i, "the escape " + quoteSome(b[i:i+2]), `one of \" \\ \/ \b \f \n \r \t \uXXXX`}
		}
		return 1, nil
	}
	for k := i + 2; k < i+6; k++ {
		if k >= len(b) {
			return 0, errUnfinished
		}
		if _, ok := hexDigit(b[k]); !ok {
			return 0, &fault{i, "the escape " + quoteSome(b[i:k+1]), `\u and four hexadecimal digits`}
		}
	}
	return 5, nil
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}

func scanNumber(b []byte, i int) (int, error) {
	start := i
	if b[i] == '-' {
		i++
	}
	end := digits(b, i)
	if end == i {
		return numberFault(b, start, i)
	}
	if b[i] == '0' && end > i+1 {
		return start, &fault{start, "a number with a leading zero", "a number without it"}
	}
	if i = end; i < len(b) && b[i] == '.' {
		if end = digits(b, i+1); end == i+1 {
			return numberFault(b, start, end)
		}
		i = end
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if end = digits(b, i); end == i {
			return numberFault(b, start, end)
		}
		i = end
	}
	return i, nil
}

func numberFault(b []byte, start, i int) (int, error) {
	if i >= len(b) {
		return i, errUnfinished
	}
	return start, &fault{start, "the number " + quoteSome(b[start:i+1]), "a JSON number"}
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func digits(b []byte, i int) int {
	for i < len(b) && digit(b[i]) {
		i++
	}
	return i
}

func scanWord(b []byte, i int, word string) (int, error) {
	for k := range len(word) {
		if i+k >= len(b) {
			return i, errUnfinished
		}
		if b[i+k] != word[k] {
			return i, unexpected(b, i, "a JSON value")
		}
	}
	return i + len(word), nil
}

func unexpected(b []byte, i int, want string) *fault {
	_, n := utf8.DecodeRune(b[i:])
	return &fault{i, quoteSome(b[i : i+n]), want}
}

// quoteSome shows the beginning of an operator's text in an error.
func quoteSome(b []byte) string {
	const most = 60
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(b[n]) {
		n--
	}
	return fmt.Sprintf("%q…", b[:n])
}
