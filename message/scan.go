package message

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/steward-bus/steward/ack"
)

// scan reads an event in exactly the form that Encode writes, many times as fast
// as a general parser: each message is read four times on its road. ok is false
// for any other form, which may be a good event all the same. The strings of the
// event point into s.
func scan(s string) (e *event, ok bool) {
	c := scanner{rest: s}
	e = &event{SpecVersion: "1.0", read: true}
	e.Sequence = c.after(headSeq)
	e.Epoch = c.after(`,"stewepoch":"`)
	e.ID = c.after(`,"id":"`)
	e.Source = c.after(`,"source":"`)
	e.Type = c.after(`,"type":"`)
	e.Subject = c.after(`,"subject":"`)
	e.Time = c.time(`,"time":"`)
	e.Expiry = c.time(`,"expirytime":"`)
	c.after(`,"partitionkey":"`)
	c.want(`,"datacontenttype":"application/json"`)
	if c.has(`,"causationid":"`) {
		e.CausationID = c.text()
	}
	c.want(`,"data":{"data":[`)
	e.body = c.body()
	c.want(`}}`)
	return e, !c.failed && c.rest == ""
}

// scanner takes a text apart from the front. Once it has failed it finds nothing
// more.
type scanner struct {
	rest   string
	failed bool
}

func (c *scanner) fail() { c.rest, c.failed = "", true }

// has takes lit if it comes next.
func (c *scanner) has(lit string) bool {
	if len(c.rest) < len(lit) || c.rest[:len(lit)] != lit {
		return false
	}
	c.rest = c.rest[len(lit):]
	return true
}

func (c *scanner) want(lit string) {
	if !c.has(lit) {
		c.fail()
	}
}

// after is the string that follows lit, which ends with its opening quote.
func (c *scanner) after(lit string) string {
	c.want(lit)
	return c.text()
}

// text takes a string whose opening quote was taken.
func (c *scanner) text() string {
	ascii := true
	for i := plain([]byte(c.rest)); i < len(c.rest); i++ {
		switch b := c.rest[i]; {
		case b == '"':
			s := c.rest[:i]
			c.rest = c.rest[i+1:]
			if !ascii && !utf8.ValidString(s) {
				c.fail()
			}
			return s
		case b == '\\':
			return c.escaped()
		case b < 0x20:
			c.fail()
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	c.fail()
	return ""
}

// escaped takes a string that has escapes, of those that appendString writes.
func (c *scanner) escaped() string {
	var out []byte
	for i := 0; i < len(c.rest); i++ {
		b := c.rest[i]
		switch {
		case b == '"':
			c.rest = c.rest[i+1:]
			if !utf8.Valid(out) {
				c.fail()
			}
			return string(out)
		case b < 0x20:
			c.fail()
		case b != '\\':
			out = append(out, b)
		default:
			n, ok := unescape(c.rest[i+1:], &out)
			if !ok {
				c.fail()
			}
			i += n
		}
	}
	c.fail()
	return ""
}

// unescape adds the character whose escape, without its backslash, begins s, and
// returns the length of that.
func unescape(s string, out *[]byte) (n int, ok bool) {
	if s == "" {
		return 0, false
	}
	switch s[0] {
	case '"', '\\':
		*out = append(*out, s[0])
	case 'n':
		*out = append(*out, '\n')
	case 't':
		*out = append(*out, '\t')
	case 'r':
		*out = append(*out, '\r')
	case 'u':
		if len(s) < 5 || s[1] != '0' || s[2] != '0' {
			return 0, false
		}
		b, err := strconv.ParseUint(s[3:5], 16, 7)
		*out = append(*out, byte(b))
		return 5, err == nil
	default:
		return 0, false
	}
	return 1, true
}

func (c *scanner) time(lit string) (t time.Time) {
	if t.UnmarshalText([]byte(c.after(lit))) != nil {
		c.fail()
	}
	return t
}

// body takes the fields of the data object, from the first string of its data
// on, up to its closing brace.
func (c *scanner) body() (p payload) {
	for more := !c.has("]"); more && !c.failed; {
		p.Data = append(p.Data, c.after(`"`))
		if more = c.has(","); !more {
			c.want("]")
		}
	}
	for _, f := range []struct {
		key string
		at  *string
	}{{`,"timeout":"`, &p.Timeout}, {`,"methodTimeout":"`, &p.MethodTimeout}} {
		if c.has(f.key) {
			*f.at = c.text()
		}
	}
	if c.has(`,"retries":`) {
		p.Retries = int(c.number())
	}
	if c.has(`,"onUnknown":"`) {
		p.OnUnknown = OnUnknown(c.text())
	}
	for _, f := range []struct {
		key string
		at  *string
	}{{`,"replyTo":"`, &p.ReplyTo}, {`,"replyMethod":"`, &p.ReplyMethod}, {`,"directory":"`, &p.Directory}, {`,"fileName":"`, &p.FileName}} {
		if c.has(f.key) {
			*f.at = c.text()
		}
	}
	if from := c.rest; c.has(`,"result":{`) {
		p.Result = c.result()
		p.result = from[len(`,"result":`) : len(from)-len(c.rest)]
	}
	return p
}

func (c *scanner) number() int64 {
	n := 0
	for n < len(c.rest) && ('0' <= c.rest[n] && c.rest[n] <= '9' || n == 0 && c.rest[0] == '-') {
		n++
	}
	v, err := strconv.ParseInt(c.rest[:n], 10, 64)
	if err != nil || n > 1 && (c.rest[0] == '0' || c.rest[0] == '-' && c.rest[1] == '0') {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

// result takes a result as Result.appendTo writes it, with its closing brace.
func (c *scanner) result() *Result {
	r := &Result{Outcome: ack.Outcome(c.after(`"outcome":"`))}
	if c.has(`,"exitCode":`) {
		code := int(c.number())
		r.ExitCode = &code
	}
	if c.has(`,"stdout":"`) {
		r.Stdout = Text(c.text())
	}
	if c.has(`,"stderr":"`) {
		r.Stderr = Text(c.text())
	}
	if c.has(`,"stdoutBytes":`) {
		r.StdoutBytes = c.number()
	}
	if c.has(`,"stderrBytes":`) {
		r.StderrBytes = c.number()
	}
	r.Truncated = c.has(`,"truncated":true`)
	if c.has(`,"error":"`) {
		r.Error = c.text()
	}
	for _, f := range []struct {
		key string
		at  *time.Time
	}{{`,"receivedAt":"`, &r.ReceivedAt}, {`,"startedAt":"`, &r.StartedAt}, {`,"endedAt":"`, &r.EndedAt}} {
		if len(c.rest) > len(f.key) && c.rest[:len(f.key)] == f.key {
			*f.at = c.time(f.key)
		}
	}
	if c.has(`,"attempt":`) {
		r.Attempt = int(c.number())
	}
	c.want(`}`)
	return r
}
