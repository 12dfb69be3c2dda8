package main

import (
	"encoding/json"
	"reflect"
	"testing"

	goccy "github.com/goccy/go-yaml"
	"go.yaml.in/yaml/v3"
)

// FuzzYAML: what is printed as YAML reads back as what the JSON says, with two
// readers, whatever a label or an output holds.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{
		"<<", "~", "yes", "null", "1e3", "0x1f", " lead", "trail ", "a: b", "#x", "- a", "*a", "&a", "!t", "%d", "@", "a\nb", "a\nb\n", "\n", "\n\n a",
		"\x01", "\x7f", "\u2028", "\u0085", "\ufeff", "'", `"`, "", "? a", ":", ".inf", "=", "|", ">", "\t", "---", "...", "\r\n", "a\r\nb", "a\tb\nc", "2001-01-01", "1_000", "x \ny",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(map[string]any{s + "key": s, "list": []any{s, map[string]any{s: s}, 1, 2.5, true, nil, []any{}, map[string]any{}}})
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		printed, err := yamlOf(text)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		for name, read := range map[string]func([]byte, any) error{"yaml": yaml.Unmarshal, "goccy": goccy.Unmarshal} {
			var got any
			if err := read(printed, &got); err != nil {
				t.Errorf("%s: %q became %q: %v", name, s, printed, err)
			}
			if b, err := json.Marshal(got); err != nil || !same(b, want) {
				t.Errorf("%s: %q became %q, which is %s", name, s, printed, b)
			}
		}
	})
}

func same(text []byte, want any) bool {
	var got any
	return json.Unmarshal(text, &got) == nil && reflect.DeepEqual(got, want)
}
