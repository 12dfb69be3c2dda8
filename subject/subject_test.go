package subject_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/steward-bus/steward/subject"
)

func TestParse(t *testing.T) {
	s, err := subject.Parse("steward.ship1.EventNACK.SayHello")
	want := subject.Subject{Prefix: "steward", Node: "ship1", Kind: subject.EventNACK, Method: "SayHello"}
	if err != nil || s != want || s.String() != "steward.ship1.EventNACK.SayHello" {
		t.Errorf("%+v, %v", s, err)
	}
	for in, why := range map[string]string{
		"steward.ship1.CommandACK":                            "want <prefix>",
		"steward.ship1.CommandACK.Echo.more":                  "want <prefix>",
		"steward..CommandACK.Echo":                            "node name is empty",
		"steward.ship 1.CommandACK.Echo":                      "only A-Z",
		"steward.*.CommandACK.Echo":                           "only A-Z",
		"steward.ship1.commandack.Echo":                       "want one of CommandACK, CommandNACK, EventACK, EventNACK",
		"steward.ship1.CommandACK." + strings.Repeat("x", 64): "at most 63",
	} {
		if _, err := subject.Parse(in); !errors.Is(err, subject.ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", in, err, why)
		}
	}
}

func TestHostNamesGetASuggestion(t *testing.T) {
	if err := subject.ValidateNode("ship1.example.org"); err == nil || !strings.Contains(err.Error(), `"ship1-example-org"`) {
		t.Error(err)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range subject.Kinds {
		if !k.Valid() || k.Command() != strings.HasPrefix(string(k), "Command") || k.Acked() != !strings.HasSuffix(string(k), "NACK") {
			t.Errorf("%s: command %t, acked %t", k, k.Command(), k.Acked())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("steward.ship1.CommandACK.Echo")
	f.Add("a.b.c.d.")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := subject.Parse(in)
		if err == nil && (s.String() != in || strings.ContainsAny(in, " *>\t\r\n") || strings.Count(in, ".") != 3) {
			t.Fatalf("%q was taken as %+v", in, s)
		}
	})
}
