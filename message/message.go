// Package message is what travels: a Message, the limits that every message
// keeps, the documents in which operators write messages, and the CloudEvents
// form in which they cross the wire and rest on disk.
package message

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/subject"
)

// ErrInvalid is wrapped by every error about a message that may not enter the system.
var ErrInvalid = errors.New("invalid message")

// Limits that hold everywhere, whatever the configuration says.
const (
	MaxData      = 4096                 // strings in Data
	MaxLabels    = 64                   // pairs in Labels
	MaxLifetime  = 366 * 24 * time.Hour // longest Expires
	MaxTimeout   = 7 * 24 * time.Hour   // longest ack or method timeout
	MaxRetries   = 1_000_000
	DefaultLife  = 7 * 24 * time.Hour // Expires where a message names none
	DefaultRun   = 10 * time.Minute   // MethodTimeout where a message names none
	MaxBodyBytes = 1 << 20            // encoded size where the broker allows more
)

// Methods whose names other parts know.
const (
	MethodResult      = "Result"      // carries what a handler made of a command back to its sender
	MethodErrorLog    = "ErrorLog"    // carries a failure to central
	MethodSayHello    = "SayHello"    // presence
	MethodTextLogging = "TextLogging" // lines for a file
)

// OnUnknown says what a receiver does with a command that it had started when
// it died.
type OnUnknown string

const (
	Report OnUnknown = "report" // end as unknown; the default
	Rerun  OnUnknown = "rerun"  // run it again
)

// Place is a message's identity on its subject: the sender's epoch when it was
// accepted, and its number in the sender's one counter. Places of one sender
// are totally ordered and never reused. The zero Place is before all others.
type Place struct {
	Epoch uuid.UUID `json:"epoch"`
	Seq   uint64    `json:"seq"`
}

// Compare orders places: by epoch, then by number.
func (p Place) Compare(q Place) int {
	if c := bytes.Compare(p.Epoch[:], q.Epoch[:]); c != 0 {
		return c
	}
	switch {
	case p.Seq < q.Seq:
		return -1
	case p.Seq > q.Seq:
		return 1
	}
	return 0
}

// IsZero reports whether p is before every message.
func (p Place) IsZero() bool { return p == Place{} }

func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Epoch, p.Seq) }

// Message is what one node asks of, or tells, another.
type Message struct {
	// What the submitter writes.
	ToNode        string
	Kind          subject.Kind // "commandOrEvent" in a document
	Method        string
	Data          []string
	AckTimeout    time.Duration // wait for one ack; 0: the node's default
	Retries       int           // attempts after the first; 0: the node's default
	MethodTimeout time.Duration // bound of the run; 0: DefaultRun
	Expires       time.Time     // end of the lifetime; zero: DefaultLife after acceptance
	OnUnknown     OnUnknown     // empty: Report
	ReplyTo       string        // node that gets a method's reply; empty: FromNode
	ReplyMethod   string        // method of that reply; empty: Result
	Directory     string        // relative folder for methods that write files
	FileName      string        // file for methods that write files
	Labels        map[string]string

	// What the accepting node fills in.
	ID       uuid.UUID // UUIDv7
	FromNode string
	Place    Place
	Time     time.Time // of acceptance

	// What messages about other messages carry.
	CausationID uuid.UUID // the command that a Result answers, or the message that a resend repeats
	Result      *Result   // only in a Result
}

// Subject is where m travels, under prefix.
func (m *Message) Subject(prefix string) subject.Subject {
	return subject.Subject{Prefix: prefix, Node: m.ToNode, Kind: m.Kind, Method: m.Method}
}

// Repeat is a new message that asks for the same as m, lives as long from now,
// and names m. The accepting node fills in the rest.
func (m *Message) Repeat(now time.Time) *Message {
	r := *m
	r.CausationID, r.ID, r.FromNode, r.Place, r.Time, r.Expires, r.Result = m.ID, uuid.Nil, "", Place{}, time.Time{}, time.Time{}, nil
	if life := m.Expires.Sub(m.Time); !m.Expires.IsZero() && life > 0 {
		r.Expires = now.Add(life)
	}
	return &r
}

// RoadsOwn reports whether m is a message of the road itself, which no operator
// submits.
func (m *Message) RoadsOwn() bool {
	return m.Method == MethodResult || m.Method == MethodErrorLog || m.Method == MethodSayHello
}

// Policy is the schedule of m's attempts, with the node's defaults where m is silent.
func (m *Message) Policy(def ack.Policy) ack.Policy {
	if m.AckTimeout > 0 {
		def.Timeout = m.AckTimeout
	}
	if m.Retries > 0 {
		def.Retries = m.Retries
	}
	return def
}

// RunLimit is how long a handler may work on m.
func (m *Message) RunLimit() time.Duration {
	if m.MethodTimeout > 0 {
		return m.MethodTimeout
	}
	return DefaultRun
}

