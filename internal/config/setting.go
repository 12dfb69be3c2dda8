package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/steward-bus/steward/internal/transport"
)

// Duration is written as "30s", "1h30m", "7d", or a number of seconds.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		*d = Duration(n * float64(time.Second))
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil {
			*d = Duration(n * 24 * float64(time.Hour))
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// String is the shortest text that UnmarshalText reads as d.
func (d Duration) String() string {
	const day = 24 * time.Hour
	if t := time.Duration(d); t != 0 && t%day == 0 {
		return fmt.Sprintf("%dd", t/day)
	}
	s := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Setting is one value of a configuration, and where it came from: "default",
// "host name", file:line:column, a variable or a flag.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	From  string `json:"from"`
}

// Settings are all values that count, without passwords.
func (e *Effective) Settings() (list []Setting) {
	for _, l := range e.leaves() {
		from := e.from[l.key]
		if from == "" && l.optional && l.value.IsZero() {
			continue
		}
		if from == "" {
			from = "default"
		}
		list = append(list, Setting{l.key, l.public(), from})
	}
	return list
}

// leaf is a value that has a place of its own in a configuration.
type leaf struct {
	key      string // history.age, forward[0].to
	value    reflect.Value
	standard string // its default
	optional bool   // within an entry of a list
}

func (l leaf) public() any {
	if urls, ok := l.value.Interface().([]string); ok {
		shown := make([]string, len(urls))
		for i, u := range urls {
			if shown[i] = u; l.key == "broker" {
				shown[i] = transport.Redacted(u)
			}
		}
		return shown
	}
	return l.value.Interface()
}

func (e *Effective) leaves() []leaf {
	return below(reflect.ValueOf(&e.Config).Elem(), leaf{})
}

// below are the leaves of v, whose own place is at.
func below(v reflect.Value, at leaf) (list []leaf) {
	switch x := v.Interface().(type) {
	case []Forward:
		for i := range x {
			list = append(list, below(v.Index(i), leaf{key: fmt.Sprintf("%s[%d]", at.key, i), optional: true})...)
		}
		return list
	case map[string]string, map[string][]string:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			list = append(list, leaf{key: at.key + "." + k.String(), value: v.MapIndex(k), optional: true})
		}
		return list
	}
	if v.Kind() != reflect.Struct {
		at.value = v
		return []leaf{at}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		list = append(list, below(v.Field(i), leaf{key: within(at.key, f.Tag.Get("yaml")), standard: f.Tag.Get("default"), optional: at.optional})...)
	}
	return list
}

func within(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// Has reports whether key is a setting that one text can set.
func Has(key string) bool {
	return slices.ContainsFunc(new(Effective).leaves(), func(l leaf) bool { return l.key == key })
}

// Variable is the environment's name of a setting: STEWARD_HISTORY_AGE for history.age.
func Variable(key string) string {
	var b strings.Builder
	b.WriteString(variablePrefix)
	for _, r := range key {
		switch {
		case r == '.':
			r = '_'
		case unicode.IsUpper(r):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// scan puts text into v. The error says what would have been right.
func scan(v reflect.Value, text string) (err error) {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*p = append(*p, part)
			}
		}
	case *bool:
		if *p, err = strconv.ParseBool(text); err != nil {
			return errors.New("want true or false")
		}
	case *int:
		if *p, err = strconv.Atoi(text); err != nil {
			return errors.New("want a whole number")
		}
	case *Duration:
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return errors.New("want seconds, or text such as 30s, 1h30m, 7d")
		}
	default:
		return fmt.Errorf("one text cannot set a %s", v.Type())
	}
	return nil
}
