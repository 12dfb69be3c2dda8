package message_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// one is a valid message object to node.
func one(node string) string {
	return `{"toNode":"` + node + `","data":["true"],"commandOrEvent":"CommandACK","method":"CLICommand"}`
}

// with is a valid message object with more fields.
func with(fields string) string {
	return strings.TrimSuffix(one("ship1"), "}") + "," + fields + "}"
}

// nodes tells an outcome in one line: names of nodes, "!" for an error.
func nodes(entries []message.Entry) string {
	var s []string
	for _, e := range entries {
		if e.Err != nil {
			s = append(s, "!")
			continue
		}
		s = append(s, e.Message.ToNode)
	}
	return strings.Join(s, " ")
}

func TestOldestForm(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "documents", "oldest.json"))
	if err != nil {
		t.Fatal(err)
	}
	entries, n := message.ParseDocuments(b, noon)
	if n != len(b) || nodes(entries) != "ship1 ship2" {
		t.Fatalf("consumed %d of %d, got %q", n, len(b), nodes(entries))
	}
	want := &message.Message{
		ToNode: "ship1", Data: []string{"bash", "-c", "sleep 3 & tree ./"}, Kind: subject.CommandACK,
		Method: "CLICommand", AckTimeout: 10 * time.Second, Retries: 3,
	}
	if got := entries[0].Message; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestEveryField(t *testing.T) {
	text := with(`"ackTimeout":1.5,"retries":7,"methodTimeout":"1h30m","expires":"7d","onUnknown":"rerun",
		"replyTo":"central","replyMethod":"TextLogging","directory":"a/b","fileName":"c.log","labels":{"job":"\u0034\ud83d\ude00"}`)
	entries, _ := message.ParseDocuments([]byte(text), noon)
	if len(entries) != 1 || entries[0].Err != nil {
		t.Fatal(entries[0].Err)
	}
	want := &message.Message{
		ToNode: "ship1", Data: []string{"true"}, Kind: subject.CommandACK, Method: "CLICommand",
		AckTimeout: 1500 * time.Millisecond, Retries: 7, MethodTimeout: 90 * time.Minute, Expires: noon.Add(7 * 24 * time.Hour),
		OnUnknown: message.Rerun, ReplyTo: "central", ReplyMethod: "TextLogging", Directory: "a/b", FileName: "c.log",
		Labels: map[string]string{"job": "4😀"},
	}
	if got := entries[0].Message; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestToNodes(t *testing.T) {
	text := `{"toNodes":["a","b","c"],"data":[],"commandOrEvent":"EventNACK","method":"Ping"}`
	entries, _ := message.ParseDocuments([]byte("\n "+text), noon)
	if nodes(entries) != "a b c" {
		t.Fatalf("got %q", nodes(entries))
	}
	for _, e := range entries {
		if e.Nodes != 3 || e.Index != 1 || e.Offset != 2 || string(e.Raw) != text {
			t.Errorf("entry %+v", e)
		}
	}
}

func TestExpires(t *testing.T) {
	for text, want := range map[string]time.Time{
		`90`:                          noon.Add(90 * time.Second),
		`0.25`:                        noon.Add(250 * time.Millisecond),
		`"1d12h"`:                     noon.Add(36 * time.Hour),
		`"2026-12-01T00:00:00+01:00"`: time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC),
		`"2020-01-01T00:00:00Z"`:      time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		entries, _ := message.ParseDocuments([]byte(with(`"expires":`+text)), noon)
		if entries[0].Err != nil || !entries[0].Message.Expires.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", text, entries[0].Message, entries[0].Err, want)
		}
	}
}

