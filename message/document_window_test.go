package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// through reads b through windows that begin with least bytes and hold most, and
// goes on from a mark, in a window of its own, after every so many entries.
func through(b []byte, least, most, every int, final bool) (entries []Entry, end Mark) {
	for fresh := true; fresh; {
		d := Documents{Source: bytes.NewReader(b), Size: int64(len(b)), From: end, Final: final, win: window{least: least, most: most}}
		fresh = false
		for e, ok := d.Next(); ok; e, ok = d.Next() {
			entries = append(entries, e)
			if len(entries)%every == 0 {
				fresh = true
				break
			}
		}
		end = d.Mark()
	}
	return entries, end
}

// sameThrough demands that windows and marks make no difference.
func sameThrough(t *testing.T, b []byte) {
	t.Helper()
	for _, final := range []bool{false, true} {
		want, end := through(b, len(b)+1, MaxPart, 1<<30, final)
		for _, least := range []int{1, 2, 3, 7, 64} {
			for _, every := range []int{1, 2, 1 << 30} {
				got, at := through(b, least, MaxPart, every, final)
				if len(got) != len(want) || at != end {
					t.Fatalf("windows of %d, every %d, final %t: %d entries to %+v, want %d to %+v", least, every, final, len(got), at, len(want), end)
				}
				for i := range got {
					if g, w := shown(got[i]), shown(want[i]); g != w {
						t.Fatalf("windows of %d, every %d, final %t: entry %d: %s\nwant %s", least, every, final, i, g, w)
					}
				}
			}
		}
	}
}

// shown is all that an entry says.
func shown(e Entry) string {
	m := e.Message
	e.Message = nil
	return fmt.Sprintf("%+v %+v", e, m)
}

const (
	someone = `{"toNode":"a","data":["x"],"commandOrEvent":"CommandACK","method":"CLICommand"}`
	several = `{"toNodes":["a","b","c"],"data":[],"commandOrEvent":"CommandACK","method":"CLICommand"}`
)

var windowTexts = []string{
	"", " \n", "\xef\xbb\xbf" + someone + "\xef\xbb\xbf\n" + someone, "[" + someone + ",\n" + several + ",5, 5.5 ,null]\n" + several,
	"[" + someone + "\n" + someone + ",\n" + someone + "]\n", "[" + someone + ",,]" + someone, "[," + someone + "]", "[[" + someone + "\n{", "[1", "[]" + someone,
	"rubbish\n" + someone + "more", `{"toNode":"x` + "\n" + someone, "[\n" + someone + ",\n{\"toNode\":\"x\n},\n" + someone + "\n]\n" + someone,
	inWide("[" + someone + "]\r\n"), someone + "\n" + inWide(someone) + someone, "{\"\xd1\x88\":\xd1\x88}\n" + someone,
}

// inWide is an ASCII text as Windows writes it.
func inWide(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.Write([]byte{c, 0})
	}
	return b.String()
}

func TestWindows(t *testing.T) {
	for _, s := range windowTexts {
		sameThrough(t, []byte(s))
	}
}

func FuzzWindows(f *testing.F) {
	for _, s := range windowTexts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameThrough(t, b[:min(len(b), 500)]) })
}

// A message that is longer than any may be is refused, also while the text may
// still grow, and what follows on a line of its own is taken.
func TestTooLong(t *testing.T) {
	long := `{"toNode":"` + strings.Repeat("x", 500)
	for text, want := range map[string]string{
		long + "\"}\n" + someone:                                                "goes on for too long",
		"[" + long + "\"}\n,\n" + someone + "]\n":                               "goes on for too long",
		strings.Repeat("x", 500) + "\n" + someone:                               `has "x"`,
		"[" + strings.Repeat("{ ", 300) + "\n" + someone + "]\n":                "has \"{\"",
		"[" + someone + "," + strings.Repeat(" ", 500) + "\n" + someone + "]\n": "no end of its list",
	} {
		entries, end := through([]byte(text), 16, 256, 1<<30, false)
		var errs []error
		for _, e := range entries {
			if e.Err != nil {
				errs = append(errs, e.Err)
			}
		}
		if last := entries[len(entries)-1]; last.Err != nil || end.Offset != int64(len(text)) || !errors.Is(errs[0], ErrInvalid) || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%.30s: %v, then %v at %d of %d", text, errs, last, end.Offset, len(text))
		}
	}
}

// endless is a list of messages that nobody could hold.
type endless struct{ t *testing.T }

func (endless) ReadAt(p []byte, off int64) (int, error) {
	const item = someone + ","
	for i := range p {
		if p[i] = '['; off+int64(i) > 0 {
			p[i] = item[(off+int64(i)-1)%int64(len(item))]
		}
	}
	return len(p), nil
}

// Memory does not depend on how long a list is.
func TestLongList(t *testing.T) {
	const size = 1 << 40
	d := Documents{Source: endless{t}, Size: size, Now: time.Now(), Final: true}
	for range 10_000 {
		e, ok := d.Next()
		if !ok || e.Err != nil {
			t.Fatal(e.Err, d.Err())
		}
		if len(d.win.text) > 2*windowSize {
			t.Fatalf("%d bytes are held", len(d.win.text))
		}
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSourceFails(t *testing.T) {
	d := Documents{Source: broken{}, Size: 10, Final: true}
	if e, ok := d.Next(); ok || !errors.Is(d.Err(), io.ErrUnexpectedEOF) {
		t.Errorf("%+v, %v", e, d.Err())
	}
	if n, _, err := Survey(broken{}, 10); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, %v", n, err)
	}
}
