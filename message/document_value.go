package message

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// value is one JSON value that scanValue accepted, and the field that it is for.
type value struct {
	field string
	raw   []byte
	at    int // where in the message's text
}

func (v value) bad(was, want string) error {
	return &flaw{field: v.field, was: was, want: want, at: v.at, placed: true}
}

// members calls f for each member of the object raw, which stands at at, in order.
func members(raw []byte, at int, f func(key string, v value) error) error {
	for i := blank(raw, 1); raw[i] != '}'; {
		end, _ := scanString(raw, i)
		key, err := value{"a field name", raw[i:end], at + i}.text()
		if err != nil {
			return err
		}
		i = blank(raw, blank(raw, end)+1)
		end, _ = scanValue(raw, i, 0)
		if err := f(key, value{key, raw[i:end], at + i}); err != nil {
			return err
		}
		if i = blank(raw, end); raw[i] == ',' {
			i = blank(raw, i+1)
		}
	}
	return nil
}

// was tells what the value is, for an error.
func (v value) was() string {
	switch v.raw[0] {
	case '{':
		return "is an object"
	case '[':
		return "is a list"
	case '"':
		return "is the string " + quoteSome(v.raw[1:len(v.raw)-1])
	}
	return "is " + strings.Trim(quoteSome(v.raw), `"`)
}

// text decodes a string strictly: no lone surrogate, no byte that is not UTF-8.
func (v value) text() (string, error) {
	if v.raw[0] != '"' {
		return "", v.bad(v.was(), "a string")
	}
	b := v.raw[1 : len(v.raw)-1]
	if slices.Index(b, '\\') < 0 {
		if utf8.Valid(b) {
			return string(b), nil
		}
	}
	var s strings.Builder
	for i := 0; i < len(b); {
		if b[i] == '\\' {
			n, err := v.escape(&s, b, i)
			if err != nil {
				return "", err
			}
			i += n
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return "", v.bad(fmt.Sprintf("has the byte %#02x, which is not UTF-8, at byte %d", b[i], i), "valid UTF-8")
		}
		s.Write(b[i : i+n])
		i += n
	}
	return s.String(), nil
}

// escape decodes the escape at i and returns its length.
func (v value) escape(s *strings.Builder, b []byte, i int) (int, error) {
	const plain = `"\/bfnrt`
	if c := b[i+1]; c != 'u' {
		s.WriteByte("\"\\/\b\f\n\r\t"[strings.IndexByte(plain, c)])
		return 2, nil
	}
	r := hex4(b[i+2:])
	if !utf16.IsSurrogate(r) {
		s.WriteRune(r)
		return 6, nil
	}
	if i+12 <= len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(b[i+8:])); pair != utf8.RuneError {
			s.WriteRune(pair)
			return 12, nil
		}
	}
	return 0, v.bad(fmt.Sprintf("has half of a surrogate pair, %s, at byte %d", b[i:i+6], i), "both halves, or the character itself")
}

func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		d, _ := hexDigit(c)
		r = r<<4 | d
	}
	return r
}

// texts reads a list of strings. Beyond most+1 they are checked no more: the
// caller refuses the list for its length.
func (v value) texts(most int) ([]string, error) {
	list := []string{}
	if v.raw[0] != '[' {
		return nil, v.bad(v.was(), "a list of strings")
	}
	for i := blank(v.raw, 1); v.raw[i] != ']'; {
		end, _ := scanValue(v.raw, i, 0)
		if len(list) > most {
			return list, nil
		}
		e := value{raw: v.raw[i:end], at: v.at + i}
		s, err := e.text()
		if err != nil {
			e.field = fmt.Sprintf("%s[%d]", v.field, len(list))
			_, err = e.text()
			return nil, err
		}
		list = append(list, s)
		if i = blank(v.raw, end); v.raw[i] == ',' {
			i = blank(v.raw, i+1)
		}
	}
	return list, nil
}

