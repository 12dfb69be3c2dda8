package message

import (
	"fmt"
	"unicode/utf8"
)

// Shrink cuts the result that m carries until its event has at most limit bytes:
// the longer output first, then what else may be long. What is left says that it
// was cut. The error is for a limit in which no result has room.
func (m *Message) Shrink(prefix string, limit int) ([]byte, error) {
	r := *m.Result
	r.StdoutBytes, r.StderrBytes = max(r.StdoutBytes, int64(len(r.Stdout))), max(r.StderrBytes, int64(len(r.Stderr)))
	m.Result = &r
	for {
		event, err := m.Encode(prefix)
		if err != nil || len(event) <= limit {
			return event, err
		}
		keep := float64(limit) / float64(len(event)) * 0.95
		switch {
		case len(r.Stdout)+len(r.Stderr) > 0:
			longer := &r.Stdout
			if len(r.Stderr) > len(r.Stdout) {
				longer = &r.Stderr
			}
			*longer = prefixOf(*longer, int(float64(len(*longer))*keep))
			r.Truncated = true
		case r.HTTP != nil && len(r.HTTP.Header) > 0:
			r.HTTP = &HTTP{Status: r.HTTP.Status, HeaderTruncated: true}
		case len(r.Error) > 0:
			r.Error = string(prefixOf(Text(r.Error), int(float64(len(r.Error))*keep)))
		default:
			return nil, fmt.Errorf("a result of %d bytes cannot be cut to %d", len(event), limit)
		}
	}
}

// prefixOf is the first n bytes of b, or a few less: it ends between characters.
func prefixOf(b Text, n int) Text {
	for end := n - utf8.UTFMax; n > max(end, 0) && !utf8.RuneStart(b[n]); {
		n--
	}
	return b[:n]
}
