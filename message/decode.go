package message

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/subject"
)

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

	read bool // what Data holds is in body already
	body payload
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

	result string // the JSON of Result, if it was read the short way
}

// Decoded is one event of a request.
type Decoded struct {
	Message *Message // nil for a void
	ID      uuid.UUID
	Place   Place
	From    string
	Void    bool
	Plain   bool // without a place: an event of a client that is no steward

	result string
}

// ResultJSON is the result of the message, which has one, as DecodeResult reads it.
func (d Decoded) ResultJSON() ([]byte, error) {
	if d.result != "" {
		return []byte(d.result), nil
	}
	return d.Message.Result.appendTo(nil)
}

// DecodeResult reads what ResultJSON gives. Errors wrap ErrMalformed.
func DecodeResult(b []byte) (*Result, error) {
	c := scanner{rest: string(b)}
	if c.has("{") {
		if r := c.result(); !c.failed && c.rest == "" {
			return r, nil
		}
	}
	r := new(Result)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: result: %w", ErrMalformed, err)
	}
	return r, nil
}

// Decode reads one event that came on s. A plain CloudEvent, which has no place,
// is read too: its data may be our data object, a list of strings or a string.
// Errors wrap ErrMalformed or ErrInvalid.
func Decode(b []byte, s subject.Subject) (d Decoded, err error) {
	e, err := read(b)
	if err != nil {
		return d, err
	}
	return e.decode(s)
}

// read parses an event: one in the form that Encode writes the short way, any
// other as JSON.
func read(b []byte) (*event, error) {
	if e, ok := scan(string(b)); ok {
		return e, nil
	}
	e := new(event)
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e, nil
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
		return d, fmt.Errorf("%w: event %.200q for %.200q came on the subject of %q", ErrMalformed, e.Type, e.Subject, s)
	}
	d.Message, err = e.message(d, s)
	d.result = e.body.result
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
	p := &e.body
	if !e.read && len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, p); err != nil {
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
	e, err := read(b)
	if err != nil {
		return nil, err
	}
	kind, method, ok := strings.Cut(strings.TrimPrefix(e.Type, TypePrefix), ".")
	if !ok {
		return nil, fmt.Errorf("%w: type %.200q", ErrMalformed, e.Type)
	}
	d, err := e.decode(subject.Subject{Node: e.Subject, Kind: subject.Kind(kind), Method: method})
	return d.Message, err
}
