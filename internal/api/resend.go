package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// Log is what lines of a messages.log hold that can be submitted again.
type Log struct {
	Messages []*message.Message // each once
	Lines    [][]byte           // theirs
	Own      int                // messages of the road itself, which are left out
	Repeats  int                // lines of messages that stood there before
}

// ReadLog reads lines of a messages.log. An error names the line that is none.
func ReadLog(b []byte) (l Log, err error) {
	met := map[uuid.UUID]bool{}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		m, err := message.DecodeStored(line)
		switch {
		case err != nil:
			return l, fmt.Errorf("%w: line %d is none of a message log: %w", message.ErrInvalid, n, err)
		case met[m.ID]:
			l.Repeats++
		case m.RoadsOwn():
			l.Own++
		default:
			l.Messages, l.Lines = append(l.Messages, m), append(l.Lines, line)
		}
		met[m.ID] = true
	}
	return l, nil
}

// parseLog makes new messages of those of a messages.log.
func parseLog(b []byte, now time.Time) ([]*message.Message, error) {
	l, err := ReadLog(b)
	switch {
	case err != nil:
		return nil, problem(http.StatusUnprocessableEntity, err.Error()+": nothing was accepted")
	case len(l.Messages) > MaxMessages:
		return nil, problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("%d messages, and %d are taken at once: nothing was accepted: send them in parts", len(l.Messages), MaxMessages))
	case len(l.Messages) == 0:
		return nil, problem(http.StatusUnprocessableEntity, fmt.Sprintf("it holds no message that can be submitted again (%d are the road's own)", l.Own))
	}
	ms := make([]*message.Message, len(l.Messages))
	for i, m := range l.Messages {
		ms[i] = m.Repeat(now)
	}
	return ms, nil
}

// ResendLog submits the messages of l again, as new ones that name the old. What
// one submission may hold is accepted whole or not at all; a longer log goes in
// several, and an error tells how many messages were accepted before it.
func (c *Client) ResendLog(ctx context.Context, l Log) (records []store.Record, err error) {
	for rest := l.Lines; len(rest) > 0; {
		n, size := 0, 0
		for n < min(len(rest), MaxMessages) && (n == 0 || size+len(rest[n])+1 <= MaxDocument) {
			size += len(rest[n]) + 1
			n++
		}
		part, err := c.submit(ctx, "/v1/resend", bytes.Join(rest[:n], []byte("\n")))
		if err != nil && len(records) > 0 {
			err = fmt.Errorf("%w; the first %d of %d messages were accepted before", err, len(records), len(l.Lines))
		}
		if err != nil {
			return records, err
		}
		records, rest = append(records, part...), rest[n:]
	}
	return records, nil
}
