package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
)

// Problem is something that a configuration says and that cannot work, or may be
// a mistake.
type Problem struct {
	Where string `json:"where"`         // file:line:column, a variable, a flag, or "default"
	Key   string `json:"key,omitempty"` // the setting, where it is one
	Text  string `json:"text"`          // what was there, and what is allowed
}

func (p Problem) String() string { return p.Where + ": " + p.Text }

// Problems is a list of them: an error that wraps ErrInvalid.
type Problems []Problem

// Err is nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

func (ps Problems) Error() string {
	if len(ps) == 1 {
		return ErrInvalid.Error() + ": " + ps[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %d problems:", ErrInvalid, len(ps))
	for _, p := range ps {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Is makes them ErrInvalid.
func (ps Problems) Is(target error) bool { return target == ErrInvalid }

// problem tells what is wrong with the value of key, where that came from.
func (e *Effective) problem(key, format string, args ...any) {
	e.Problems = append(e.Problems, Problem{e.Whence(key), key, key + " " + fmt.Sprintf(format, args...)})
}

func (e *Effective) warn(where, key, format string, args ...any) {
	e.Warnings = append(e.Warnings, Problem{where, key, fmt.Sprintf(format, args...)})
}

// Whence is where key came from: itself, or what it is part of.
func (e *Effective) Whence(key string) string {
	for key != "" {
		if from := e.from[key]; from != "" {
			return from
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return "default"
}

// shown is text as errors quote it: a broker's URL may hold a password.
func shown(key, text string) string {
	if key == "broker" || strings.HasPrefix(key, "broker[") {
		text = transport.Redacted(text)
	}
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "…"
	}
	return strconv.Quote(text)
}

// didYouMean ends a sentence with the nearest name, if one is near.
func didYouMean(name string, known []string) string {
	if near := message.Nearest(name, known); near != "" {
		return ": did you mean " + near + "?"
	}
	return ""
}
