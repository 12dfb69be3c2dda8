// Package subject names the road that a message takes: <prefix>.<node>.<kind>.<method>,
// which is also the NATS subject that carries it.
package subject

import (
	"errors"
	"fmt"
	"strings"
)

// Prefix is the first token of every subject of a fleet that configured no other.
const Prefix = "steward"

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("invalid subject")

// Kind says whether a message is to be done or merely happened, and whether its
// sender waits for an acknowledgement.
type Kind string

// The four kinds. A NACK kind wants no acknowledgement and ends as "sent".
const (
	CommandACK  Kind = "CommandACK"
	CommandNACK Kind = "CommandNACK"
	EventACK    Kind = "EventACK"
	EventNACK   Kind = "EventNACK"
)

// Kinds lists the four kinds in the order in which errors and help name them.
var Kinds = []Kind{CommandACK, CommandNACK, EventACK, EventNACK}

// Valid reports whether k is one of the four.
func (k Kind) Valid() bool {
	return k == CommandACK || k == CommandNACK || k == EventACK || k == EventNACK
}

// Command reports whether a message of this kind has a result of its own.
func (k Kind) Command() bool { return k == CommandACK || k == CommandNACK }

// Acked reports whether the sender keeps the message until the receiver answers.
func (k Kind) Acked() bool { return k == CommandACK || k == EventACK }

// Subject addresses one method of one node.
type Subject struct {
	Prefix, Node string
	Kind         Kind
	Method       string
}

// Parse splits s into its four tokens and validates them.
func Parse(s string) (Subject, error) {
	t := strings.Split(s, ".")
	if len(t) != 4 {
		return Subject{}, fmt.Errorf("%w %q: want <prefix>.<node>.<kind>.<method>", ErrInvalid, s)
	}
	sub := Subject{Prefix: t[0], Node: t[1], Kind: Kind(t[2]), Method: t[3]}
	return sub, sub.Validate()
}

// Validate reports the first token that may not stand in a NATS subject of ours.
func (s Subject) Validate() error {
	if err := token("prefix", s.Prefix); err != nil {
		return err
	}
	if err := ValidateNode(s.Node); err != nil {
		return err
	}
	if !s.Kind.Valid() {
		return fmt.Errorf("%w: kind %q: want one of %s", ErrInvalid, s.Kind, kindList())
	}
	return ValidateMethod(s.Method)
}

func (s Subject) String() string {
	return s.Prefix + "." + s.Node + "." + string(s.Kind) + "." + s.Method
}

// ValidateNode reports whether name can be a node: one token of 1 to 63
// characters out of A-Z a-z 0-9 _ and -. For a host name with dots the error
// suggests a name that fits.
func ValidateNode(name string) error {
	err := token("node name", name)
	if err != nil && strings.Contains(name, ".") {
		if s := strings.ReplaceAll(strings.Trim(name, "."), ".", "-"); token("", s) == nil {
			return fmt.Errorf("%w (dots separate the tokens of a subject: use %q)", err, s)
		}
	}
	return err
}

// ValidateMethod reports whether name can be a method; the rule is that of a node name.
func ValidateMethod(name string) error { return token("method", name) }

// Inbound is the wildcard that matches every subject of node.
func Inbound(prefix, node string) string { return prefix + "." + node + ".*.*" }

func token(what, t string) error {
	switch {
	case t == "":
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	case len(t) > 63:
		return fmt.Errorf("%w: %s %.20q… has %d characters: at most 63 are allowed", ErrInvalid, what, t, len(t))
	}
	for _, c := range []byte(t) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return fmt.Errorf("%w: %s %q: only A-Z a-z 0-9 _ and - are allowed", ErrInvalid, what, t)
		}
	}
	return nil
}

func kindList() string {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
