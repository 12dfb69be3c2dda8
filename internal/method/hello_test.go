package method_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
)

func fullHello() method.Hello {
	return method.Hello{
		Version: "v1.2.3", OS: "linux", Arch: "arm64", StartedAt: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC),
		Methods: []string{"CLICommand", "Echo"},
		StoreID: "019b0000-0000-7000-8000-000000000001", Epoch: "019b0000-0000-7000-8000-000000000002", Leaving: true,
	}
}

func TestHelloIsReadAsItWasWritten(t *testing.T) {
	want := fullHello()
	got, err := method.DecodeHello(want.Data())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	newer := []string{strings.Replace(want.Data()[0], "{", `{"facts":{"a":[1]},`, 1)}
	if got, err := method.DecodeHello(newer); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with a field of a later version: %+v, %v", got, err)
	}
}

func TestHelloIsRefused(t *testing.T) {
	good := `{"version":"1","os":"linux","arch":"arm64"}`
	if _, err := method.DecodeHello([]string{good}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{
		nil, {}, {good, good}, {""}, {"[]"}, {"null"}, {good + "x"}, {good + good}, {good[:len(good)-1]},
		{`{"Version":"1","os":"linux","arch":"arm64"}`},
		{`{"version":"1","version":"2","os":"linux","arch":"arm64"}`},
		{`{"version":null,"os":"linux","arch":"arm64"}`},
		{`{"version":7,"os":"linux","arch":"arm64"}`},
		{`{"version":"1","os":"linux","arch":"` + strings.Repeat("a", 129) + `"}`},
		{strings.Replace(good, "}", `,"methods":["a.b"]}`, 1)},
		{strings.Replace(good, "}", `,"methods":["m"`+strings.Repeat(`,"m"`, 256)+`]}`, 1)},
		{strings.Replace(good, "}", `,"storeId":"019b0000-0000-7000-8000-000000000001"}`, 1)},
		{strings.Replace(good, "}", `,"storeId":"x","epoch":"y"}`, 1)},
		{strings.Replace(good, "}", `,"startedAt":"yesterday"}`, 1)},
		{strings.Replace(good, "}", `,"leaving":true}`, 1)},
	} {
		if h, err := method.DecodeHello(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, h)
		}
	}
}

func FuzzDecodeHello(f *testing.F) {
	f.Add(fullHello().Data()[0])
	f.Add(`{"version":"1","os":"l","arch":"a","x":[{}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := method.DecodeHello([]string{s})
		if err != nil {
			return
		}
		again, err := method.DecodeHello(h.Data())
		if err != nil || again.Version != h.Version || again.StoreID != h.StoreID || !again.StartedAt.Equal(h.StartedAt) || len(again.Methods) != len(h.Methods) {
			t.Fatalf("%q: %+v became %+v, %v", s, h, again, err)
		}
	})
}

func TestSayHelloTellsTheHost(t *testing.T) {
	var got *message.Message
	r := handle(t, &method.Host{Hello: func(m *message.Message) { got = m }}, "SayHello", time.Second, fullHello().Data()...)
	if r.Outcome != ack.Done || got == nil || got.FromNode != "central" {
		t.Errorf("got %+v, host got %+v", r, got)
	}
}