// Each error tells the field, what was there and what is allowed.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown field", with(`"methd":"x"`), `unknown field "methd": want "method"`},
		{"unknown field, nothing near", with(`"colour":"x"`), `unknown field "colour": want one of toNode, toNodes`},
		{"wrong case", with(`"Retries":1`), `unknown field "Retries": want "retries" (upper and lower case count)`},
		{"duplicate", with(`"toNode":"ship2"`), `toNode is there twice`},
		{"duplicate by escape", with(`"to\u004eode":"ship2"`), `toNode is there twice`},
		{"both", with(`"toNodes":["ship2"]`), `toNodes stands beside toNode`},
		{"both timeouts", with(`"timeout":1,"ackTimeout":1`), `ackTimeout stands beside timeout`},
		{"neither", `{"data":[],"commandOrEvent":"EventACK","method":"Ping"}`, `toNode is missing`},
		{"no data", `{"toNode":"a","commandOrEvent":"EventACK","method":"Ping"}`, `data is missing`},
		{"no kind", `{"toNode":"a","data":[],"method":"Ping"}`, `commandOrEvent is missing`},
		{"no method", `{"toNode":"a","data":[],"commandOrEvent":"EventACK"}`, `method is missing`},
		{"kind", strings.Replace(one("a"), "CommandACK", "Command", 1), `commandOrEvent is "Command": want CommandACK, CommandNACK`},
		{"node", one("ship.1"), `"ship.1"`},
		{"null", strings.Replace(one("a"), `["true"]`, "null", 1), `data is null: want a list of strings`},
		{"null in data", strings.Replace(one("a"), `"true"`, `"x",null`, 1), `data[1] is null: want a string`},
		{"number in data", strings.Replace(one("a"), `"true"`, `5`, 1), `data[0] is 5: want a string`},
		{"string for data", strings.Replace(one("a"), `["true"]`, `"ls -l"`, 1), `data is the string "ls -l": want a list of strings`},
		{"object for node", strings.Replace(one("a"), `"a"`, `{}`, 1), `toNode is an object: want a string`},
		{"not UTF-8", strings.Replace(one("a"), "true", "ab\xff", 1), `data[0] has the byte 0xff, which is not UTF-8, at byte 2`},
		{"not UTF-8 in a name", with("\"a\xff\":1"), `a field name has the byte 0xff`},
		{"lone surrogate", strings.Replace(one("a"), "true", `\ud800x`, 1), `half of a surrogate pair, \ud800`},
		{"reversed surrogates", strings.Replace(one("a"), "true", `\udc00\ud800`, 1), `half of a surrogate pair, \udc00`},
		{"NUL", strings.Replace(one("a"), "true", `x\u0000`, 1), `data[0] has a NUL at byte 1`},
		{"raw control character", strings.Replace(one("a"), "true", "x\ty", 1), `control character 0x09 in a string`},
		{"escape", strings.Replace(one("a"), "true", `\x`, 1), `the escape "\\x"`},
		{"retries", with(`"retries":1.0`), `retries is 1.0: want a whole number, 0 to 1000000`},
		{"retries too many", with(`"retries":99999999999999999999`), `want a whole number, 0 to 1000000`},
		{"retries string", with(`"retries":"3"`), `retries is the string "3"`},
		{"timeout below", with(`"timeout":-1`), `timeout is -1: want seconds, or a string like "30s"`},
		{"timeout above", with(`"timeout":1e300`), `timeout is 1e300`},
		{"timeout infinite", with(`"timeout":1e999`), `timeout is 1e999`},
		{"timeout words", with(`"timeout":"soon"`), `timeout is the string "soon"`},
		{"methodTimeout above", with(`"methodTimeout":"8d"`), `want seconds, or a string like "30s", "1h30m" or "7d", from 0 to "7d"`},
		{"expires zero", with(`"expires":0`), `expires is 0: want an RFC 3339 time`},
		{"expires above", with(`"expires":"400d"`), `expires is the string "400d"`},
		{"expires year", with(`"expires":"2300-01-01T00:00:00Z"`), `up to "366d"`},
		{"onUnknown", with(`"onUnknown":"maybe"`), `onUnknown is "maybe": want "report" or "rerun"`},
		{"labels", with(`"labels":{"a":1}`), `labels.a is 1: want a string`},
		{"labels twice", with(`"labels":{"a":"1","a":"2"}`), `labels.a is there twice`},
		{"no nodes", `{"toNodes":[],"data":[],"commandOrEvent":"EventACK","method":"Ping"}`, `toNodes is an empty list`},
		{"a node twice", `{"toNodes":["a","a"],"data":[],"commandOrEvent":"EventACK","method":"Ping"}`, `toNodes[1] is "a", as is toNodes[0]`},
		{"a bad node", `{"toNodes":["a","b.c"],"data":[],"commandOrEvent":"EventACK","method":"Ping"}`, `toNodes[1]`},
		{"deep", with(`"labels":` + strings.Repeat("[", 20) + strings.Repeat("]", 20)), `more than 16 nested brackets`},
		{"too big", strings.Replace(one("a"), "true", strings.Repeat("x", message.MaxBodyBytes+1), 1), `bytes of text: want at most 1048576`},
		{"too many strings", strings.Replace(one("a"), `"true"`, strings.Repeat(`"",`, message.MaxData)+`""`, 1), `data has 4097 strings`},
		{"not an object", `[5]`, `the message is 5: want an object`},
		{"comment", "{//x\n}", `line 1, column 2: invalid message: the text has "/": want a field name in double quotes`},
		{"UTF-16", "\xff\xfe{\x00}\x00", `UTF-16`},
		{"unfinished", `{"toNode":`, `never finished`},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries := message.ParseComplete([]byte(c.text), noon)
			if len(entries) != 1 {
				t.Fatalf("%d entries: %s", len(entries), nodes(entries))
			}
			err := entries[0].Err
			if !errors.Is(err, message.ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v\nwant   %s", err, c.want)
			}
			if entries[0].Message != nil || len(entries[0].Raw) == 0 {
				t.Errorf("message %v, raw %q", entries[0].Message, entries[0].Raw)
			}
		})
	}
}