// pairs reads an object of strings, of which nil is an empty one.
func (v value) pairs() (map[string]string, error) {
	if v.raw[0] != '{' {
		return nil, v.bad(v.was(), `an object of strings like {"job": "42"}`)
	}
	var pairs map[string]string
	err := members(v.raw, v.at, func(key string, e value) error {
		e.field = v.field + "." + key
		s, err := e.text()
		if err != nil {
			return err
		}
		if _, twice := pairs[key]; twice {
			return e.bad("is there twice", "once")
		}
		if pairs == nil {
			pairs = map[string]string{}
		}
		if pairs[key] = s; len(pairs) > MaxLabels {
			return v.bad(fmt.Sprintf("has more than %d pairs", MaxLabels), fmt.Sprintf("at most %d", MaxLabels))
		}
		return nil
	})
	return pairs, err
}

// count reads a whole number of 0 to most.
func (v value) count(most int) (int, error) {
	want := fmt.Sprintf("a whole number, 0 to %d", most)
	if !v.number() {
		return 0, v.bad(v.was(), want)
	}
	n, err := strconv.Atoi(string(v.raw))
	if err != nil || n < 0 || n > most {
		return 0, v.bad(v.was(), want)
	}
	return n, nil
}

func (v value) number() bool { return v.raw[0] == '-' || '0' <= v.raw[0] && v.raw[0] <= '9' }

var errDuration = errors.New("not a duration")

// duration reads seconds, or a string like "1h30m" or "7d", of 0 to most.
func (v value) duration(most time.Duration) (time.Duration, error) {
	want := fmt.Sprintf(`seconds, or a string like "30s", "1h30m" or "7d", from 0 to %s`, days(most))
	d, err := v.anyDuration()
	if err != nil || d < 0 || d > most {
		return 0, v.bad(v.was(), want)
	}
	return d, nil
}

func (v value) anyDuration() (time.Duration, error) {
	if v.number() {
		f, err := strconv.ParseFloat(string(v.raw), 64)
		f = math.Round(f * float64(time.Second))
		if err != nil || math.Abs(f) >= math.MaxInt64 {
			return 0, errDuration
		}
		return time.Duration(f), nil
	}
	if v.raw[0] != '"' {
		return 0, errDuration
	}
	s, err := v.text()
	if err != nil {
		return 0, err
	}
	return parseDuration(s)
}

// ParseDuration reads a duration as a submission has it: seconds, as in 5 or 0.5,
// or text such as 30s, 1h30m or 7d. It is for those that people type elsewhere.
func ParseDuration(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if seconds, e := strconv.ParseFloat(s, 64); e == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want seconds, or a duration such as 30s, 1h30m or 7d: this is %q", s)
	}
	return d, nil
}

// parseDuration reads what time.ParseDuration does, and whole days before it.
func parseDuration(s string) (time.Duration, error) {
	head, rest, found := strings.Cut(s, "d")
	if !found {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(head, 10, 16)
	if err != nil {
		return 0, errDuration
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, errDuration
	}
	return d + more, nil
}

func days(d time.Duration) string {
	return fmt.Sprintf(`"%dd"`, d/(24*time.Hour))
}

// moment reads an RFC 3339 time, or a duration from now on. A time that has
// passed is taken: the message then ends as expired, which is the truth.
func (v value) moment(now time.Time) (time.Time, error) {
	want := fmt.Sprintf(`an RFC 3339 time like "2027-01-31T12:00:00Z", or a duration above 0, up to %s`, days(MaxLifetime))
	if d, err := v.anyDuration(); err == nil {
		if d <= 0 || d > MaxLifetime {
			return time.Time{}, v.bad(v.was(), want)
		}
		return now.Add(d).UTC(), nil
	}
	if v.raw[0] != '"' {
		return time.Time{}, v.bad(v.was(), want)
	}
	s, err := v.text()
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.After(now.Add(MaxLifetime)) {
		return time.Time{}, v.bad(v.was(), want)
	}
	return t.UTC(), nil
}
