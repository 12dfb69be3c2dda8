package follow

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// journalNote is the note of a journal, stored as JSON.
type journalNote struct {
	Version int    `json:"v"`
	Cursor  string `json:"cursor"` // of the last entry that was accepted
}

func (n journalNote) encode() []byte {
	n.Version = noteVersion
	b, err := json.Marshal(n)
	if err != nil {
		panic("follow: a note of plain fields does not marshal: " + err.Error())
	}
	return b
}

func decodeJournalNote(b []byte) (n journalNote, err error) {
	if err = decodeNote(b, &n); err == nil && n.Cursor == "" {
		err = errors.New("position note: has no cursor")
	}
	return n, err
}

// journalEntry is one entry as text: "time host ident[pid]: message".
type journalEntry struct {
	cursor string
	lines  []string // more than one where the message has newlines; each with the head
}

// parseEntry reads an entry as journalctl -o json writes it.
func parseEntry(b []byte) (journalEntry, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return journalEntry{}, fmt.Errorf("journal entry: %w", err)
	}
	get := func(names ...string) string {
		for _, name := range names {
			if v := fieldText(fields[name]); len(v) > 0 {
				return string(v)
			}
		}
		return ""
	}
	e := journalEntry{cursor: get("__CURSOR")}
	if e.cursor == "" {
		return journalEntry{}, errors.New("journal entry: has no cursor")
	}
	head := entryTime(get("__REALTIME_TIMESTAMP")) + " " + cmp.Or(get("_HOSTNAME"), "-") + " " +
		cmp.Or(get("SYSLOG_IDENTIFIER", "_COMM"), "unknown")
	if pid := get("_PID", "SYSLOG_PID"); pid != "" {
		head += "[" + pid + "]"
	}
	head = strings.NewReplacer("\n", " ", "\r", " ").Replace(head) + ": "
	for text := range strings.SplitSeq(strings.TrimRight(get("MESSAGE"), "\n"), "\n") {
		e.lines = append(e.lines, head+text)
	}
	return e, nil
}

// entryTime is the journal's microseconds since 1970 in the form that logs have.
func entryTime(micros string) string {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		return "-"
	}
	return time.UnixMicro(n).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// fieldText is a field's bytes. journalctl writes text as a string, other bytes
// as an array of numbers, and a field that is there twice as an array of both.
func fieldText(raw json.RawMessage) []byte {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		var s string
		_ = json.Unmarshal(raw, &s) // it was parsed before, as a part
		return []byte(s)
	}
	if b, ok := numbers(raw); ok {
		return b
	}
	var values []json.RawMessage
	if json.Unmarshal(raw, &values) != nil || len(values) == 0 {
		return nil
	}
	if b, ok := numbers(values[0]); ok {
		return b
	}
	var s string
	_ = json.Unmarshal(values[0], &s) // else the field is of no known form, and empty
	return []byte(s)
}

// numbers is the bytes that a list of numbers stands for.
func numbers(raw json.RawMessage) ([]byte, bool) {
	var list []byteValue
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	b := make([]byte, len(list))
	for i, n := range list {
		b[i] = byte(n)
	}
	return b, true
}

// byteValue is a byte written as a number.
type byteValue uint8