func TestErrorSaysWhere(t *testing.T) {
	text := "[\n " + one("a") + ",\n " + with(`"x":1`) + "\n]\n{\"toNode\" 1}"
	entries, _ := message.ParseDocuments([]byte(text), noon)
	if nodes(entries) != "a ! !" {
		t.Fatalf("got %q", nodes(entries))
	}
	at := strings.Index(text, with(`"x":1`))
	if entries[1].Offset != int64(at) || entries[1].Line != 3 || entries[1].Column != 2 || entries[1].Where() != "message 2 of the document, at line 3, column 2" {
		t.Errorf("%+v", entries[1])
	}
	if want := "message 1 of the document, at line 5, column 11: invalid message: the text has \"1\": want"; !strings.HasPrefix(entries[2].Err.Error(), want) {
		t.Errorf("error %v; want %s", entries[2].Err, want)
	}
}

// The place of an error is that of the value that is wrong, in a message that
// fills many lines, too.
func TestErrorSaysWhichValue(t *testing.T) {
	const good = `[
  {
    "toNodes": ["ship1",
      "ship2"],
    "data": [
      "one",
      "two"
    ],
    "commandOrEvent": "CommandACK",
    "method": "CLICommand",
    "retries": 3,
    "labels": {"a": "b",
      "c": "d"}
  }
]`
	for _, c := range []struct{ old, new, want string }{
		{`"two"`, `2`, "line 7, column 7: invalid message: data[1] is 2: want a string"},
		{`"two"`, `"\ud800"`, "line 7, column 7: "},
		{`"CommandACK"`, `"Command"`, `line 9, column 23: invalid message: commandOrEvent is "Command": want CommandACK`},
		{`"CLICommand"`, `"CLI.Command"`, `line 10, column 15: invalid message: method: `},
		{`"retries": 3`, `"retries": -3`, "line 11, column 16: invalid message: retries is -3: want a whole number, 0 to 1000000"},
		{`"retries"`, `"retrys"`, `line 11, column 15: invalid message: the message has an unknown field "retrys": want "retries"`},
		{`"d"`, `null`, `line 13, column 12: invalid message: labels.c is null`},
		{`"ship2"`, `"ship1"`, `line 3, column 16: invalid message: toNodes[1] is "ship1", as is toNodes[0]`},
		{`"method"`, `"data"`, `line 10, column 13: invalid message: data is there twice`},
		{`"method": "CLICommand",`, ``, `line 2, column 3: invalid message: method is missing`},
		{`"two"`, `"two`, `line 7, column 11: invalid message: the text has the control character 0x0a in a string`},
	} {
		e := message.ParseComplete([]byte(strings.Replace(good, c.old, c.new, 1)), noon)[0]
		if !strings.HasPrefix(fmt.Sprint(e.Err), "message 1 of the document, at "+c.want) {
			t.Errorf("%s for %s: %v\nwant %s", c.new, c.old, e.Err, c.want)
		}
	}
}

