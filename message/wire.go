package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/subject"
)

// The content types of the wire: CloudEvents 1.0, structured JSON, one event or
// the JSON batch format. See https://github.com/cloudevents/spec.
const (
	ContentEvent = "application/cloudevents+json"
	ContentBatch = "application/cloudevents-batch+json"
)

// TypePrefix begins the CloudEvents type of every message; kind and method follow.
const TypePrefix = "steward.v1."

// typeVoid is the type of an event that travels in the place of a message that
// its sender gave up.
const typeVoid = TypePrefix + "Void"

// ErrMalformed is wrapped by every error about bytes that are no event of ours.
var ErrMalformed = errors.New("malformed event")

// The head of an encoded message has a fixed width, so that the place, which is
// only known inside the transaction that accepts it, can be written into it.
const (
	headSeq   = `{"specversion":"1.0","sequence":"`
	headEpoch = `","stewepoch":"`
	seqWidth  = 20
	seqAt     = len(headSeq)
	epochAt   = seqAt + seqWidth + len(headEpoch)
	idAt      = epochAt + 36 + len(`","id":"`)
)

// Encode writes m as one CloudEvent in structured JSON. Its place may be stamped
// later.
func (m *Message) Encode(prefix string) ([]byte, error) {
	b := make([]byte, 0, 640+m.dataSize())
	b = appendHead(b, m.Place, m.ID)
	b = append(b, `,"source":"`...)
	b = append(b, m.FromNode...)
	b = append(b, `","type":"`+TypePrefix...)
	b = append(append(append(b, m.Kind...), '.'), m.Method...)
	b = append(b, `","subject":"`...)
	b = append(b, m.ToNode...)
	b = append(b, `","time":"`...)
	b = m.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","expirytime":"`...)
	b = m.Expires.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","partitionkey":"`...)
	b = append(b, m.Subject(prefix).String()...)
	b = append(b, `","datacontenttype":"application/json"`...)
	if m.CausationID != uuid.Nil {
		b = append(b, `,"causationid":"`...)
		b = append(appendUUID(b, m.CausationID), '"')
	}
	b = append(b, `,"data":{`...)
	b, err := m.appendBody(b)
	return append(b, "}}"...), err
}

func (m *Message) dataSize() (n int) {
	for _, d := range m.Data {
		n += len(d) + 8
	}
	if m.Result != nil {
		n += 256 + len(m.Result.Stdout) + len(m.Result.Stderr)
	}
	return n
}

func appendHead(b []byte, p Place, id uuid.UUID) []byte {
	b = append(b, headSeq...)
	b = appendSeq(b, p.Seq)
	b = append(b, headEpoch...)
	b = appendUUID(b, p.Epoch)
	b = append(b, `","id":"`...)
	return append(appendUUID(b, id), '"')
}

// appendBody writes the fields of the data object, without its braces.
func (m *Message) appendBody(b []byte) ([]byte, error) {
	b = append(b, `"data":[`...)
	for i, d := range m.Data {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, d)
	}
	b = append(b, ']')
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"timeout", m.AckTimeout}, {"methodTimeout", m.MethodTimeout}} {
		if d.d > 0 {
			b = append(append(append(append(b, `,"`...), d.key...), `":"`...), d.d.String()...)
			b = append(b, '"')
		}
	}
	if m.Retries > 0 {
		b = strconv.AppendInt(append(b, `,"retries":`...), int64(m.Retries), 10)
	}
	for _, s := range []struct{ key, value string }{
		{"onUnknown", string(m.OnUnknown)}, {"replyTo", m.ReplyTo}, {"replyMethod", m.ReplyMethod},
		{"directory", m.Directory}, {"fileName", m.FileName},
	} {
		if s.value != "" {
			b = append(append(append(b, `,"`...), s.key...), `":`...)
			b = appendString(b, s.value)
		}
	}
	if len(m.Labels) > 0 {
		l, err := json.Marshal(m.Labels)
		if err != nil {
			return b, err
		}
		b = append(append(b, `,"labels":`...), l...)
	}
	if m.Result != nil {
		return m.Result.appendTo(append(b, `,"result":`...))
	}
	return b, nil
}

