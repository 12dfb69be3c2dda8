package main

import (
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/stewardtest"
)

// setting is what scripts read of config check.
type setting struct {
	Key, From string
	Value     any
}

func checkConfig(t *testing.T, env []string, args ...string) (byKey map[string]setting, r ran) {
	t.Helper()
	r = call(t, env, "", append([]string{"config", "check", "-o", "json"}, args...)...)
	var got struct {
		Settings []setting
		Problems []struct{ Where, Key, Text string }
		Warnings []struct{ Where, Key, Text string }
	}
	parse(t, r.stdout, &got)
	byKey = map[string]setting{}
	for _, s := range got.Settings {
		byKey[s.Key] = s
	}
	return byKey, r
}

// Flags go over variables, and those over the file; each value says which it was.
func TestPrecedence(t *testing.T) {
	file := write(t, "steward.yaml", "node: file\ncentral: file\nretries: 1\nlisten: 127.0.0.1:1\nhistory: {age: 30d}\nlog: {level: warn}\n")
	env := []string{"STEWARD_CONFIG=" + file, "STEWARD_CENTRAL=env", "STEWARD_RETRIES=2", "STEWARD_BROKER=nats://127.0.0.1:4222", "STEWARD_DATA=/env"}
	got, r := checkConfig(t, env, "--central", "flag", "--log-format", "json")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for key, want := range map[string]setting{
		"node": {From: file + ":1:7", Value: "file"}, "central": {From: "--central", Value: "flag"}, "data": {From: "STEWARD_DATA", Value: "/env"},
		"retries": {From: "STEWARD_RETRIES", Value: 2.0}, "listen": {From: "default", Value: ""}, "history.age": {From: file + ":5:16", Value: "30d"},
		"log.level": {From: file + ":6:14", Value: "warn"}, "log.format": {From: "--log-format", Value: "json"}, "idle": {From: "default", Value: "1m"},
	} {
		if want.Key = key; got[key] != want {
			t.Errorf("%+v, want %+v", got[key], want)
		}
	}
	got, _ = checkConfig(t, env, "--listen", "127.0.0.1:2", "--data", "/flag")
	if got["listen"].From != "--listen" || got["broker"].From != "default" || got["data"].From != "--data" {
		t.Errorf("%+v", got)
	}
	got, _ = checkConfig(t, env, "--broker", "nats://user:s3cret@127.0.0.1:1", "--broker", "127.0.0.1:2")
	if urls, _ := got["broker"].Value.([]any); len(urls) != 2 || urls[0] != "nats://xxxxx@127.0.0.1:1" {
		t.Errorf("%+v", got["broker"])
	}
	if r := call(t, env, "", "config", "check", "--retries", "3"); r.code != exitUsage {
		t.Errorf("a flag that there is not: %+v", r)
	}
	r = call(t, env, "", "config", "check")
	if !strings.Contains(r.stdout, "\nhistory.age    30d") || !strings.Contains(r.stdout, "STEWARD_RETRIES\n") {
		t.Errorf("table: %s", r.stdout)
	}
}

// All that is wrong is told, by check and by run; what may be wrong by both too,
// and run begins.
func TestConfigProblems(t *testing.T) {
	file := write(t, "bad.yaml", "nodee: ship1\nretries: many\nallow: {CLIComand: [central]}\nnode: ship.1\n")
	wants := []string{
		`bad.yaml:1:1: unknown key "nodee": did you mean node?`, `bad.yaml:2:10: retries is "many": want a whole number`, `use "ship-1"`,
		"bad.yaml:3:20: allow.CLIComand names no method of this node: did you mean CLICommand?", `STEWARD_GRACE: grace is "soon": want seconds`,
		"--listen: listen is \"0.0.0.0:4222\", which others can reach",
	}
	env := []string{"STEWARD_GRACE=soon"}
	for _, verb := range [][]string{{"config", "check"}, {"run", "--data", stewardtest.ShortDir(t)}} {
		r := call(t, env, "", append(verb, "--config", file, "--listen", "0.0.0.0:4222")...)
		for _, want := range wants {
			if r.code != exitUsage || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "invalid configuration: 6 problems:") {
				t.Errorf("%v: exit code %d, want %q in\n%s", verb, r.code, want, r.stderr)
			}
		}
	}
	if got, r := checkConfig(t, env, "--config", file); r.code != exitUsage || got["node"].Value != "ship.1" {
		t.Errorf("%+v", r)
	}
	if r := call(t, nil, "", "config", "check", "--config", "/no/such.yaml"); r.code != exitNotFound {
		t.Errorf("no file: %+v", r)
	}
}

// A broker that cannot be found now may be found later. (No resolver is asked for
// a name like this one.)
func TestBrokerWhoseNameIsNotKnown(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	env := []string{"STEWARD_BROKER=nats://no..such:4222", "STEWARD_RETIRES=3"}
	r := call(t, env, "", "config", "check", "--node", "a")
	if r.code != 0 || !strings.Contains(r.stderr, "warning: STEWARD_BROKER: broker[0] names the host no..such, which is not known now") ||
		!strings.Contains(r.stderr, "did you mean STEWARD_RETRIES?") {
		t.Errorf("%+v", r)
	}
	n := begin(t, env, "run", "--node", "a", "--data", dir)
	n.line(`"msg":"configuration"`, "STEWARD_RETRIES")
	n.line(`"msg":"no broker yet; messages are accepted and wait"`, "no..such", "no such host")
	var status ran
	for end := time.Now().Add(patience); status.code != 0 || status.stdout == ""; status = call(t, nil, "", "status", "--data", dir) {
		if time.Now().After(end) {
			t.Fatalf("status: %+v", status)
		}
	}
	if s := status.stdout; !strings.Contains(s, "not connected: ") || !strings.Contains(s, "no such host") {
		t.Errorf("status: %s", s)
	}
}
