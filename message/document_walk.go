package message

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// part is one text that should be a message; with a fault it cannot be read.
type part struct {
	text       []byte // the window
	from       int    // how far that was read before
	start, end int
	index      int // in its document, from one
	fault      *fault
}

// walk takes the next part of a document from a window. Where the grammar is
// broken, it looks for the end of the broken part by brackets and quotes alone, so
// that the parts behind it are found; where even those do not match, the document
// ends at the next line that begins with a bracket. What it finds does not change
// when the window grows: where it might, the part is unfinished.
type walk struct {
	text  []byte
	at    int  // how far it was read
	list  bool // inside a list, of which
	count int  // parts were read
	final bool // the text will not grow
	brim  bool // the window cannot

	over       bool // the document has no more parts
	unfinished bool // the window ends first
	loose      bool // a list was left without its end
}

func (w *walk) next() (part, bool) {
	switch {
	case w.list:
		return w.element()
	case Foreign(w.text[w.at:]) != "":
		return w.foreign()
	case w.text[w.at] == '{':
		p, ok := w.value(w.at)
		w.over = true
		return p, ok
	}
	return w.garbage(w.at, &fault{pos: w.at, was: w.describe(w.at), want: "a message object or a list of them"})
}

// garbage is what begins like no document at all.
func (w *walk) garbage(i int, f *fault) (part, bool) {
	if q := nextLine(w.text, i+1); q >= 0 {
		return w.leave(i, q, f), true
	}
	return w.cut(i, f)
}

// element is the next part of a list.
func (w *walk) element() (part, bool) {
	i := blank(w.text, w.at)
	if i == len(w.text) {
		return w.unclosed(i)
	}
	if w.text[i] == ']' {
		w.over, w.at = true, i+1
		return part{}, false
	}
	if w.text[i] == ',' {
		return w.after(i)
	}
	if w.count == 0 {
		return w.value(i)
	}
	if opens(w.text[i]) && lineStart(w.text, i) {
		return w.unclosed(i)
	}
	return w.mend(i, &fault{pos: i, was: w.describe(i), want: `"," or "]"`})
}

// after is what follows the comma at i; a lone one is a part of its own.
func (w *walk) after(i int) (part, bool) {
	lone := w.count == 0
	j := blank(w.text, i+1)
	if j == len(w.text) {
		return w.unclosed(j)
	}
	if !lone && w.text[j] != ',' && w.text[j] != ']' {
		return w.value(j)
	}
	if !lone { // a lone one is met again, as what parts it from the next message
		w.at = j
	}
	w.count++
	return part{start: i, end: i + 1, index: w.count, fault: &fault{pos: i, was: "a comma too many", want: "commas only between messages"}}, true
}

func (w *walk) value(i int) (part, bool) {
	end, err := scanValue(w.text, i, 1)
	var f *fault
	switch {
	case err == nil && (end < len(w.text) || w.final || !digit(w.text[end-1])):
		w.at = end
		w.count++
		return part{start: i, end: end, index: w.count}, true
	case errors.As(err, &f):
		return w.mend(i, f)
	}
	return w.cut(i, nil)
}

// mend finds the end of a broken part. One that never ends may have swallowed
// whole documents, so all its lines that begin with a bracket are tried.
func (w *walk) mend(i int, f *fault) (part, bool) {
	end, how := skim(w.text, i, f.pos)
	switch how {
	case skimEnd:
		w.at = end
		w.count++
		return part{start: i, end: end, index: w.count, fault: f}, true
	case skimNext:
		return w.leave(i, nextLine(w.text, i+1), f), true
	case skimLost:
		if q := nextLine(w.text, i+1); q >= 0 {
			return w.leave(i, q, f), true
		}
	}
	return w.cut(i, f)
}

// leave ends the document at end, with its last part broken.
func (w *walk) leave(i, end int, f *fault) part {
	w.over, w.at, w.loose = true, end, w.list
	w.count++
	return part{start: i, end: end, index: w.count, fault: f}
}