// Stamp writes p into a message that Encode wrote, in place.
func Stamp(encoded []byte, p Place) {
	appendSeq(encoded[:seqAt], p.Seq)
	appendUUID(encoded[:epochAt], p.Epoch)
}

// EncodeVoid is the event that travels in the place of a message that its
// sender gave up: the receiver is never to accept it.
func EncodeVoid(prefix string, id uuid.UUID, p Place, from string) []byte {
	b := appendHead(nil, p, id)
	b = append(b, `,"source":"`...)
	b = append(b, from...)
	return append(b, `","type":"`+typeVoid+`","datacontenttype":"application/json"}`...)
}

// Join makes the payload of a request out of encoded messages, and its content type.
func Join(encoded [][]byte) (payload []byte, contentType string) {
	if len(encoded) == 1 {
		return encoded[0], ContentEvent
	}
	n := 2
	for _, e := range encoded {
		n += len(e) + 1
	}
	payload = append(make([]byte, 0, n), '[')
	for i, e := range encoded {
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = append(payload, e...)
	}
	return append(payload, ']'), ContentBatch
}

// Split undoes Join without looking into the events: each part is one JSON
// object. It fails on anything else than one object or an array of objects.
func Split(payload []byte) ([][]byte, error) {
	b := bytes.TrimSpace(payload)
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] == '{' {
		return [][]byte{b}, nil
	}
	if b[0] != '[' || b[len(b)-1] != ']' {
		return nil, fmt.Errorf("%w: a request holds one event or an array of events", ErrMalformed)
	}
	var out [][]byte
	for b = bytes.TrimLeft(b[1:], " \t\r\n"); len(b) > 0 && b[0] != ']'; {
		n := objectEnd(b)
		if n < 0 {
			return nil, fmt.Errorf("%w: event %d of the batch does not end", ErrMalformed, len(out)+1)
		}
		out = append(out, b[:n:n])
		b = bytes.TrimLeft(b[n:], " \t\r\n")
		if len(b) > 0 && b[0] == ',' {
			b = bytes.TrimLeft(b[1:], " \t\r\n")
		} else if len(b) != 1 {
			return nil, fmt.Errorf("%w: event %d of the batch is followed by %.10q", ErrMalformed, len(out), b)
		}
	}
	if len(b) != 1 {
		return nil, fmt.Errorf("%w: the batch is followed by %.10q", ErrMalformed, b[1:])
	}
	return out, nil
}

