package config_test

import (
	"errors"
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

func TestPrecedence(t *testing.T) {
	file := write(t, "node: ship1\nbroker: [nats://a:4222]\nackTimeout: 7d\nhistory: {age: 1h30m, count: 5}\nretries: 1\n")
	c, err := config.Load(file, []string{"STEWARD_RETRIES=2", "STEWARD_CENTRAL=hq", "STEWARD_HISTORY_COUNT=6"}, func(c *config.Config) { c.Central = "central2" })
	if err != nil {
		t.Fatal(err)
	}
	if c.Node != "ship1" || c.Retries != 2 || c.Central != "central2" || c.History.Count != 6 || c.Listen != "" {
		t.Errorf("%+v", c)
	}
	if time.Duration(c.AckTimeout) != 7*24*time.Hour || time.Duration(c.History.Age) != 90*time.Minute {
		t.Errorf("durations %v %v", c.AckTimeout, c.History.Age)
	}
	if c.Data != filepath.Join("data", "ship1") {
		t.Errorf("data %q", c.Data)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for text, want := range map[string]string{
		"nodee: x\n":                              "nodee",
		"node: a.b\n":                             `use "a-b"`,
		"node: a\nnode: b\n":                      "node",
		"node: a\nretries: -1\n":                  "retries is -1",
		"node: a\nlog: {level: loud}":             "debug, info, warn or error",
		"node: a\nlisten: x\nbroker: [y]":         "not both",
		"node: a\nallow: {CLICommand: [\"a b\"]}": "CLICommand",
		"node: a\nidle: soon\n":                   "no duration",
		"node: a\nlisten: 0.0.0.0:4222\n":         "--insecure",
		"node: a\nlisten: localhost\n":            "HOST:PORT",
		"node: a\nlisten: 127.0.0.1:70000\n":      "65535",
		"node: a\nmetrics: :9090\n":               "--insecure",
		"node: a\nbroker: [\"http://a:1\"]\n":     "nats://",
		"node: a\nprefix: a.b\n":                  "prefix",
		"node: a\ngrace: -1s\n":                   "grace is -1s",
		"node: a\nforward: [{to: b}]\n":           "neither path nor journal",
		"node: a\nforward: [{path: app.log}]\n":   "absolute",
	} {
		_, err := config.Load(write(t, text), nil, nil)
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestEnvironmentErrorsNameTheVariable(t *testing.T) {
	for variable, want := range map[string]string{
		"STEWARD_RETRIES=many": "STEWARD_RETRIES is \"many\": want a whole number", "STEWARD_INSECURE=perhaps": "true or false",
		"STEWARD_HISTORY_AGE=old": "STEWARD_HISTORY_AGE is \"old\"",
	} {
		_, err := config.Load("", []string{variable}, nil)
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", variable, err, want)
		}
	}
}

// Where the broker is, the last layer that speaks of it decides.
func TestBrokerOverListen(t *testing.T) {
	file := write(t, "node: a\nlisten: 127.0.0.1:1\n")
	c, err := config.Load(file, []string{"STEWARD_BROKER=nats://b:1,c:2", "STEWARD_LISTEN="}, nil)
	if err != nil || c.Listen != "" || strings.Join(c.Broker, " ") != "nats://b:1 c:2" {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = config.Load(write(t, "broker: [nats://b:1]\nnode: a\n"), []string{"STEWARD_LISTEN=127.0.0.1:2"}, nil)
	if err != nil || c.Listen != "127.0.0.1:2" || len(c.Broker) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestForwardGoesToCentral(t *testing.T) {
	c, err := config.Load(write(t, "node: a\ncentral: hq\nforward: [{path: /var/log/*.log}]\n"), nil, nil)
	if err != nil || c.Forward[0].To != "hq" {
		t.Errorf("%+v, %v", c.Forward, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("node: ship1\nforward: [{path: /var/log/*.log, to: central}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := config.Parse(b)
		if err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%v (%+v)", err, c)
		}
	})
}
