package errorkernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of a Failure, in bytes.
const (
	MaxCause   = 8 << 10   // Cause; longer ones are cut
	MaxName    = 512       // ID, Node, Process, Subject, Message, Since and each of Among; longer ones are cut
	MaxAmong   = 16        // names in Among; the first ones are kept
	MaxEncoded = 128 << 10 // the form that travels
)

// ErrInvalid is wrapped by every error of Decode.
var ErrInvalid = errors.New("invalid failure")

// Encode returns f as the data of an ErrorLog message: one JSON object of at most
// MaxEncoded bytes, in which text is valid UTF-8 and cut at its limit. It is
// Decode's inverse for every f that a Kernel handed over.
func (f Failure) Encode() []byte {
	f = bounded(f)
	for _, t := range []*time.Time{&f.First, &f.Last, &f.Kept, &f.Resolved} {
		if *t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
			*t = time.Time{} // has no form in JSON
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(f); err != nil {
		panic(fmt.Sprintf("encode a failure: %v", err)) // the type has nothing that JSON lacks
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Decode reads what Encode wrote, here or at another node, and checks it: its
// size, its text, and that ID, Class, Severity, Action and Count are there and
// well formed. Fields and classes of a newer steward are let through.
func Decode(b []byte) (Failure, error) {
	if len(b) > MaxEncoded {
		return Failure{}, fmt.Errorf("%w: has %d bytes: at most %d are allowed", ErrInvalid, len(b), MaxEncoded)
	}
	if !utf8.Valid(b) {
		return Failure{}, fmt.Errorf("%w: is not UTF-8", ErrInvalid)
	}
	var f Failure
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&f); err != nil {
		return Failure{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Failure{}, fmt.Errorf("%w: more than one JSON object", ErrInvalid)
	}
	if err := f.validate(); err != nil {
		return Failure{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return f, nil
}

func (f Failure) validate() error {
	if _, err := uuid.Parse(f.ID); err != nil || len(f.ID) != 36 {
		return fmt.Errorf("id is %.64q: want a UUID", f.ID)
	}
	if !word(string(f.Class)) {
		return fmt.Errorf("class is %.64q: want a lower-case word", f.Class)
	}
	if f.Severity.rank() == 0 {
		return fmt.Errorf("severity is %.64q: want warning, error or critical", f.Severity)
	}
	if !word(string(f.Action)) {
		return fmt.Errorf("action is %.64q: want a lower-case word", f.Action)
	}
	if f.Count < 1 {
		return fmt.Errorf("count is %d: want 1 or more", f.Count)
	}
	if len(f.Cause) > MaxCause {
		return fmt.Errorf("cause has %d bytes: at most %d are allowed", len(f.Cause), MaxCause)
	}
	if len(f.Among) > MaxAmong {
		return fmt.Errorf("among has %d names: at most %d are allowed", len(f.Among), MaxAmong)
	}
	for _, s := range append([]string{f.Node, f.Process, f.Subject, f.Message, f.Since}, f.Among...) {
		if len(s) > MaxName {
			return fmt.Errorf("%.64q… has %d bytes: at most %d are allowed", s, len(s), MaxName)
		}
	}
	return nil
}

// word reports whether s is 1 to 32 lower-case letters.
func word(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

// bounded cuts every text of f at its limit.
func bounded(f Failure) Failure {
	f.Cause = cut(f.Cause, MaxCause)
	for _, s := range []*string{&f.ID, &f.Node, &f.Process, &f.Subject, &f.Message, &f.Since} {
		*s = cut(*s, MaxName)
	}
	f.Among = slices.Clone(f.Among[:min(len(f.Among), MaxAmong)])
	for i, name := range f.Among {
		f.Among[i] = cut(name, MaxName)
	}
	return f
}

// cut returns s as valid UTF-8 of at most n bytes, with a mark where it had more.
func cut(s string, n int) string {
	const mark = "…[cut]"
	long := len(s) > n
	if long {
		s = s[:n]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !long && len(s) <= n {
		return s
	}
	end := min(len(s), n-len(mark))
	for end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
