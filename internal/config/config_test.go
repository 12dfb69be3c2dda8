package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "steward.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, src config.Sources) config.Effective {
	t.Helper()
	e, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// from is where the value of key came from, without the folder of the file.
func from(e config.Effective, key string) string {
	for _, s := range e.Settings() {
		if s.Key == key {
			return fmt.Sprint(s.Value) + " " + filepath.Base(s.From)
		}
	}
	return "none"
}

func TestPrecedence(t *testing.T) {
	file := write(t, "node: ship1\nbroker: [nats://a:4222]\nackTimeout: 7d\nhistory: {age: 1h30m, count: 5}\nretries: 1\nforward:\n  - path: /var/log/*.log\n    labels: {app: crane}\n")
	e := load(t, config.Sources{
		File: file, Environ: []string{"STEWARD_RETRIES=2", "STEWARD_CENTRAL=hq", "STEWARD_HISTORY_COUNT=6", "STEWARD_GRACE=", "HOME=/root"},
		Flags: []config.Flag{{Name: "central", Key: "central", Text: "central2"}},
	})
	if len(e.Problems)+len(e.Warnings) > 0 {
		t.Fatal(e.Problems, e.Warnings)
	}
	if e.Node != "ship1" || e.Retries != 2 || e.Central != "central2" || e.History.Count != 6 || e.Listen != "" {
		t.Errorf("%+v", e.Config)
	}
	if time.Duration(e.AckTimeout) != 7*24*time.Hour || time.Duration(e.History.Age) != 90*time.Minute {
		t.Errorf("durations %v %v", e.AckTimeout, e.History.Age)
	}
	for key, want := range map[string]string{
		"node": "ship1 steward.yaml:1:7", "broker": "[nats://a:4222] steward.yaml:2:9", "ackTimeout": "7d steward.yaml:3:13", "history.age": "1h30m steward.yaml:4:16",
		"history.count": "6 STEWARD_HISTORY_COUNT", "retries": "2 STEWARD_RETRIES", "central": "central2 --central", "grace": "10s default", "idle": "1m default",
		"listen": " default", "data": filepath.Join("data", "ship1") + " default", "inmsg": filepath.Join("data", "ship1", "inmsg.txt") + " default",
		"log.level": "info default", "prefix": "steward default", "forward[0].path": "/var/log/*.log steward.yaml:7:11", "forward[0].to": "central2 default",
		"forward[0].labels.app": "crane steward.yaml:8:19", "forward[0].journal": "none",
	} {
		if got := from(e, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// What is wrong in a file is told with the place, the key, what was there and
// what is allowed.
func TestErrorsSayWhatToDo(t *testing.T) {
	for text, want := range map[string]string{
		"nodee: x\n":                                       `:1:1: unknown key "nodee": did you mean node?`,
		"node: a\nhistory: {ages: 1d}\n":                   `:2:11: unknown key "history.ages": did you mean age?`,
		"node: a\nFORWARD: []\n":                           `:2:1: unknown key "FORWARD": did you mean forward?`,
		"node: a\nflux: 1\n":                               `:2:1: unknown key "flux": want one of node, data, listen`,
		"node: a\nforward:\n  - path: /a\n    too: b\n":    `:4:5: unknown key "forward[0].too": did you mean to?`,
		"node: a.b\n":                                      `:1:7: node cannot be: node name "a.b": only A-Z a-z 0-9 _ and - are allowed (dots separate the tokens of a subject: use "a-b")`,
		"node: a\nnode: b\n":                               ":2:1: node is there twice: also at line 1",
		"node: a\nretries: -1\n":                           ":2:10: retries is -1: want 0 or more",
		"node: a\nretries: many\n":                         `:2:10: retries is "many": want a whole number`,
		"node: a\nretries: [1]\n":                          ":2:10: retries is a list: want a single value",
		"node: a\ninsecure: perhaps\n":                     `:2:11: insecure is "perhaps": want true or false`,
		"node: a\nbroker: nats://a:1\n":                    ":2:9: broker is a single value: want a list, such as [a, b]",
		"node: a\nlog: loud\n":                             ":2:6: log is a single value: want keys, each with a value",
		"node: a\nlog: {level: warm}":                      `:2:14: log.level is "warm": want one of debug, info, warn, error: did you mean warn?`,
		"node: a\nlog: {format: xml}":                      `:2:15: log.format is "xml": want one of auto, text, json`,
		"node: a\nlisten: 127.0.0.1:1\nbroker: [y]":        `:2:9: listen is "127.0.0.1:1", and broker is set too (`,
		"node: a\nallow: {Echo: [\"a b\"]}":                `:2:16: allow.Echo[0] cannot be: node name "a b"`,
		"node: a\nallow: {Echo: central}":                  ":2:15: allow.Echo is a single value: want a list",
		"node: a\nallow: [Echo]":                           ":2:8: allow is a list: want names, each with a list",
		"node: a\nallow:\n  CLIComand: [central]\n":        ":3:14: allow.CLIComand names no method of this node: did you mean CLICommand?",
		"node: a\nallow:\n  Flux: [central]\n":             ":3:9: allow.Flux names no method of this node: it has CLICommand, Echo",
		"node: a\nallow:\n  Result: [central]\n":           ":3:11: allow.Result cannot be",
		"node: a\nidle: soon\n":                            `:2:7: idle is "soon": want seconds, or text such as 30s, 1h30m, 7d`,
		"node: a\nlisten: 0.0.0.0:4222\n":                  "--insecure",
		"node: a\nlisten: localhost\n":                     ":2:9: listen is \"localhost\": want HOST:PORT",
		"node: a\nlisten: 127.0.0.1:70000\n":               "65535",
		"node: a\nmetrics: :9090\n":                        "--insecure",
		"node: a\nbroker: [\"http://a:1\"]\n":              `:2:10: broker[0] is "http://a:1": want a URL such as nats://`,
		"node: a\nbroker: [\"nats://a:99999\"]\n":          ":2:10: broker[0] is \"nats://a:99999\": the port is a number from 1 to 65535",
		"node: a\nbroker: [\"nats://a:0\"]\n":              "from 1 to 65535",
		"node: a\nbroker:\n  - nats://a\n  - nats://b:x\n": ":4:5: broker[1] is \"nats://b:x\": want a URL",
		"node: a\nprefix: a.b\n":                           ":2:9: prefix cannot be: prefix \"a.b\"",
		"node: a\ngrace: -1s\n":                            "grace is -1s",
		"node: a\npassEnv: [\"A B\", OK, \"*\"]\n":         `:2:11: passEnv[0] is "A B": want the name of a variable`,
		"node: a\nforward: [{to: b}]\n":                    "neither path nor journal",
		"node: a\nforward: [{path: app.log}]\n":            ":2:11: forward[0] cannot be: app.log: the path is relative: want an absolute one",
		"node: [":                                          ":1:7: this is no YAML: sequence end token ']' not found",
		"- a\n":                                            ":1:1: the file is a list: want keys",
		"node: a\n---\nnode: b\n":                          ":3:",
		"node: a\nallow: {Echo: &x [*x]}\n":                "allow.Echo[0] is a list: want a single value",
		"node: *x\n":                                       ":1:7: node is *x, and no anchor has that name",
	} {
		e := load(t, config.Sources{File: write(t, text), Methods: []string{"CLICommand", "Echo"}})
		err := e.Problems.Err()
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "steward.yaml:") {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

// All that is wrong is told at once, wherever it stands.
func TestAllProblems(t *testing.T) {
	file := write(t, "nodee: x\nretries: many\nidle: -1s\nallow: {CLIComand: [central]}\n")
	e := load(t, config.Sources{
		File: file, Environ: []string{"STEWARD_GRACE=soon", "STEWARD_INSECURE=perhaps"}, Methods: []string{"CLICommand"},
		Flags: []config.Flag{{Name: "log-level", Key: "log.level", Text: "loud"}, {Name: "node", Key: "node", Text: "a"}},
	})
	var got []string
	for _, p := range e.Problems {
		got = append(got, filepath.Base(p.Where)+" "+p.Key)
	}
	want := "steward.yaml:1:1 nodee, steward.yaml:2:10 retries, STEWARD_GRACE grace, STEWARD_INSECURE insecure, steward.yaml:3:7 idle, steward.yaml:4:20 allow.CLIComand, --log-level log.level"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	if text := e.Problems.Err().Error(); !strings.Contains(text, "7 problems") || !strings.Contains(text, "\n  STEWARD_GRACE: grace is \"soon\": want seconds") ||
		!strings.Contains(text, "\n  --log-level: log.level is \"loud\"") {
		t.Error(text)
	}
}

// A variable that is no setting is a mistake, most probably.
func TestUnknownVariable(t *testing.T) {
	e := load(t, config.Sources{Environ: []string{"STEWARD_RETIRES=3", "STEWARD_CONFIG=x", "STEWARD_MESSAGE_ID=y", "STEWARD_NODE=a"}})
	if len(e.Problems) > 0 || len(e.Warnings) != 1 || !strings.HasSuffix(e.Warnings[0].String(), "did you mean STEWARD_RETRIES?") {
		t.Error(e.Problems, e.Warnings)
	}
}

// Where the broker is, the last layer that speaks of it decides.
func TestBrokerOverListen(t *testing.T) {
	file := write(t, "node: a\nlisten: 127.0.0.1:1\n")
	e := load(t, config.Sources{File: file, Environ: []string{"STEWARD_BROKER=nats://b:1,c:2", "STEWARD_LISTEN="}})
	if len(e.Problems) > 0 || e.Listen != "" || strings.Join(e.Broker, " ") != "nats://b:1 c:2" || from(e, "broker") != "[nats://b:1 c:2] STEWARD_BROKER" {
		t.Errorf("%+v, %v", e.Config, e.Problems)
	}
	e = load(t, config.Sources{File: write(t, "broker: [nats://b:1]\nnode: a\n"), Environ: []string{"STEWARD_LISTEN=127.0.0.1:2"}})
	if len(e.Problems) > 0 || e.Listen != "127.0.0.1:2" || len(e.Broker) != 0 || from(e, "broker") != "[] default" {
		t.Errorf("%+v, %v", e.Config, e.Problems)
	}
}

// No password is shown, right or wrong.
func TestPasswordsAreNotShown(t *testing.T) {
	for _, url := range []string{"nats://user:s3cret@a:4222", "nats://user:s3cret@a:99999", "http://user:s3cret@a", "nats://user:s3cret@a:x", "user:s3cret@[::1"} {
		e := load(t, config.Sources{File: write(t, "node: a\nbroker: [\""+url+"\"]\n")})
		if text := fmt.Sprint(e.Settings(), e.Problems); strings.Contains(text, "s3cret") || !strings.Contains(text, "xxxxx@") {
			t.Errorf("%s: %s", url, text)
		}
	}
}

// Anchors and tags stand for what they name.
func TestAliases(t *testing.T) {
	e := load(t, config.Sources{File: write(t, "node: !!str 1\nallow: {Echo: &crew [a, b], Ping: *crew}\npassEnv:\n# a comment\n- A\n- B_*\n")})
	if len(e.Problems) > 0 || e.Node != "1" || strings.Join(e.Allow["Ping"], " ") != "a b" || strings.Join(e.PassEnv, " ") != "A B_*" {
		t.Errorf("%+v, %v", e.Config, e.Problems)
	}
}

func TestLargeFile(t *testing.T) {
	e := load(t, config.Sources{File: write(t, "node: a\n#"+strings.Repeat("x", config.MaxBytes))})
	if err := e.Problems.Err(); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
	if _, err := config.Load(config.Sources{File: "/no/such.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestDurationText(t *testing.T) {
	for text, want := range map[string]string{"90m": "1h30m", "1.5": "1.5s", "60": "1m", "3600": "1h", "48h": "2d", "7d": "7d", "0": "0s", "-1s": "-1s", "10m0s": "10m", "25h": "25h", "110s": "1m50s"} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("%s is shown as %s, want %s (%v)", text, d, want, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte("node: ship1\nforward: [{path: /var/log/*.log, to: central}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("allow: {<<: *x, ? [a] : b}\nlog: !!map {level: |\n  x\n}"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(dir, "steward.yaml")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := config.Load(config.Sources{File: file})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range e.Problems {
			if p.Where == "" || p.Text == "" {
				t.Errorf("%+v", p)
			}
		}
		_ = e.Settings()
	})
}
