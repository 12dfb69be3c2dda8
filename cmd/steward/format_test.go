package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// printers calls every command that prints data. A list is printed as an array,
// or as one line each.
func printers() []struct {
	command string // its path
	args    []string
	list    bool
} {
	return []struct {
		command string
		args    []string
		list    bool
	}{
		{"exec", []string{"exec", "ship1", "--", "echo", "tab\there"}, true},
		{"exec", []string{"exec", "ship1", "-d", "--", "true"}, true},
		{"send", []string{"send", "--to", "ship1", "--method", "Echo", "--wait", "--", "über"}, true},
		{"messages", []string{"messages"}, true},
		{"messages", []string{"messages", "--to", "nobody"}, true},
		{"show", []string{"show", "last"}, false},
		{"trace", []string{"trace", "last"}, false},
		{"wait", []string{"wait", "last"}, true},
		{"resend", []string{"resend", "last"}, true},
		{"nodes", []string{"nodes"}, true},
		{"processes", []string{"processes"}, true},
		{"errors", []string{"errors", "--all"}, true},
		{"status", []string{"status"}, false},
		{"version", []string{"version"}, false},
		{"config check", []string{"config", "check", "--node", "a"}, false},
		{"store stats", []string{"store", "stats"}, false},
		{"store check", []string{"store", "check"}, true},
		{"store compact", []string{"store", "compact"}, false},
		{"store init", nil, false},   // where there is no journal: TestStoreCommands
		{"store revert", nil, false}, // of a damaged one, there too
		{"cancel", nil, false},       // has a test of its own: each call needs a message to cancel
	}
}

// Data is on stdout, whole and parseable; stderr has nothing to say.
func TestFormats(t *testing.T) {
	f := newFleet(t)
	stopped := newFleet(t)
	stopped.ship.end(15)
	f.want(1, "exec", "ship1", "--", "false") // so that there is a failure to list
	for _, p := range printers() {
		if p.args == nil {
			continue
		}
		env := f.env()
		if strings.HasPrefix(p.command, "store") {
			env = []string{"STEWARD_DATA=" + stopped.data("ship1")}
		}
		for _, format := range formats() {
			t.Run(strings.Join(p.args, " ")+" "+format, func(t *testing.T) {
				args := slices.Insert(slices.Clone(p.args), len(strings.Fields(p.command)), "-o", format)
				r := call(t, env, "", args...)
				if r.code != 0 || r.stderr != "" {
					t.Fatalf("%v: %d\n%s\nstderr: %s", args, r.code, r.stdout, r.stderr)
				}
				checkFormat(t, format, r.stdout, p.list)
			})
		}
	}
}

func TestCancelFormats(t *testing.T) {
	f := newFleet(t)
	for _, format := range formats() {
		id := strings.TrimSpace(f.want(0, "exec", "nowhere", "--detach", "--", "true"))
		r := f.do("cancel", id, "-o", format)
		if r.code != 0 && r.code != exitWaiting {
			t.Fatalf("%s: %+v", format, r)
		}
		checkFormat(t, format, r.stdout, false)
	}
}

func checkFormat(t *testing.T, format, text string, list bool) {
	t.Helper()
	var doc any
	switch format {
	case "table":
		if strings.ContainsAny(text, "\x00\x1b") || strings.Contains(text, " \n") {
			t.Errorf("a table with control characters or trailing blanks: %q", text)
		}
		return
	case "jsonl":
		for line := range strings.Lines(text) {
			var object map[string]any
			parse(t, line, &object)
		}
		return
	case "json":
		d := json.NewDecoder(strings.NewReader(text))
		if err := d.Decode(&doc); err != nil || d.More() {
			t.Fatalf("not one JSON document: %v: %s", err, text)
		}
	case "yaml":
		if err := yaml.NewDecoder(bytes.NewReader([]byte(text)), yaml.Strict()).Decode(&doc); err != nil {
			t.Fatalf("not YAML: %v: %s", err, text)
		}
	}
	if _, isList := doc.([]any); isList != list {
		t.Errorf("a list: %v, want %v: %s", isList, list, text)
	}
}

// A command with -o that TestFormats leaves out would be promised and not held.
func TestFormatsCoverEveryCommand(t *testing.T) {
	tested := map[string]bool{}
	for _, p := range printers() {
		tested[p.command] = true
	}
	silent := []string{"run", "demo", "processes restart", "errors resolve", "exit-codes", "store", "config", "help", "completion"}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "steward"), " ")
		has := c.Flags().Lookup("output") != nil
		if path != "" && has != tested[path] {
			t.Errorf("%s: -o %v, tested %v", path, has, tested[path])
		}
		if path != "" && !has && !slices.Contains(silent, path) {
			t.Errorf("%s prints data without -o", path)
		}
		if path != "" && c.Example == "" && path != "exit-codes" {
			t.Errorf("%s has no example in its help", path)
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(&env{}))
}

// The fields that scripts rely on.
func TestMessagesFields(t *testing.T) {
	f := newFleet(t)
	f.want(3, "exec", "ship1", "-l", "trip=7", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
	var list []map[string]any
	parse(t, f.want(0, "messages", "-o", "json", "--to", "ship1"), &list)
	if len(list) != 1 {
		t.Fatalf("%d messages", len(list))
	}
	m := list[0]
	for field, want := range map[string]any{
		"fromNode": "central", "toNode": "ship1", "commandOrEvent": "CommandACK", "method": "CLICommand", "state": "ended", "outcome": "failed", "attempts": 1.0,
	} {
		if m[field] != want {
			t.Errorf("%s is %v, want %v", field, m[field], want)
		}
	}
	if id, _ := m["id"].(string); !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(id) {
		t.Errorf("id is %v", m["id"])
	}
	for _, field := range []string{"acceptedAt", "deliveredAt", "startedAt", "finishedAt", "endedAt", "expiresAt"} {
		if s, _ := m[field].(string); !strings.HasPrefix(s, "20") {
			t.Errorf("%s is %v", field, m[field])
		}
	}
	result, _ := m["result"].(map[string]any)
	if result["exitCode"] != 3.0 || result["stdout"] != "out\n" || result["stderr"] != "err\n" {
		t.Errorf("result is %v", m["result"])
	}
	for _, filter := range [][]string{{"--outcome", "failed"}, {"--state", "ended"}, {"-l", "trip=7"}, {"--from", "central"}, {"--method", "CLICommand"}, {"--since", "1h"}} {
		parse(t, f.want(0, append([]string{"messages", "-o", "json"}, filter...)...), &list)
		if len(list) != 1 {
			t.Errorf("%v finds %d", filter, len(list))
		}
	}
	for _, filter := range [][]string{{"--outcome", "done"}, {"-l", "trip=8"}, {"--from", "ship1", "--method", "Echo"}} {
		parse(t, f.want(0, append([]string{"messages", "-o", "json"}, filter...)...), &list)
		if len(list) != 0 {
			t.Errorf("%v finds %d", filter, len(list))
		}
	}
}
