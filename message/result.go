package message

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// appendTo writes r in the JSON that json.Marshal gives, field by field: every
// command has a result, and reflection is what it would cost most.
func (r *Result) appendTo(b []byte) ([]byte, error) {
	b = appendString(append(b, `{"outcome":`...), string(r.Outcome))
	if r.ExitCode != nil {
		b = strconv.AppendInt(append(b, `,"exitCode":`...), int64(*r.ExitCode), 10)
	}
	for _, f := range []struct {
		key  string
		text Text
	}{{`,"stdout":`, r.Stdout}, {`,"stderr":`, r.Stderr}} {
		if len(f.text) == 0 {
			continue
		}
		b = append(b, f.key...)
		if utf8.Valid(f.text) {
			b = appendString(b, f.text)
			continue
		}
		j, err := f.text.MarshalJSON()
		if err != nil {
			return b, err
		}
		b = append(b, j...)
	}
	for _, f := range []struct {
		key string
		n   int64
	}{{`,"stdoutBytes":`, r.StdoutBytes}, {`,"stderrBytes":`, r.StderrBytes}} {
		if f.n != 0 {
			b = strconv.AppendInt(append(b, f.key...), f.n, 10)
		}
	}
	if r.Truncated {
		b = append(b, `,"truncated":true`...)
	}
	if r.Error != "" {
		b = appendString(append(b, `,"error":`...), strings.ToValidUTF8(r.Error, "\ufffd"))
	}
	if r.HTTP != nil {
		j, err := json.Marshal(r.HTTP)
		if err != nil {
			return b, err
		}
		b = append(append(b, `,"http":`...), j...)
	}
	for _, f := range []struct {
		key string
		at  time.Time
	}{{`,"receivedAt":"`, r.ReceivedAt}, {`,"startedAt":"`, r.StartedAt}, {`,"endedAt":"`, r.EndedAt}} {
		if !f.at.IsZero() {
			b = f.at.AppendFormat(append(b, f.key...), time.RFC3339Nano)
			b = append(b, '"')
		}
	}
	if r.Attempt != 0 {
		b = strconv.AppendInt(append(b, `,"attempt":`...), int64(r.Attempt), 10)
	}
	return append(b, '}'), nil
}
