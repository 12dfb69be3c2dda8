package message_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
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

// spaced is the same JSON, in a form that Encode does not write.
func spaced(event []byte) []byte { return bytes.Replace(event, []byte("{"), []byte("{ "), 1) }

func TestOwnFormReadsLikeAnyJSON(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	code := -1
	for name, change := range map[string]func(*message.Message){
		"bare":    func(*message.Message) {},
		"no data": func(m *message.Message) { m.Data = nil },
		"escapes": func(m *message.Message) { m.Data = []string{"", "a\"\\\n\r\t\x01\x1f\x7fé😀<&>\u2028", "b"} },
		"fields": func(m *message.Message) {
			m.AckTimeout, m.MethodTimeout, m.Retries, m.OnUnknown = time.Second, time.Hour, 7, message.Rerun
			m.ReplyTo, m.ReplyMethod, m.Directory, m.FileName = "central", "TextLogging", "a/é", "b\"c"
		},
		"labels": func(m *message.Message) { m.Labels = map[string]string{"k": "v"} },
		"result": func(m *message.Message) {
			m.CausationID = uuid.Must(uuid.NewV7())
			m.Result = &message.Result{
				Outcome: ack.Failed, ExitCode: &code, Stdout: message.Text("x\n"), Stderr: message.Text("é"), StdoutBytes: 1 << 40,
				StderrBytes: 2, Truncated: true, Error: "no\x00", ReceivedAt: now, StartedAt: now, EndedAt: now.Add(1), Attempt: 3,
			}
		},
		"binary": func(m *message.Message) {
			m.Result = &message.Result{Outcome: ack.Done, Stdout: message.Text("\xff\x00")}
		},
		"http": func(m *message.Message) {
			m.Result = &message.Result{Outcome: ack.Done, HTTP: &message.HTTP{Status: 200, Header: map[string][]string{"A": {"b"}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &message.Message{
				ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}, Expires: now.Add(time.Hour),
				ID: uuid.Must(uuid.NewV7()), FromNode: "central", Time: now, Place: message.Place{Seq: 3},
			}
			change(m)
			b, err := m.Encode("")
			if err != nil || !json.Valid(b) {
				t.Fatalf("%s: %v", b, err)
			}
			got, err := message.DecodeStored(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Data) == 0 {
				got.Data, m.Data = nil, nil
			}
			want, err := message.DecodeStored(spaced(b))
			if len(m.Data) == 0 && err == nil {
				want.Data = nil
			}
			if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(got, m) {
				t.Errorf("read\n%+v\n%+v, %v; wrote\n%+v", got, want, err, m)
			}
		})
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
	f.Add([]byte(`{"specversion":"1.0","sequence":"00000000000000000003","stewepoch":"0195573f-0000-7000-8000-000000000000","id":"0195573f-0000-7000-8000-000000000001","source":"central","type":"steward.v1.CommandACK.CliCommand","subject":"ship1","time":"2026-03-01T12:00:00.000000005Z","expirytime":"2026-03-01T13:00:00.000000005Z","partitionkey":"steward.ship1.CommandACK.CliCommand","datacontenttype":"application/json","causationid":"0195573f-0000-7000-8000-000000000001","data":{"data":["a\\u0001","b"],"timeout":"1s","retries":7,"onUnknown":"rerun","result":{"outcome":"failed","exitCode":-1,"stdout":"x\\n","stdoutBytes":2,"truncated":true,"error":"no","endedAt":"2026-03-01T12:00:00Z","attempt":3}}}`))
	f.Add(message.EncodeVoid("", uuid.Nil, message.Place{Seq: 1}, "central"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := message.Decode(b, s)
		same, serr := message.Decode(spaced(b), s)
		if (err == nil) != (serr == nil) {
			t.Fatalf("%q reads as\n%+v, %v, and with a space as\n%+v, %v", b, d, err, same, serr)
		}
		if err == nil && d.Message != nil && d.Message.Result != nil { // the bytes may differ, what they say may not
			if one, two := resultOf(t, d), resultOf(t, same); !reflect.DeepEqual(one, two) || !reflect.DeepEqual(one, d.Message.Result) {
				t.Fatalf("%q has the result\n%+v, alone\n%+v, and with a space\n%+v", b, d.Message.Result, one, two)
			}
		}
		if one, two := parts(d), parts(same); err == nil && !reflect.DeepEqual(one, two) {
			t.Fatalf("%q reads as\n%+v, and with a space as\n%+v", b, one, two)
		}
		if err == nil && d.Void != (d.Message == nil) {
			t.Fatalf("void %v with message %v", d.Void, d.Message)
		}
	})
}

// parts is all of d that its fields show.
func parts(d message.Decoded) []any {
	return []any{d.Message, d.ID, d.Place, d.From, d.Void, d.Plain}
}

func resultOf(t *testing.T, d message.Decoded) *message.Result {
	t.Helper()
	b, err := d.ResultJSON()
	if err != nil {
		t.Fatal(err)
	}
	r, err := message.DecodeResult(b)
	if err != nil {
		t.Fatalf("%q is no result: %v", b, err)
	}
	return r
}