// objectEnd is the length of the JSON object that b begins with, or -1.
func objectEnd(b []byte) int {
	if len(b) == 0 || b[0] != '{' {
		return -1
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}

// event is the structured form as Decode reads it. Unknown extensions are
// ignored, as CloudEvents asks.
type event struct {
	SpecVersion string          `json:"specversion"`
	Sequence    string          `json:"sequence"`
	Epoch       string          `json:"stewepoch"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        time.Time       `json:"time"`
	Expiry      time.Time       `json:"expirytime"`
	CausationID string          `json:"causationid"`
	Data        json.RawMessage `json:"data"`
}

type payload struct {
	Data          []string          `json:"data"`
	Timeout       string            `json:"timeout"`
	Retries       int               `json:"retries"`
	MethodTimeout string            `json:"methodTimeout"`
	OnUnknown     OnUnknown         `json:"onUnknown"`
	ReplyTo       string            `json:"replyTo"`
	ReplyMethod   string            `json:"replyMethod"`
	Directory     string            `json:"directory"`
	FileName      string            `json:"fileName"`
	Labels        map[string]string `json:"labels"`
	Result        *Result           `json:"result"`
}

// Decoded is one event of a request.
type Decoded struct {
	Message *Message // nil for a void
	ID      uuid.UUID
	Place   Place
	From    string
	Void    bool
	Plain   bool // without a place: an event of a client that is no steward
}

// Decode reads one event that came on s. A plain CloudEvent, which has no place,
// is read too: its data may be our data object, a list of strings or a string.
// Errors wrap ErrMalformed or ErrInvalid.
func Decode(b []byte, s subject.Subject) (d Decoded, err error) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e.decode(s)
}

func (e *event) decode(s subject.Subject) (d Decoded, err error) {
	if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Type == "" {
		return d, fmt.Errorf("%w: a CloudEvent has specversion 1.0, id, source and type; got %.20q, %.40q, %.40q, %.40q", ErrMalformed, e.SpecVersion, e.ID, e.Source, e.Type)
	}
	if d.From = e.Source; e.Epoch == "" && e.Sequence == "" {
		return e.plain(d, s)
	}
	if d.ID, err = uuid.Parse(e.ID); err == nil {
		d.Place.Epoch, err = uuid.Parse(e.Epoch)
	}
	if err == nil {
		d.Place.Seq, err = strconv.ParseUint(e.Sequence, 10, 64)
	}
	if err != nil {
		return d, fmt.Errorf("%w: id, stewepoch or sequence: %w", ErrMalformed, err)
	}
	if d.Void = e.Type == typeVoid; d.Void {
		return d, nil
	}
	if want := TypePrefix + string(s.Kind) + "." + s.Method; e.Type != want || e.Subject != s.Node {
		return d, fmt.Errorf("%w: event %s for %q came on the subject of %q", ErrMalformed, e.Type, e.Subject, s)
	}
	d.Message, err = e.message(d, s)
	return d, err
}

// plain gives an event of another client the identity that a repeat of it will
// have again: CloudEvents says that source and id together are unique.
func (e *event) plain(d Decoded, s subject.Subject) (Decoded, error) {
	d.Plain = true
	d.ID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(e.Source+"\x00"+e.ID))
	if subject.ValidateNode(d.From) != nil {
		d.From = "external"
	}
	var lines []string
	var line string
	if json.Unmarshal(e.Data, &lines) == nil {
		e.Data, _ = json.Marshal(payload{Data: lines})
	} else if json.Unmarshal(e.Data, &line) == nil {
		e.Data, _ = json.Marshal(payload{Data: []string{line}})
	}
	var err error
	d.Message, err = e.message(d, s)
	return d, err
}

func (e *event) message(d Decoded, s subject.Subject) (*Message, error) {
	var p payload
	if len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &p); err != nil {
			return nil, fmt.Errorf("%w: data: %w", ErrMalformed, err)
		}
	}
	m := &Message{
		ToNode: s.Node, Kind: s.Kind, Method: s.Method, Data: p.Data, Retries: p.Retries, Expires: e.Expiry,
		OnUnknown: p.OnUnknown, ReplyTo: p.ReplyTo, ReplyMethod: p.ReplyMethod, Directory: p.Directory,
		FileName: p.FileName, Labels: p.Labels, ID: d.ID, FromNode: d.From, Place: d.Place, Time: e.Time, Result: p.Result,
	}
	var err error
	if e.CausationID != "" {
		if m.CausationID, err = uuid.Parse(e.CausationID); err != nil {
			return nil, fmt.Errorf("%w: causationid: %w", ErrMalformed, err)
		}
	}
	for _, t := range []struct {
		s string
		d *time.Duration
	}{{p.Timeout, &m.AckTimeout}, {p.MethodTimeout, &m.MethodTimeout}} {
		if t.s == "" {
			continue
		}
		if *t.d, err = time.ParseDuration(t.s); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	if err := subject.ValidateNode(m.FromNode); err != nil {
		return nil, fmt.Errorf("%w: source: %w", ErrMalformed, err)
	}
	return m, m.Validate()
}

// DecodeStored reads a message that Encode wrote, whatever its subject.
func DecodeStored(b []byte) (*Message, error) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	kind, method, ok := strings.Cut(strings.TrimPrefix(e.Type, TypePrefix), ".")
	if !ok {
		return nil, fmt.Errorf("%w: type %q", ErrMalformed, e.Type)
	}
	d, err := e.decode(subject.Subject{Node: e.Subject, Kind: subject.Kind(kind), Method: method})
	return d.Message, err
}

func appendSeq(b []byte, n uint64) []byte {
	var d [seqWidth]byte
	for i := seqWidth - 1; i >= 0; i-- {
		d[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, d[:]...)
}

func appendUUID(b []byte, id uuid.UUID) []byte {
	const hex = "0123456789abcdef"
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hex[c>>4], hex[c&15])
	}
	return b
}

// appendString writes s as a JSON string; s is valid UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			continue
		}
		if c >= utf8.RuneSelf {
			continue // Validate saw to it that it is UTF-8
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(append(b, s[from:]...), '"')
}
