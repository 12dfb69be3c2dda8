package errorkernel_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/errorkernel"
)

func failure() errorkernel.Failure {
	at := time.Date(2026, 11, 20, 9, 30, 0, 7, time.UTC)
	return errorkernel.Failure{
		ID: "019a9f2c-0000-7000-8000-000000000001", Node: "ship1", Class: errorkernel.Handler, Severity: errorkernel.Error,
		Subject: "steward.ship1.CommandACK.Echo", Message: "m1", Cause: "exit <1>", Action: errorkernel.Log,
		Among: []string{"steward.ship1.CommandACK.Echo", "steward.ship2.CommandACK.Echo"}, Count: 3, First: at, Last: at.Add(time.Second),
	}
}

func TestEncodedFailureComesBack(t *testing.T) {
	f := failure()
	got, err := errorkernel.Decode(f.Encode())
	must(t, err)
	if !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, want %+v", got, f)
	}
}

func TestEncodeCutsToItsLimits(t *testing.T) {
	for name, cause := range map[string]string{
		"long":       "a" + strings.Repeat("é", errorkernel.MaxCause),
		"control":    strings.Repeat("\x00", 2*errorkernel.MaxCause),
		"not UTF-8":  strings.Repeat("a\xff", errorkernel.MaxCause/2),
		"split rune": strings.Repeat("a", errorkernel.MaxCause-1) + "é",
	} {
		f := failure()
		f.Cause, f.Process, f.First = cause, cause, time.Unix(math.MaxInt32<<20, 0)
		f.Among = slices.Repeat([]string{cause}, 2*errorkernel.MaxAmong)
		b := f.Encode()
		got, err := errorkernel.Decode(b)
		if err != nil || len(b) > errorkernel.MaxEncoded {
			t.Errorf("%s: %d bytes: %v", name, len(b), err)
		}
		if !strings.HasSuffix(got.Cause, "…[cut]") || len(got.Cause) < errorkernel.MaxCause-16 || strings.Contains(got.Cause, "\uFFFD…") != strings.Contains(cause, "\xff") {
			t.Errorf("%s: cause of %d bytes ends in %q", name, len(got.Cause), got.Cause[max(0, len(got.Cause)-16):])
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(failure().Encode())
	for name, doc := range map[string]string{
		"nothing":      "",
		"two":          good + good,
		"not UTF-8":    strings.Replace(good, "exit", "\xff", 1),
		"too long":     good + strings.Repeat(" ", errorkernel.MaxEncoded),
		"long cause":   strings.Replace(good, "exit", strings.Repeat("x", errorkernel.MaxCause), 1),
		"long among":   strings.Replace(good, `["steward.ship1`, `["`+strings.Repeat(`x","`, errorkernel.MaxAmong)+`steward.ship1`, 1),
		"long process": strings.Replace(good, `"m1"`, `"`+strings.Repeat("x", errorkernel.MaxName+1)+`"`, 1),
		"no id":        strings.Replace(good, "019a9f2c-0000-7000-8000-000000000001", "", 1),
		"other id":     strings.Replace(good, "019a9f2c-0000-7000-8000-000000000001", "../../x", 1),
		"no class":     strings.Replace(good, "handler", "", 1),
		"severity":     strings.Replace(good, `"error"`, `"mild"`, 1),
		"action":       strings.Replace(good, `"log"`, `"LOG!"`, 1),
		"count":        strings.Replace(good, `"count":3`, `"count":0`, 1),
		"time":         strings.Replace(good, "2026", "20", 1),
	} {
		if _, err := errorkernel.Decode([]byte(doc)); !errors.Is(err, errorkernel.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeTakesWhatANewerNodeSays(t *testing.T) {
	doc := strings.Replace(string(failure().Encode()), `"handler"`, `"weather","shade":7`, 1)
	f, err := errorkernel.Decode([]byte(doc))
	if err != nil || f.Class != "weather" {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(failure().Encode())
	f.Add([]byte(`{"id":"019a9f2c-0000-7000-8000-000000000001","class":"x","severity":"warning","action":"log","count":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := errorkernel.Decode(b)
		if err != nil {
			return
		}
		first := got.Encode()
		again, err := errorkernel.Decode(first)
		if err != nil {
			t.Fatalf("what was decoded does not come back: %v\n%s", err, first)
		}
		if second := again.Encode(); !bytes.Equal(first, second) {
			t.Fatalf("encoded differs the second time:\n%s\n%s", first, second)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add("ship1", "boom", "\xff", int64(0))
	f.Fuzz(func(t *testing.T, node, cause, subject string, at int64) {
		in := failure()
		in.Node, in.Cause, in.Subject, in.Last = node, cause, subject, time.Unix(at, at)
		if _, err := errorkernel.Decode(in.Encode()); err != nil {
			t.Fatalf("%+v: %v", in, err)
		}
	})
}
