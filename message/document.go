package message

import (
	"bytes"
	"fmt"
	"time"
)

// Entry is one message of a submission, or the reason why there is none.
// Exactly one of Message and Err is set; Err wraps ErrInvalid and says where in
// the text the message stands, which field is wrong and what is allowed.
type Entry struct {
	Message *Message // what the submitter wrote; the accepting node fills in the rest
	Err     error
	Raw     []byte // the text that it came from, a part of the input
	Index   int    // number of that text in its document, counted from one
	Nodes   int    // how many messages that text stands for: one for each of toNodes
	Offset  int64  // of that text
}

// ParseDocuments reads JSON documents that follow each other: message objects,
// or arrays of them. What is wrong becomes an Entry with an Err and leaves its
// neighbours alone. If the text ends within a document, consumed is where that
// document begins; otherwise it is len(b). now is what a relative "expires"
// counts from.
func ParseDocuments(b []byte, now time.Time) (entries []Entry, consumed int) {
	d := Documents{Text: b, Now: now}
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		entries = append(entries, e)
	}
	return entries, int(d.Mark().Offset)
}

// ParseComplete is ParseDocuments for a text that will not grow: an unfinished
// document at its end is an error like any other.
func ParseComplete(b []byte, now time.Time) (entries []Entry) {
	d := Documents{Text: b, Now: now, Final: true}
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		entries = append(entries, e)
	}
	return entries
}

// CompleteLen is how much of b ParseDocuments would consume; it reads no messages.
func CompleteLen(b []byte) int {
	d := Documents{Text: b, skim: true}
	for _, ok := d.Next(); ok; _, ok = d.Next() {
	}
	return d.pos
}

// Mark is a place in a submission from which reading can go on, in another
// process too.
type Mark struct {
	Offset int64 `json:"offset"`          // where a document begins
	Line   int   `json:"line,omitempty"`  // lines before Offset
	Skip   int   `json:"skip,omitempty"`  // entries of that document that were read already
	Loose  bool  `json:"loose,omitempty"` // inside a list that is broken: commas and a bracket may stand between documents
}

// Documents reads a submission entry by entry, in memory that does not depend on
// how many there are. Set the exported fields, then call Next until it says no.
type Documents struct {
	Text  []byte // what stands at From.Offset and beyond
	Now   time.Time
	From  Mark
	Final bool // Text will not grow: what is unfinished is wrong

	skim    bool // find the ends of documents only
	pos     int  // end of the last document that was read
	loose   bool
	started bool
	present *walk // the document that is being read
	skip    int   // entries still to be passed over
	given   int   // entries of present that were read
	queue   []Entry
	line    int // lines before lined
	lined   int
}

// Next returns the next entry. After false, Mark tells how far the text was whole.
func (d *Documents) Next() (Entry, bool) {
	if !d.started {
		d.started, d.loose, d.skip = true, d.From.Loose, d.From.Skip
	}
	for {
		e, ok := d.next()
		if !ok {
			return Entry{}, false
		}
		d.given++
		if d.skip == 0 {
			return e, true
		}
		d.skip--
	}
}

// Mark is where to go on after the entry that Next returned last.
func (d *Documents) Mark() Mark {
	if !d.started {
		return d.From
	}
	if w := d.present; w != nil && !w.unfinished {
		if !w.over || len(d.queue) > 0 {
			return Mark{Offset: d.From.Offset + int64(w.start), Line: w.line, Skip: d.given, Loose: d.loose}
		}
		d.close()
	}
	return Mark{Offset: d.From.Offset + int64(d.pos), Line: d.lineOf(d.pos) - 1, Loose: d.loose}
}

func (d *Documents) next() (Entry, bool) {
	for {
		if len(d.queue) > 0 {
			e := d.queue[0]
			d.queue = d.queue[1:]
			return e, true
		}
		if d.present == nil && !d.open() {
			return Entry{}, false
		}
		p, ok := d.present.next()
		switch {
		case ok && d.skim:
			return Entry{}, true
		case ok:
			d.queue = d.read(p)
		case d.present.unfinished:
			return Entry{}, false
		default:
			d.close()
		}
	}
}

// open finds the next document. A list is walked to its end before any of it is
// given away: entries of a half-written list would come again when it is whole.
func (d *Documents) open() bool {
	i := d.between(d.pos)
	d.pos = i
	if i == len(d.Text) {
		return false
	}
	w := walk{text: d.Text, start: i, at: i, final: d.Final, line: d.lineOf(i) - 1}
	if w.text[i] == '[' && !d.Final {
		dry := w
		for _, ok := dry.next(); ok; _, ok = dry.next() {
		}
		if dry.unfinished {
			return false
		}
	}
	d.present, d.given = &w, 0
	return true
}

func (d *Documents) close() {
	d.pos, d.loose = d.present.end, d.present.loose || d.loose && d.Text[d.present.start] != '['
	d.present, d.skip = nil, 0
}

// between passes over what may stand between documents.
func (d *Documents) between(i int) int {
	for i < len(d.Text) {
		switch c := d.Text[i]; {
		case space(c), d.loose && c == ',':
			i++
		case d.loose && c == ']':
			d.loose = false
			i++
		case bytes.HasPrefix(d.Text[i:], []byte("\xef\xbb\xbf")):
			i += 3
		default:
			return i
		}
	}
	return i
}

// read makes the entries of one part: several where it has toNodes.
func (d *Documents) read(p part) []Entry {
	raw := d.Text[p.start:p.end]
	e := Entry{Raw: raw, Index: p.index, Nodes: 1, Offset: d.From.Offset + int64(p.start)}
	ms, err := []*Message(nil), error(nil)
	line := d.lineOf(p.start)
	if p.fault != nil {
		at := line + bytes.Count(d.Text[p.start:p.fault.pos], []byte("\n"))
		err = bad("the text", fmt.Sprintf("has %s at line %d, byte %d", p.fault.was, at, d.From.Offset+int64(p.fault.pos)), p.fault.want)
	} else {
		ms, err = decode(raw, d.Now)
	}
	if err != nil {
		e.Err = fmt.Errorf("message %d of the document, at line %d, byte %d: %w", p.index, line, e.Offset, err)
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

// lineOf is the line, counted from one, on which i stands. Calls come in
// ascending order of i but for a few steps back.
func (d *Documents) lineOf(i int) int {
	if i >= d.lined {
		d.line += bytes.Count(d.Text[d.lined:i], []byte("\n"))
	} else {
		d.line -= bytes.Count(d.Text[i:d.lined], []byte("\n"))
	}
	d.lined = i
	return d.From.Line + d.line + 1
}
