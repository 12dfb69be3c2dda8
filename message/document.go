package message

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// Entry is one message of a submission, or the reason why there is none.
// Exactly one of Message and Err is set; Err wraps ErrInvalid and says which message
// of its document is wrong, where in the submission and in which field, what was
// there and what is allowed.
type Entry struct {
	Message *Message // what the submitter wrote; the accepting node fills in the rest
	Err     error
	Raw     []byte // the text that it came from
	Index   int    // number of that text in its document, counted from one
	Nodes   int    // how many messages that text stands for: one for each of toNodes
	Offset  int64  // of that text
	Line    int    // on which it begins, counted from one
	Column  int    // the byte of that line, counted from one
}

// Where tells which message of its document e is, and the place that it has in
// the submission.
func (e *Entry) Where() string {
	return where(e.Index, e.Line, e.Column)
}

func where(index, line, column int) string {
	return fmt.Sprintf("message %d of the document, at line %d, column %d", index, line, column)
}

// column is the byte of its line at which m stands, counted from one.
func (m *Mark) column() int { return int(m.Offset-m.LineAt) + 1 }

// ParseDocuments reads JSON documents that follow each other: message objects,
// or arrays of them. What is wrong becomes an Entry with an Err and leaves its
// neighbours alone. If the text ends within a document, consumed is where that
// document begins; otherwise it is len(b). now is what a relative "expires"
// counts from.
func ParseDocuments(b []byte, now time.Time) (entries []Entry, consumed int) {
	d := Documents{Source: bytes.NewReader(b), Size: int64(len(b)), Now: now}
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		entries = append(entries, e)
	}
	return entries, int(d.Mark().Offset)
}

// ParseComplete is ParseDocuments for a text that will not grow: an unfinished
// document at its end is an error like any other.
func ParseComplete(b []byte, now time.Time) (entries []Entry) {
	d := Documents{Source: bytes.NewReader(b), Size: int64(len(b)), Now: now, Final: true}
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		entries = append(entries, e)
	}
	return entries
}

// Survey tells how much of src, which holds size bytes, ParseDocuments would
// consume, and of how many parts; it reads no messages.
func Survey(src io.ReaderAt, size int64) (whole int64, parts int, err error) {
	d := Documents{Source: src, Size: size, dry: true}
	for _, ok := d.part(); ok; _, ok = d.part() {
		parts++
	}
	if d.mark.List {
		return d.mark.Begin, parts, d.win.err
	}
	return d.mark.Offset, parts, d.win.err
}

// Mark is a place in a submission from which reading can go on, in another
// process too.
type Mark struct {
	Offset int64 `json:"offset"`           // between two documents, or two messages of a list
	Line   int   `json:"line,omitempty"`   // lines before Offset
	LineAt int64 `json:"lineAt,omitempty"` // where the line of Offset begins
	Skip   int   `json:"skip,omitempty"`   // entries behind Offset that were read already
	Loose  bool  `json:"loose,omitempty"`  // behind a list that is broken: commas and a bracket may stand between documents

	List  bool  `json:"list,omitempty"`  // inside a list
	Begin int64 `json:"begin,omitempty"` // where it begins
	Count int   `json:"count,omitempty"` // messages of it that were read
}

// pass moves m behind text.
func (m *Mark) pass(text []byte) {
	if n := bytes.Count(text, []byte("\n")); n > 0 {
		m.Line += n
		m.LineAt = m.Offset + int64(bytes.LastIndexByte(text, '\n')) + 1
	}
	m.Offset += int64(len(text))
}

// Documents reads a submission entry by entry, in memory that depends neither on
// how many there are nor on how long it is. Set the exported fields, then call
// Next until it says no.
type Documents struct {
	Source io.ReaderAt
	Size   int64 // how much of Source there is to read
	Now    time.Time
	From   Mark
	Final  bool // Source will not grow: what is unfinished is wrong

	dry   bool // find the ends of documents only
	win   window
	pos   int  // in the window: how far it was read
	mark  Mark // the same place in Source; its Skip counts down
	begun bool
	queue []Entry // of the part that was read last
	given int     // entries of it that are not in the queue any more
	last  Mark    // before that part
}

// Next returns the next entry. After false, Mark tells how far the submission was
// whole, and Err whether it could be read.
func (d *Documents) Next() (Entry, bool) {
	for {
		for len(d.queue) == 0 {
			p, ok := d.part()
			if !ok {
				return Entry{}, false
			}
			d.queue, d.given = d.read(p), 0
		}
		e := d.queue[0]
		d.queue = d.queue[1:]
		d.given++
		if d.mark.Skip == 0 {
			return e, true
		}
		d.mark.Skip--
	}
}

