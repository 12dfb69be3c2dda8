package follow

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func example() position {
	return position{
		Version: 1, Path: "/var/log/app.log", Real: "/var/log/app.log", Device: 1, Inode: 2,
		HeadLen: 3, Head: hash([]byte("abc")), TailLen: 2, Tail: hash([]byte("ab")), Offset: 2, Size: 9, Mtime: 5,
	}
}

func TestPositionsThatCannotBe(t *testing.T) {
	for want, change := range map[string]func(p *position){
		"not absolute":       func(p *position) { p.Path = "x" },
		"negative":           func(p *position) { p.Size = -1 },
		"malformed":          func(p *position) { p.Head = "zz" },
		"does not fit":       func(p *position) { p.Offset = 1 },
		"is malformed":       func(p *position) { p.TailLen = 257 },
		"fingerprint does n": func(p *position) { p.Offset = 1 << 62 },
	} {
		p := example()
		change(&p)
		if _, err := decodePosition(p.encode()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add(example().encode())
	f.Add(index{Next: 4, Files: []uint64{1, 3}}.encode())
	f.Add(journalNote{Cursor: "s=1"}.encode())
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodePosition(b); err == nil {
			again, err := decodePosition(p.encode())
			if err != nil || again != p {
				t.Errorf("%+v became %+v: %v", p, again, err)
			}
			if _, err := p.sameAs(strings.NewReader("abc"), 3); err != nil {
				t.Errorf("%+v: %v", p, err)
			}
		}
		if x, err := decodeIndex(b); err == nil {
			again, err := decodeIndex(x.encode())
			if err != nil || again.Next != x.Next || len(again.Files) != len(x.Files) || len(x.Files) > 0 && !reflect.DeepEqual(again, x) {
				t.Errorf("%+v became %+v: %v", x, again, err)
			}
		}
		if n, err := decodeJournalNote(b); err == nil {
			if again, err := decodeJournalNote(n.encode()); err != nil || again != n {
				t.Errorf("%+v became %+v: %v", n, again, err)
			}
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"__CURSOR":"c","MESSAGE":[104,105],"_PID":["1","2"],"_HOSTNAME":[[1],[2]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(b)
		if err == nil && (e.cursor == "" || len(e.lines) == 0) {
			t.Errorf("%q gave %+v", b, e)
		}
	})
}

// FuzzCutter holds that every byte is taken once, in bounded pieces that a
// message can carry.
func FuzzCutter(f *testing.F) {
	f.Add([]byte("one\ntwo\xff\x00 and a long line \u20ac\u20ac\u20ac\u20ac\n\nrest"), 10, true)
	f.Fuzz(func(t *testing.T, b []byte, maxLine int, flush bool) {
		c := cutter{maxLine: max(4, maxLine&0xff)}
		rest := b
		for {
			l, ok := c.next(rest, flush)
			if !ok {
				break
			}
			if l.size < 1 || l.size > c.maxLine+1 || !utf8.ValidString(l.text) || strings.ContainsAny(l.text, "\x00\n") {
				t.Fatalf("%+v of %q", l, rest)
			}
			if utf8.Valid(b) && strings.ReplaceAll(l.text, "\u2400", "\x00") != strings.ReplaceAll(strings.TrimSuffix(string(rest[:l.size]), "\n"), "\u2400", "\x00") {
				t.Fatalf("%q became %q", rest[:l.size], l.text)
			}
			rest = rest[l.size:]
		}
		if flush && len(rest) > 0 || len(rest) > c.maxLine {
			t.Fatalf("%q was left", rest)
		}
	})
}
