package follow

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

const (
	// SplitLabel is on each message that carries one piece of a line longer than
	// MaxLine: "more" while pieces follow in the next messages, "end" on the last.
	SplitLabel = "split"
	splitMore  = "more"
	splitEnd   = "end"

	maxName = 240 // bytes of a file name that every receiver takes
)

// Source is what to follow, and where its lines go. Exactly one of Path and
// Journal is set.
type Source struct {
	Path      string            // absolute path or glob of files, as in path/filepath
	Journal   string            // a unit of the systemd journal, or "*" for all
	To        string            // node that gets the lines
	Directory string            // folder at the receiver
	FileName  string            // file at the receiver; empty: the file's base name, or journal-<unit>.log
	Labels    map[string]string // of every message
	// FromEnd leaves out what is there when the source is followed for the very
	// first time. Files that appear later are always read from their start.
	FromEnd bool
}

// Validate reports the first setting that cannot work, and what would.
func (s Source) Validate() error {
	switch {
	case s.Path == "" && s.Journal == "":
		return errors.New(`forward: neither path nor journal is set: want path: /var/log/app/*.log or journal: "ssh.service"`)
	case s.Path != "" && s.Journal != "":
		return fmt.Errorf("forward: path %q and journal %q are both set: write two entries", s.Path, s.Journal)
	}
	if err := s.validateOrigin(); err != nil {
		return fmt.Errorf("forward %s: %w", s.name(), err)
	}
	if len(s.Labels) >= message.MaxLabels {
		return fmt.Errorf("forward %s: has %d labels: want at most %d", s.name(), len(s.Labels), message.MaxLabels-1)
	}
	if _, ok := s.Labels[SplitLabel]; ok {
		return fmt.Errorf("forward %s: label %q is set by the follower: choose another", s.name(), SplitLabel)
	}
	m := s.message("x.log", nil)
	if err := m.Validate(); err != nil {
		return fmt.Errorf("forward %s: %w", s.name(), err)
	}
	for part := range strings.SplitSeq(s.Directory+"/"+s.FileName, "/") {
		if part != "" && part != receiverName(part) {
			return fmt.Errorf("forward %s: directory or fileName: %q is refused by receivers: want at most %d bytes, "+
				"no control characters, and no ending such as .1 or .foreign-1, which is that of rotated files", s.name(), part, maxName)
		}
	}
	return nil
}

func (s Source) validateOrigin() error {
	if s.Journal != "" {
		if strings.HasPrefix(s.Journal, "-") || strings.ContainsFunc(s.Journal, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
			return fmt.Errorf("%q is no unit: want a name such as ssh.service, or *", s.Journal)
		}
		return nil
	}
	if _, err := filepath.Match(s.Path, "x"); err != nil {
		return fmt.Errorf("the pattern is malformed (%w): check its brackets", err)
	}
	switch {
	case !filepath.IsAbs(s.Path):
		return errors.New("the path is relative: want an absolute one")
	case strings.ContainsRune(s.Path, 0):
		return errors.New("the path has a NUL")
	}
	return nil
}

// name is how logs and errors call the source.
func (s Source) name() string {
	if s.Journal != "" {
		return "journal " + s.Journal
	}
	return s.Path
}

// key begins the keys of all notes of the source. It does not depend on where
// the source stands in the configuration, nor on how its lines are labelled.
func (s Source) key() string {
	if s.Journal != "" {
		return "follow/" + s.To + "/journal:" + s.Journal
	}
	return "follow/" + s.To + "/file:" + filepath.Clean(s.Path)
}

// message carries lines to a receiver's file; fallback names it where the source does not.
func (s Source) message(fallback string, lines []string) *message.Message {
	name := s.FileName
	if name == "" {
		name = receiverName(fallback)
	}
	return &message.Message{
		ToNode: s.To, Kind: subject.EventACK, Method: message.MethodTextLogging, Data: lines,
		Directory: s.Directory, FileName: name, Labels: maps.Clone(s.Labels),
	}
}

// receiverName is name in a form that every receiver takes as a file's name.
func receiverName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 && reservedSuffix(name[i+1:]) {
		name = name[:i] + "-" + name[i+1:]
	}
	if name == "" || name == "." || name == ".." {
		return "log.txt"
	}
	return name
}

// reservedSuffix reports whether receivers keep the suffix for files that they rotate.
func reservedSuffix(s string) bool {
	number, foreign := strings.CutPrefix(s, "foreign-")
	return number != "" && (foreign || len(number) <= 3) && strings.Trim(number, "0123456789") == ""
}