// cut is for a window that ends inside a part.
func (w *walk) cut(i int, f *fault) (part, bool) {
	switch {
	case !w.final && !w.brim:
		w.unfinished = true
		return part{}, false
	case f == nil && w.final:
		f = &fault{pos: i, was: "a message that is never finished", want: "its closing bracket"}
	case f == nil:
		f = &fault{pos: i, was: "a message that goes on for too long", want: fmt.Sprintf("at most %d bytes of text for one message", MaxPart)}
	}
	q := nextLine(w.text, i+1)
	if q < 0 {
		q = len(w.text)
	}
	return w.leave(i, q, f), true
}

// unclosed is for a list that has whole messages, or none, and no end: i is where
// that is missed. No text of it is wrong: whoever submits what is rejected again
// must not submit the others twice.
func (w *walk) unclosed(i int) (part, bool) {
	if i == len(w.text) && !w.final && !w.brim {
		w.unfinished = true
		return part{}, false
	}
	f := &fault{pos: i, was: "no end of its list", want: `"]" after its last message`}
	return w.leave(w.at, i, f), true
}

func (w *walk) describe(i int) string {
	_, n := utf8.DecodeRune(w.text[i:])
	return quoteSome(w.text[i : i+n])
}

// The ways in which skim ends.
const (
	skimEnd  = iota // after the part
	skimNext        // where another document begins
	skimLost        // quotes or brackets do not match
	skimText        // with the text
)

// maxSkim bounds the stack of brackets, and with it what a hostile text can cost.
const maxSkim = 32

// skim finds the end of the part that begins at i by its quotes and brackets;
// from is where its grammar broke.
func skim(b []byte, i, from int) (int, int) {
	var stack []byte
	single := opens(b[i]) // ends with its bracket; anything else at a comma
	prev := byte(',')
	for j := i; j < len(b); j++ {
		c := b[j]
		switch {
		case space(c):
			continue
		case c == '"':
			end, ok := skimString(b, j)
			if end == len(b) {
				return end, skimText
			}
			if !ok {
				return j, skimLost
			}
			j = end
		case opens(c):
			inList := len(stack) == 0 || stack[len(stack)-1] == '['
			if j >= from && j > i && lineStart(b, j) && prev != ':' && prev != '[' && !(prev == ',' && inList) {
				return j, skimNext
			}
			if stack = append(stack, c); len(stack) > maxSkim {
				return j, skimLost
			}
		case c == '}' || c == ']':
			if len(stack) == 0 {
				if c == ']' {
					return j, skimEnd
				}
				break // one bracket too many, of the part before
			}
			if stack[len(stack)-1] != c-2 { // '{' and '[' stand two below their partners
				return j, skimLost
			}
			if stack = stack[:len(stack)-1]; len(stack) == 0 && single {
				return j + 1, skimEnd
			}
		case c == ',' && len(stack) == 0 && j > i:
			return j, skimEnd
		}
		prev = c
	}
	return len(b), skimText
}

// skimString returns the closing quote of the string at i, and false where a line
// ends first.
func skimString(b []byte, i int) (int, bool) {
	for j := i + 1; j < len(b); j++ {
		switch b[j] {
		case '"':
			return j, true
		case '\\':
			j++
		case '\n':
			return j, false
		}
	}
	return len(b), false
}

// nextLine is the first place, at from or behind it, where a line begins with a
// bracket, or -1.
func nextLine(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		if opens(b[i]) && lineStart(b, i) {
			return i
		}
	}
	return -1
}

func lineStart(b []byte, i int) bool { return i == 0 || b[i-1] == '\n' }
func opens(c byte) bool              { return c == '{' || c == '[' }
func space(c byte) bool              { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func blank(b []byte, i int) int {
	for i < len(b) && space(b[i]) {
		i++
	}
	return i
}
