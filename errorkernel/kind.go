package errorkernel

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what failures that coalesce have in common: who says it, its class and its
// cause. Whom it befell does not count, but for the road of failures itself: what
// is about that stays at its node.
func (f Failure) kind(cause string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(essence(cause, f.names()))) // it has no error
	return fmt.Sprintf("%s|%s|%t|%x", f.Node, f.Class, aboutErrorLog(f), h.Sum64())
}

// names are whom f befell, for the list of those that a record stands for.
func (f Failure) names() []string {
	names := append([]string{}, f.Among...)
	for _, name := range []string{f.Process, f.Subject, f.Message, nodeOf(f.Subject)} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// nodeOf is the receiver that a subject names, the third token from its end.
func nodeOf(subject string) string {
	tokens := strings.Split(subject, ".")
	return tokens[max(0, len(tokens)-3)]
}

// stands lists what a record names of f.
func (f Failure) stands() []string {
	name := cmp.Or(f.Subject, f.Process)
	if f.Action != Log {
		name = cmp.Or(f.Process, f.Subject)
	}
	if len(f.Among) > 0 || name == "" {
		return f.Among
	}
	return []string{name}
}

// essence is a cause without names, and with a # for whatever has a digit: ids,
// counts, addresses, times and durations. What stays tells causes apart.
func essence(cause string, names []string) string {
	words := map[string]bool{}
	for _, name := range names {
		if strings.ContainsFunc(name, func(r rune) bool { return !inWord(r) }) {
			cause = strings.ReplaceAll(cause, name, "*")
		} else {
			words[name] = true
		}
	}
	var b strings.Builder
	for cause != "" {
		n := wordLen(cause)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(cause)
			b.WriteString(cause[:n])
		} else {
			b.WriteString(common(cause[:n], words))
		}
		cause = cause[n:]
	}
	return oneNumber(b.String())
}

func common(word string, names map[string]bool) string {
	switch {
	case names[word]:
		return "*"
	case strings.ContainsAny(word, "0123456789"):
		return "#"
	}
	return word
}

func wordLen(s string) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return !inWord(r) }); i >= 0 {
		return i
	}
	return len(s)
}

func inWord(r rune) bool {
	return r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// oneNumber makes one # of those that a dot or a colon joins: an address has four,
// 1.5s has two.
func oneNumber(s string) string {
	for _, joint := range []string{"#.#", "#:#"} {
		for strings.Contains(s, joint) {
			s = strings.ReplaceAll(s, joint, "#")
		}
	}
	return s
}