// Result is what a handler made of a message. Stdout and Stderr are cut at the
// method's limit; StdoutBytes and StderrBytes tell the true lengths.
type Result struct {
	Outcome     ack.Outcome `json:"outcome"`
	ExitCode    *int        `json:"exitCode,omitempty"` // only where a process ended by itself
	Stdout      Text        `json:"stdout,omitzero"`
	Stderr      Text        `json:"stderr,omitzero"`
	StdoutBytes int64       `json:"stdoutBytes,omitempty"`
	StderrBytes int64       `json:"stderrBytes,omitempty"`
	Truncated   bool        `json:"truncated,omitempty"` // Stdout or Stderr is shorter than its length says
	Error       string      `json:"error,omitempty"`     // why it failed, or why nobody knows
	HTTP        *HTTP       `json:"http,omitempty"`      // what HTTPGet got; the body is Stdout
	ReceivedAt  time.Time   `json:"receivedAt,omitzero"` // by the receiver's clock, as are the next two
	StartedAt   time.Time   `json:"startedAt,omitzero"`
	EndedAt     time.Time   `json:"endedAt,omitzero"`
	Attempt     int         `json:"attempt,omitempty"` // the run that this is the result of; 0 and 1 are the first
}

// HTTP is the head of a response.
type HTTP struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"`

	HeaderTruncated bool `json:"headerTruncated,omitempty"` // there were more or longer ones
}

// Validate reports the first field of m that breaks a rule that every node can
// check: what was there, and what is allowed. Errors wrap ErrInvalid.
func (m *Message) Validate() error {
	if err := m.validateAddress(); err != nil {
		return err
	}
	if len(m.Data) > MaxData {
		return bad("data", fmt.Sprintf("has %d strings", len(m.Data)), fmt.Sprintf("at most %d", MaxData))
	}
	for i, d := range m.Data {
		if err := text(fmt.Sprintf("data[%d]", i), d); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"timeout", m.AckTimeout}, {"methodTimeout", m.MethodTimeout}} {
		if d.value < 0 || d.value > MaxTimeout {
			return bad(d.field, fmt.Sprintf("is %s", d.value), fmt.Sprintf("0s to %s", MaxTimeout))
		}
	}
	if m.Retries < 0 || m.Retries > MaxRetries {
		return bad("retries", fmt.Sprintf("is %d", m.Retries), fmt.Sprintf("0 to %d", MaxRetries))
	}
	if m.OnUnknown != "" && m.OnUnknown != Report && m.OnUnknown != Rerun {
		return bad("onUnknown", fmt.Sprintf("is %.200q", m.OnUnknown), `"report" or "rerun"`)
	}
	return m.validateNames()
}

func (m *Message) validateAddress() error {
	if err := subject.ValidateNode(m.ToNode); err != nil {
		return &flaw{field: "toNode", err: err}
	}
	if !m.Kind.Valid() {
		return bad("commandOrEvent", fmt.Sprintf("is %.200q", m.Kind), "CommandACK, CommandNACK, EventACK or EventNACK")
	}
	if err := subject.ValidateMethod(m.Method); err != nil {
		return &flaw{field: "method", err: err}
	}
	if m.ReplyTo != "" {
		if err := subject.ValidateNode(m.ReplyTo); err != nil {
			return &flaw{field: "replyTo", err: err}
		}
	}
	if m.ReplyMethod != "" {
		if err := subject.ValidateMethod(m.ReplyMethod); err != nil {
			return &flaw{field: "replyMethod", err: err}
		}
	}
	return nil
}

func (m *Message) validateNames() error {
	if m.FileName != "" && (m.FileName != path.Base(m.FileName) || m.FileName == "." || m.FileName == ".." || strings.ContainsAny(m.FileName, "\\\x00")) {
		return bad("fileName", fmt.Sprintf("is %.200q", m.FileName), "one name without a folder")
	}
	if m.Directory != "" && (path.IsAbs(m.Directory) || path.Clean(m.Directory) != m.Directory || strings.HasPrefix(m.Directory, "..") || strings.ContainsAny(m.Directory, "\\\x00")) {
		return bad("directory", fmt.Sprintf("is %.200q", m.Directory), "a relative path without . and ..")
	}
	if len(m.Labels) > MaxLabels {
		return bad("labels", fmt.Sprintf("has %d pairs", len(m.Labels)), fmt.Sprintf("at most %d", MaxLabels))
	}
	for _, s := range []struct{ field, value string }{{"directory", m.Directory}, {"fileName", m.FileName}} {
		if err := text(s.field, s.value); err != nil {
			return err
		}
	}
	for k, v := range m.Labels {
		if k == "" || len(k) > 63 || len(v) > 255 {
			return bad("labels", fmt.Sprintf("has %.200q: %.200q", k, v), "keys of 1 to 63 bytes, values of up to 255")
		}
		if err := errors.Join(text("labels", k), text("labels", v)); err != nil {
			return err
		}
	}
	return nil
}

// text refuses what no terminal, file or argv can carry.
func text(field, s string) error {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return bad(field, fmt.Sprintf("has a NUL at byte %d", i), "text without NUL")
	}
	if !utf8.ValidString(s) {
		return bad(field, "is not UTF-8", "valid UTF-8")
	}
	return nil
}

// flaw is what is wrong with a message. It wraps ErrInvalid.
type flaw struct {
	field, was, want string
	err              error // instead of was and want: what the field's own rules say
	at               int   // where in its text, if placed
	placed           bool
}

func (f *flaw) Error() string {
	if f.err != nil {
		return fmt.Sprintf("%v: %s: %v", ErrInvalid, f.field, f.err)
	}
	return fmt.Sprintf("%v: %s %s: want %s", ErrInvalid, f.field, f.was, f.want)
}

func (f *flaw) Unwrap() []error {
	if f.err != nil {
		return []error{ErrInvalid, f.err}
	}
	return []error{ErrInvalid}
}

func bad(field, was, want string) error { return &flaw{field: field, was: was, want: want} }
