package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"os"
	"os/exec"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// TestClockEdits: the text that the edit of Go's library changes is there, once, and
// what comes of it is Go.
func TestClockEdits(t *testing.T) {
	dir := t.TempDir()
	if _, err := clockOverlay(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", "-e", files[0]).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if b, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(b), "sec += torture(mono)") {
		t.Errorf("nothing was changed: %v", err)
	}
}

func TestClockSteps(t *testing.T) {
	if got, want := clockSteps(time.Hour, 200*time.Millisecond, -time.Minute), "0:3600,200:-60,400:0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := clockSteps(-time.Hour, 0, 0), "0:-3600"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestLeapsExcuse: what ended before its time is excused where a clock was wrong by
// years, and only there.
func TestLeapsExcuse(t *testing.T) {
	at := time.Unix(1, 0)
	for what, want := range map[string]int{clockFuture: 0, clockPast: 0, clockAhead: 1, clockTomorrow: 1} {
		m := store.Record{ID: "m1", ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", State: store.Ended, Outcome: ack.Expired, Labels: map[string]string{"key": "k1"}}
		j := &judgement{
			evidence: &evidence{sent: []store.Record{m}, events: []event{{Node: "ship1", What: faultClock + " " + what, At: at}}},
			byKey:    map[string][]store.Record{"k1": {m}}, orders: map[string]*receipt{"k1": {Order: Order{Key: "k1", Kind: m.Kind, Method: "Echo"}}},
		}
		if j.truth(); len(j.found) != want {
			t.Errorf("%s: %+v", what, j.found)
		}
	}
}

// TestRepeatsAroundASetClock: what was accepted twice because a clock was set while
// it was submitted may have its lines twice; nothing else may.
func TestRepeatsAroundASetClock(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	for second, want := range map[int64]int{0: 3, 2: 0, 4: 3} { // the submission lasts from 1 to 3
		a := store.Record{ID: "a", ToNode: "ship1", Kind: subject.EventACK, Method: "TextLogging", State: store.Ended, Outcome: ack.Delivered, Labels: map[string]string{"key": "k1"}}
		b := a
		b.ID = "b"
		j := &judgement{
			evidence: &evidence{
				lines:  map[string]map[subject.Kind][]string{"ship1": {subject.EventACK: {"k1 first", "k1 second", "k1 first", "k1 second"}}},
				events: []event{{Node: central, What: faultClock + " " + clockTomorrow, At: at(second)}},
			},
			byKey: map[string][]store.Record{"k1": {a, b}}, orders: map[string]*receipt{"k1": {Order: Order{Key: "k1", Way: byAPI}, from: at(1), till: at(3)}},
		}
		if j.onlyOnce(); len(j.found) != want {
			t.Errorf("a clock set at %d: %+v", second, j.found)
		}
	}
}
