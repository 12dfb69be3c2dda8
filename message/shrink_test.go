package message_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// A result is cut to what the broker takes, whatever of it is long, and says so.
func TestShrink(t *testing.T) {
	long := func(s string) message.Text { return message.Text(strings.Repeat(s, 300_000)) }
	for name, r := range map[string]message.Result{
		"stdout":  {Stdout: long("a")},
		"both":    {Stdout: long("é"), Stderr: long("\x00")},
		"bytes":   {Stderr: long("\xff\x00")},
		"error":   {Error: string(long("no "))},
		"headers": {HTTP: &message.HTTP{Status: 200, Header: map[string][]string{"X": {string(long("x"))}}}},
		"short":   {Stdout: message.Text("a")},
	} {
		r.Outcome, r.StartedAt, r.EndedAt = ack.Failed, time.Now(), time.Now()
		m := &message.Message{
			ID: uuid.Must(uuid.NewV7()), FromNode: "ship1", ToNode: "central", Kind: subject.EventACK, Method: message.MethodResult,
			CausationID: uuid.Must(uuid.NewV7()), Time: time.Now(), Expires: time.Now().Add(time.Hour), Result: &r,
			Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 1},
		}
		const limit = 60_000
		event, err := m.Shrink(subject.Prefix, limit)
		if err != nil || len(event) > limit || name != "short" && len(event) < limit/2 && name != "headers" {
			t.Errorf("%s: %d bytes, %v", name, len(event), err)
		}
		got, err := message.DecodeStored(event)
		if err != nil {
			t.Fatal(name, err)
		}
		x := got.Result
		cut := len(x.Stdout) < len(r.Stdout) || len(x.Stderr) < len(r.Stderr)
		if x.Outcome != ack.Failed || x.Truncated != cut || x.StdoutBytes != int64(len(r.Stdout)) || x.StderrBytes != int64(len(r.Stderr)) ||
			utf8.Valid(r.Stdout) != utf8.Valid(x.Stdout) || !strings.HasPrefix(r.Error, x.Error) {
			t.Errorf("%s: it became %.200v", name, x)
		}
		if _, err := m.Shrink(subject.Prefix, 10); err == nil || errors.Is(err, message.ErrInvalid) {
			t.Errorf("%s: cut to 10 bytes: %v", name, err)
		}
	}
}