// What is broken leaves its neighbours alone. "…" stands for the rest of the text
// that is not consumed.
func TestNeighbours(t *testing.T) {
	a, b, c := one("a"), one("b"), one("c")
	for _, x := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"blank", " \r\n\t\xef\xbb\xbf \n", ""},
		{"documents", "\xef\xbb\xbf" + a + "[" + b + "]\n\n\xef\xbb\xbf" + c + "\n", "a b c"},
		{"empty list", "[]" + a, "a"},
		{"half object", a + "\n" + b[:20], "a …"},
		{"half list", a + "[" + b + "," + c + ",", "a …"},
		{"half literal", a + `[{"toNode":nul`, "a …"},
		{"half string", a + `{"toNode":"x\`, "a …"},
		{"half garbage", a + " hello", "a …"},
		{"garbage, then a line", a + " hello {}\nmore\n" + b, "a ! b"},
		{"syntax in an object", `{"toNode":x "}"}` + b, "! b"},
		{"single quotes", "{'toNode':'x'}\n" + b, "! b"},
		{"syntax in a list", "[" + a + `,{"toNode" "x"},` + c + "]" + b, "a ! c b"},
		{"number in a list", "[" + a + `,007,` + c + "]", "a ! c"},
		{"missing comma", "[" + a + " " + b + "," + c + "]", "a ! c"},
		{"missing comma, zero indent", "[\n" + a + "\n" + b + ",\n" + c + "\n]\n" + a, "a ! b c a"},
		{"comma too many", "[" + a + "," + b + ",]" + c, "a b ! c"},
		{"comma first", "[," + a + "," + b + "]" + c, "! a b c"},
		{"comma twice", "[" + a + ",," + b + "]" + c, "a ! b c"},
		{"bracket too many", a + "}\n" + b, "a ! b"},
		{"bracket too many in a list", "[" + a + "}," + b + "]" + c, "a ! b c"},
		{"deep", strings.Repeat("[", 5000) + "\n" + b, "! b"},
		{"list never closed", "[" + a + ",\n\n" + b + "\n" + c + "\n", "a b ! c"},
		{"object never closed", strings.TrimSuffix(a, "}") + "\n" + b + "\n", "! b"},
		{"data never closed", `{"toNode":"x","data":["a"` + "\n" + b + "\n" + c, "! b c"},
		{"after a comma", `{"toNode":"x",` + "\n" + b + "\n" + c, "! b c"},
		{"string never closed", `{"toNode":"x` + "\n" + b + "\n" + c, "! b c"},
		{"string never closed in a list", "[\n" + a + ",\n" + `{"toNode":"x` + "\n" + "},\n" + b + ",\n" + c + "\n]\n" + a, "a ! b c a"},
		{"brackets that cross", `{"toNode":["x"}` + "\n" + b, "! b"},
	} {
		t.Run(x.name, func(t *testing.T) {
			entries, n := message.ParseDocuments([]byte(x.text), noon)
			got := nodes(entries)
			if n < len(x.text) {
				got = strings.TrimSpace(got + " …")
			}
			if got != x.want {
				t.Errorf("got %q, want %q", got, x.want)
			}
			if l, _, err := message.Survey(strings.NewReader(x.text), int64(len(x.text))); l != int64(n) || err != nil {
				t.Errorf("Survey %d, %v, consumed %d", l, err, n)
			}
		})
	}
}

// A text that will not grow gives up its whole messages too.
func TestCompleteText(t *testing.T) {
	a, b, c := one("a"), one("b"), one("c")
	for _, x := range []struct{ name, text, want string }{
		{"half object", a + "\n" + b[:20], "a !"},
		{"half list", "[" + a + "," + b + ",", "a b !"},
		{"half list, in an object", "[" + a + "," + b[:30], "a !"},
		{"half list, then a line", "[" + a + "," + b[:30] + "\n" + c, "a ! c"},
		{"value never written", `{"toNode":` + "\n" + b + "\n" + c, "! b c"},
		{"garbage", "hello", "!"},
		{"zeros", strings.Repeat("\x00", 1000), "!"},
	} {
		if got := nodes(message.ParseComplete([]byte(x.text), noon)); got != x.want {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

// Reading goes on from every mark as if it had never stopped.
func TestMark(t *testing.T) {
	text := []byte(one("a") + "\n[" + one("b") + ",\n5," + one("c") + "]\n" +
		strings.Replace(one("x"), `"toNode":"x"`, `"toNodes":["d","e","f"]`, 1) + "[" + one("g") + "\n" + one("h") + ",\n" + one("i") + "]\n" + one("j") + "\nrubbish\n")
	whole := message.ParseComplete(text, noon)
	if got := nodes(whole); got != "a b ! c d e f ! g h i j !" && got != "a b ! c d e f g ! h i j !" {
		t.Fatalf("got %q", got)
	}
	d := message.Documents{Source: bytes.NewReader(text), Size: int64(len(text)), Now: noon, Final: true}
	for i := range whole {
		if _, ok := d.Next(); !ok {
			t.Fatalf("ends at %d", i)
		}
		m := d.Mark()
		rest := message.Documents{Source: bytes.NewReader(text), Size: int64(len(text)), Now: noon, From: m, Final: true}
		for _, want := range whole[i+1:] {
			got, ok := rest.Next()
			if !ok || fmt.Sprint(got.Err) != fmt.Sprint(want.Err) || got.Offset != want.Offset || !reflect.DeepEqual(got.Message, want.Message) {
				t.Fatalf("after %d, from %+v: got %+v\nwant %+v", i, m, got, want)
			}
		}
		if e, ok := rest.Next(); ok {
			t.Fatalf("after %d: one more: %+v", i, e)
		}
	}
	if m := d.Mark(); m.Offset != int64(len(text)) || m.Skip != 0 {
		t.Errorf("last mark %+v", m)
	}
}

// A mark of the first form, which counts from the beginning of a document, still
// tells the same place.
func TestMarkOfFirstForm(t *testing.T) {
	text := one("x") + "\n[" + one("a") + "," + strings.Replace(one("x"), `"toNode":"x"`, `"toNodes":["b","c"]`, 1) + "," + one("d") + "]" + one("e")
	at := int64(strings.Index(text, "\n[") + 1)
	d := message.Documents{Source: strings.NewReader(text), Size: int64(len(text)), Now: noon, From: message.Mark{Offset: at, Line: 1, Skip: 2}}
	var got []message.Entry
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		got = append(got, e)
	}
	if nodes(got) != "c d e" {
		t.Errorf("got %q", nodes(got))
	}
}

func TestDocumentRoundTrip(t *testing.T) {
	m := &message.Message{
		ToNode: "ship1", Data: []string{"<&>", "é\u2028\x7f", ""}, Kind: subject.CommandNACK, Method: "CLICommand",
		AckTimeout: 1500*time.Millisecond + 1, Retries: 7, MethodTimeout: 24 * time.Hour, Expires: noon.Add(time.Nanosecond),
		OnUnknown: message.Rerun, ReplyTo: "central", ReplyMethod: "TextLogging", Directory: "a/b", FileName: "c.log",
		Labels: map[string]string{"b": "2", "a": "1"},
	}
	entries := message.ParseComplete(message.Document(m), noon)
	if len(entries) != 1 || entries[0].Err != nil || !reflect.DeepEqual(entries[0].Message, m) {
		t.Errorf("got %+v, %v\nwant %+v", entries[0].Message, entries[0].Err, m)
	}
	least := &message.Message{ToNode: "a", Kind: subject.EventACK, Method: "Ping"}
	if got, want := string(message.Document(least)), `{"toNode":"a","data":[],"commandOrEvent":"EventACK","method":"Ping"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A text that is cut anywhere loses no message and doubles none.
func TestCutAnywhere(t *testing.T) {
	text := []byte(one("a") + "\n[" + one("b") + ", " + one("c") + "]" + with(`"labels":{"k":"\u00e9"}`) + "\n")
	for i := range text {
		head, n := message.ParseDocuments(text[:i], noon)
		rest, m := message.ParseDocuments(text[n:], noon)
		if got := strings.TrimSpace(nodes(head) + " " + nodes(rest)); got != "a b c ship1" || n+m != len(text) {
			t.Fatalf("cut at %d: %q, consumed %d+%d", i, got, n, m)
		}
	}
}

func FuzzParseDocuments(f *testing.F) {
	for _, s := range []string{one("a"), "[" + one("a") + "," + with(`"expires":"7d"`) + "]", `{"toNode":"x` + "\n" + one("b"), "[{},,]5\n[", "\xef\xbb\xbf[[[[", `{"data":["\ud83d\ude00"]}`} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		entries, n := message.ParseDocuments(b, noon)
		if n < 0 || n > len(b) {
			t.Fatalf("consumed %d of %d", n, len(b))
		}
		final := message.ParseComplete(b, noon)
		for _, e := range append(entries, final...) {
			checkEntry(t, b, e)
		}
		for i, e := range entries {
			if fmt.Sprint(final[i].Err) != fmt.Sprint(e.Err) {
				t.Fatalf("entry %d changes when the text ends: %v, %v", i, e.Err, final[i].Err)
			}
		}
		if cut >= 0 && cut < len(b) {
			if _, k := message.ParseDocuments(b[:cut], noon); k > cut {
				t.Fatalf("consumed %d of %d", k, cut)
			}
		}
	})
}

func checkEntry(t *testing.T, b []byte, e message.Entry) {
	if (e.Message == nil) == (e.Err == nil) {
		t.Fatalf("neither or both: %+v", e)
	}
	if string(b[e.Offset:int(e.Offset)+len(e.Raw)]) != string(e.Raw) {
		t.Fatalf("raw %q is not at %d", e.Raw, e.Offset)
	}
	if e.Err != nil {
		if !errors.Is(e.Err, message.ErrInvalid) {
			t.Fatalf("error does not wrap ErrInvalid: %v", e.Err)
		}
		return
	}
	again := message.ParseComplete(message.Document(e.Message), noon)
	if len(again) != 1 || again[0].Err != nil || !reflect.DeepEqual(again[0].Message, e.Message) {
		t.Fatalf("%+v does not come back: %+v", e.Message, again)
	}
}
