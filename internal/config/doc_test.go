package config_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/steward-bus/steward/internal/config"
)

// keysOf are the keys that stand in a file for a value of type t: forward[].path,
// allow.*.
func keysOf(t reflect.Type, at string) (keys []string) {
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return keysOf(t.Elem(), at+"[].")
	case t.Kind() == reflect.Map:
		return []string{at + ".*"}
	case t.Kind() != reflect.Struct:
		return []string{at}
	}
	if at != "" && !strings.HasSuffix(at, ".") {
		at += "."
	}
	for i := range t.NumField() {
		keys = append(keys, keysOf(t.Field(i).Type, at+t.Field(i).Tag.Get("yaml"))...)
	}
	return keys
}

// The file that the documentation shows can be read, has every key that there is,
// and says what is the default.
func TestDocumentedFile(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	standard := load(t, config.Sources{Flags: []config.Flag{{Name: "node", Key: "node", Text: "ship1"}}})
	shown := map[string]bool{}
	index, name := regexp.MustCompile(`\[\d+\]`), regexp.MustCompile(`^(allow|.*labels)\..*`)
	for _, text := range []string{text, strings.NewReplacer("broker:", "# broker:", "# listen:", "listen:").Replace(text)} {
		e := load(t, config.Sources{File: write(t, text), Methods: []string{"CLICommand", "TextLogging"}})
		if len(e.Problems)+len(e.Warnings) > 0 {
			t.Fatal(e.Problems, e.Warnings)
		}
		for _, s := range e.Settings() {
			if s.From != "default" {
				shown[name.ReplaceAllString(index.ReplaceAllString(s.Key, "[]"), "$1.*")] = true
			}
			if i := slices.IndexFunc(standard.Settings(), func(d config.Setting) bool { return d.Key == s.Key }); i >= 0 &&
				!slices.Contains([]string{"data", "broker", "listen", "inmsg", "metrics", "passEnv"}, s.Key) && standard.Settings()[i].Value != s.Value {
				t.Errorf("%s is shown as %v, and %v without it", s.Key, s.Value, standard.Settings()[i].Value)
			}
		}
	}
	for _, key := range keysOf(reflect.TypeFor[config.Config](), "") {
		if !shown[key] {
			t.Errorf("%s is not in the documented file", key)
		}
		if variable := config.Variable(key); config.Has(key) && !strings.Contains(string(doc), "`"+variable+"`") {
			t.Errorf("%s is not documented", variable)
		}
	}
}