// Mark is where to go on after the entry that Next returned last.
func (d *Documents) Mark() Mark {
	if !d.begun {
		return d.From
	}
	if len(d.queue) > 0 {
		m := d.last
		m.Skip = d.given
		return m
	}
	return d.mark
}

// Err is why Source could not be read.
func (d *Documents) Err() error { return d.win.err }

// part is the next part of a document; its place is d.last, and its text is in
// the window until part is called again.
func (d *Documents) part() (part, bool) {
	for {
		if !d.mark.List && !d.open() {
			return part{}, false
		}
		p, ok, stuck := d.step()
		if ok || stuck {
			return p, ok
		}
	}
}

// step reads on in the present document, and tells if it can not.
func (d *Documents) step() (p part, ok, stuck bool) {
	for {
		w := walk{
			text: d.win.text, at: d.pos, list: d.mark.List, count: d.mark.Count,
			final: d.Final && d.win.ends(), brim: d.win.full(d.pos),
		}
		p, ok = w.next()
		if w.unfinished {
			if d.more() {
				continue
			}
			return part{}, false, true
		}
		d.last = d.mark
		p.text, p.from = w.text, d.pos
		d.pass(w.at)
		d.mark.Count = w.count
		if w.over {
			d.mark.Loose = w.loose || d.mark.Loose && !w.list
			d.mark.List, d.mark.Begin, d.mark.Count = false, 0, 0
		}
		return p, ok, false
	}
}

// open finds the next document. A list is walked to its end before any of it is
// given away: half a list may be what an operator has not finished, and its tail
// alone would be no document.
func (d *Documents) open() bool {
	if !d.begun {
		d.begun, d.mark = true, d.From
		d.pos = d.win.open(d.Source, d.Size, d.From.Offset)
		if d.mark.List {
			return true
		}
	} else {
		d.mark.Skip = 0 // it was of the document before
	}
	for {
		d.pass(d.between(d.pos))
		if left := len(d.win.text) - d.pos; left >= 4 || !d.more() { // so many tell the encoding
			if left == 0 {
				return false
			}
			break
		}
	}
	if d.win.text[d.pos] != '[' || Foreign(d.win.text[d.pos:]) != "" {
		return true
	}
	list := d.mark
	list.List, list.Begin = true, list.Offset
	if !d.Final && !d.dry {
		ahead := *d
		ahead.dry, ahead.mark = true, list
		ahead.pass(ahead.pos + 1)
		for ahead.mark.List {
			if _, _, stuck := ahead.step(); stuck {
				d.win.err = ahead.win.err
				return false
			}
		}
	}
	d.mark = list
	d.pass(d.pos + 1)
	return true
}

// pass moves to, in the window.
func (d *Documents) pass(to int) {
	d.mark.pass(d.win.text[d.pos:to])
	d.pos = to
}

// more reads more of Source behind what was read.
func (d *Documents) more() (ok bool) {
	d.pos, ok = d.win.more(d.pos)
	return ok
}

// between passes over what may stand between documents.
func (d *Documents) between(i int) int {
	b := d.win.text
	for i < len(b) {
		switch c := b[i]; {
		case space(c), d.mark.Loose && c == ',':
			i++
		case d.mark.Loose && c == ']':
			d.mark.Loose = false
			i++
		case bytes.HasPrefix(b[i:], []byte("\xef\xbb\xbf")):
			i += 3
		default:
			return i
		}
	}
	return i
}

// read makes the entries of one part: several where it has toNodes.
func (d *Documents) read(p part) []Entry {
	at := d.last
	at.pass(p.text[p.from:p.start])
	e := Entry{Raw: p.text[p.start:p.end], Index: p.index, Nodes: 1, Offset: at.Offset, Line: at.Line + 1, Column: at.column()}
	var ms []*Message
	var err error
	wrong := 0
	if p.fault != nil {
		wrong, err = p.fault.pos-p.start, bad("the text", "has "+p.fault.was, p.fault.want)
	} else {
		ms, wrong, err = decode(e.Raw, d.Now)
	}
	if err != nil {
		at.pass(p.text[p.start : p.start+wrong])
		e.Err = fmt.Errorf("%s: %w", where(e.Index, at.Line+1, at.column()), err)
		return []Entry{e}
	}
	entries := make([]Entry, len(ms))
	e.Nodes = len(ms)
	for i, m := range ms {
		entries[i] = e
		entries[i].Message = m
	}
	return entries
}
