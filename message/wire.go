package message

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
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
	return m.Append(make([]byte, 0, m.Size()), prefix)
}

// Append is Encode, behind what b holds.
func (m *Message) Append(b []byte, prefix string) ([]byte, error) {
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

// Size is about how many bytes Encode writes.
func (m *Message) Size() int {
	n := 512
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

// Join makes the payload of a request out of encoded messages, and its content
// type. Each element of encoded is its copy in the payload afterwards.
func Join(encoded [][]byte) (payload []byte, contentType string) {
	n := 2
	for _, e := range encoded {
		n += len(e) + 1
	}
	payload = append(make([]byte, 0, n), '[')
	for i, e := range encoded {
		if i > 0 {
			payload = append(payload, ',')
		}
		at := len(payload)
		payload = append(payload, e...)
		encoded[i] = payload[at:len(payload):len(payload)]
	}
	if len(encoded) == 1 {
		return encoded[0], ContentEvent
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
				if i += plain(b[i:]); i < len(b) && b[i] == '"' {
					break
				}
				if i < len(b) && b[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
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
func appendString[T string | []byte | Text](b []byte, s T) []byte {
	b = append(b, '"')
	from := 0
	for i := plain([]byte(s)); i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
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

// plain is how many bytes at the front of s stand for themselves in a JSON
// string: printable ASCII, but for the quote and the backslash. It looks at eight
// bytes at a time, with the zero-byte test of Warren's "Hacker's Delight", 6-1.
func plain(s []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		quote, slash := w^'"'*ones, w^'\\'*ones
		if (w|(w-' '*ones)|(quote-ones)|(slash-ones))&highs != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] < 0x80 && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}
