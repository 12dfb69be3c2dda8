package message_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

func TestStampedEventReadsBack(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	m := &message.Message{
		ToNode: "ship1", Kind: subject.Kind("CommandACK"), Method: "CliCommand",
		Data: []string{"a\"\\\n\x01é"}, Retries: 3, AckTimeout: time.Second, Expires: now.Add(time.Hour),
		Labels: map[string]string{"k": "v"}, ID: uuid.Must(uuid.NewV7()), FromNode: "central", Time: now,
	}
	b, err := m.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	m.Place = message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 42}
	message.Stamp(b, m.Place)
	got, err := message.DecodeStored(b)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("got %+v, %v; want %+v", got, err, m)
	}
}

func TestSplitRefusesWhatFollowsTheBatch(t *testing.T) {
	for _, s := range []string{"[]{}]", "[]]", "[{} {}]", "[{}]]", "[1]", "["} {
		if _, err := message.Split([]byte(s)); !errors.Is(err, message.ErrMalformed) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(`[{"a":"}"},{}]`))
	f.Add([]byte("[]]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := message.Split(b)
		if err != nil || len(parts) < 2 {
			return
		}
		joined, _ := message.Join(parts)
		again, err := message.Split(joined)
		if err != nil || !reflect.DeepEqual(parts, again) {
			t.Fatalf("%q became %q: %v", parts, again, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	s := subject.Subject{Node: "ship1", Kind: subject.Kind("CommandACK"), Method: "CliCommand"}
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"x","type":"t","data":"line"}`))
	f.Add(message.EncodeVoid("", uuid.Nil, message.Place{Seq: 1}, "central"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := message.Decode(bytes.Clone(b), s)
		if err == nil && d.Void != (d.Message == nil) {
			t.Fatalf("void %v with message %v", d.Void, d.Message)
		}
	})
}
