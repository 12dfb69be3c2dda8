package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/subject"
)

// MaxNodes is how many nodes one message object may name in toNodes.
const MaxNodes = 10_000

// fieldNames lists what may stand in a message object, in the order of the docs.
func fieldNames() []string {
	return []string{
		"toNode", "toNodes", "data", "commandOrEvent", "method", "timeout", "ackTimeout", "retries", "methodTimeout",
		"expires", "onUnknown", "replyTo", "replyMethod", "directory", "fileName", "labels",
	}
}

// draft is a message object while it is being read.
type draft struct {
	now   time.Time
	m     Message
	nodes []string
	seen  []string
	at    []int // where the values of seen stand
}

// decode reads one value that scanValue accepted: one message for each node. Of an
// error it tells where in raw it is.
func decode(raw []byte, now time.Time) (ms []*Message, at int, err error) {
	if raw[0] != '{' {
		return nil, 0, bad("the message", value{raw: raw}.was(), "an object like {\"toNode\": \"ship1\", …}")
	}
	d := draft{now: now}
	if err = members(raw, 0, d.set); err == nil {
		ms, err = d.messages()
	}
	if err != nil {
		return nil, d.where(err), err
	}
	return ms, 0, nil
}

// where is the place of what err is about, or the beginning of the message.
func (d *draft) where(err error) int {
	var f *flaw
	if !errors.As(err, &f) {
		return 0
	}
	if f.placed {
		return f.at
	}
	name, _, _ := strings.Cut(f.field, "[")
	if i := slices.Index(d.seen, name); i >= 0 {
		return d.at[i]
	}
	return 0
}

// messages are what the whole object stands for.
func (d *draft) messages() ([]*Message, error) {
	if err := d.complete(); err != nil {
		return nil, err
	}
	if d.nodes == nil {
		return []*Message{&d.m}, d.m.Validate()
	}
	ms := make([]*Message, len(d.nodes))
	for i, n := range d.nodes {
		m := d.m
		m.ToNode, ms[i] = n, &m
		if i == 0 {
			if err := m.Validate(); err != nil {
				return nil, err
			}
		}
	}
	return ms, nil
}

// set takes one member of the object.
func (d *draft) set(key string, v value) error {
	if slices.Contains(d.seen, key) {
		return v.bad("is there twice", "once")
	}
	d.seen, d.at = append(d.seen, key), append(d.at, v.at)
	m := &d.m
	var err error
	switch key {
	case "toNode":
		m.ToNode, err = v.text()
	case "toNodes":
		d.nodes, err = v.texts(MaxNodes)
	case "data":
		m.Data, err = v.texts(MaxData)
	case "commandOrEvent":
		var k string
		k, err = v.text()
		m.Kind = subject.Kind(k)
	case "method":
		m.Method, err = v.text()
	case "timeout", "ackTimeout":
		m.AckTimeout, err = v.duration(MaxTimeout)
	case "retries":
		m.Retries, err = v.count(MaxRetries)
	case "methodTimeout":
		m.MethodTimeout, err = v.duration(MaxTimeout)
	case "expires":
		m.Expires, err = v.moment(d.now)
	default:
		return d.setRare(key, v)
	}
	return err
}

func (d *draft) setRare(key string, v value) error {
	m := &d.m
	var err error
	switch key {
	case "onUnknown":
		var s string
		s, err = v.text()
		m.OnUnknown = OnUnknown(s)
	case "replyTo":
		m.ReplyTo, err = v.text()
	case "replyMethod":
		m.ReplyMethod, err = v.text()
	case "directory":
		m.Directory, err = v.text()
	case "fileName":
		m.FileName, err = v.text()
	case "labels":
		m.Labels, err = v.pairs()
	default:
		return unknownField(key, v)
	}
	return err
}

// complete checks what concerns the object as a whole.
func (d *draft) complete() error {
	has := func(f string) bool { return slices.Contains(d.seen, f) }
	switch {
	case has("toNode") && has("toNodes"):
		return bad("toNodes", "stands beside toNode", "one of the two")
	case !has("toNode") && !has("toNodes"):
		return bad("toNode", "is missing", "the name of a node, or toNodes with several")
	case has("timeout") && has("ackTimeout"):
		return bad("ackTimeout", "stands beside timeout, which is the same", "one of the two")
	}
	for _, f := range []struct{ name, want string }{
		{"data", "a list of strings, [] where the method needs none"},
		{"commandOrEvent", "CommandACK, CommandNACK, EventACK or EventNACK"},
		{"method", "the name of a method"},
	} {
		if !has(f.name) {
			return bad(f.name, "is missing", f.want)
		}
	}
	if err := d.completeNodes(); err != nil {
		return err
	}
	if n := d.m.textBytes(); n > MaxBodyBytes {
		return bad("the message", fmt.Sprintf("has %d bytes of text", n), fmt.Sprintf("at most %d", MaxBodyBytes))
	}
	return nil
}

func (d *draft) completeNodes() error {
	if d.nodes == nil {
		return nil
	}
	if len(d.nodes) == 0 {
		return bad("toNodes", "is an empty list", "at least one node")
	}
	if len(d.nodes) > MaxNodes {
		return bad("toNodes", fmt.Sprintf("has more than %d nodes", MaxNodes), fmt.Sprintf("at most %d", MaxNodes))
	}
	met := make(map[string]int, len(d.nodes))
	for i, n := range d.nodes {
		if err := subject.ValidateNode(n); err != nil {
			return &flaw{field: fmt.Sprintf("toNodes[%d]", i), err: err}
		}
		if j, twice := met[n]; twice {
			return bad(fmt.Sprintf("toNodes[%d]", i), fmt.Sprintf("is %q, as is toNodes[%d]", n, j), "each node once")
		}
		met[n] = i
	}
	return nil
}

// textBytes is a lower bound of m's encoded size.
func (m *Message) textBytes() int {
	n := 0
	for _, s := range m.Data {
		n += len(s)
	}
	for k, v := range m.Labels {
		n += len(k) + len(v)
	}
	return n + len(m.Directory) + len(m.FileName)
}

func unknownField(key string, v value) error {
	v.field = "the message"
	names := fieldNames()
	want := "one of " + strings.Join(names, ", ")
	for _, n := range names {
		if strings.EqualFold(n, key) {
			return v.bad("has an unknown field "+quoteSome([]byte(key)), fmt.Sprintf("%q (upper and lower case count)", n))
		}
	}
	if near := Nearest(key, names); near != "" {
		want = fmt.Sprintf("%q, or another of %s", near, strings.Join(names, ", "))
	}
	return v.bad("has an unknown field "+quoteSome([]byte(key)), want)
}
