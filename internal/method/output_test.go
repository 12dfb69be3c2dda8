package method

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/steward-bus/steward/message"
)

func TestFitKeepsAsMuchAsFits(t *testing.T) {
	for name, b := range map[string][]byte{
		"plain":    bytes.Repeat([]byte("a"), 1000),
		"control":  bytes.Repeat([]byte{1}, 1000),
		"html":     bytes.Repeat([]byte("<>&"), 400),
		"quotes":   bytes.Repeat([]byte("\"\\\n\t\b\f"), 400),
		"accents":  []byte(strings.Repeat("é", 600)),
		"emoji":    []byte(strings.Repeat("🚢", 600)),
		"lines":    []byte(strings.Repeat("\u2028", 600)),
		"binary":   bytes.Repeat([]byte{0xff}, 1000),
		"late bad": append(bytes.Repeat([]byte("a"), 1000), 0xff),
	} {
		for limit := 40; limit < 140; limit++ {
			got := fit(b, limit)
			least := limit - 14 // what does not fit of a character, or of a base64 group
			if name == "late bad" {
				least = limit / 2
			}
			if n := textSize(t, got); n > limit || n < least {
				t.Errorf("%s: %d bytes encoded, the limit is %d", name, n, limit)
			}
			if utf8.Valid(b) != utf8.Valid(got) && name != "late bad" {
				t.Errorf("%s: cut inside a character at %d", name, len(got))
			}
		}
		if got := fit(b, 1<<20); len(got) != len(b) {
			t.Errorf("%s: cut to %d without need", name, len(got))
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add([]byte("a\x01é🚢\xff<"), 30)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		if limit < 20 || limit > 1<<20 {
			return
		}
		got := fit(b, limit)
		if n := textSize(t, got); n > limit || !bytes.HasPrefix(b, got) {
			t.Fatalf("%d bytes encoded, the limit is %d", n, limit)
		}
	})
}

func textSize(t *testing.T, b []byte) int {
	j, err := json.Marshal(message.Text(b))
	if err != nil {
		t.Fatal(err)
	}
	return len(j)
}

func TestCutBetweenCharacters(t *testing.T) {
	for limit := range 12 {
		b := []byte("aé🚢é")
		text, cut := textOf(b[:min(limit, len(b))], int64(len(b)))
		if !utf8.Valid(text) || cut != (limit < 9) || len(text) > limit || len(text) < limit-3 && limit < 9 {
			t.Errorf("limit %d: %q, cut %t", limit, text, cut)
		}
	}
}
