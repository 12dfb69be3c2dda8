package main

import (
	"slices"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// What a server answered is shown, be the message a command or an event.
func TestHTTPStatusIsShown(t *testing.T) {
	now := time.Now()
	for code, want := range map[int]string{404: "404 Not Found", 200: "200 OK", 299: "299"} {
		r := store.Record{State: store.Ended, Outcome: ack.Delivered, AcceptedAt: now, FinishedAt: now, EndedAt: now, Result: &message.Result{HTTP: &message.HTTP{Status: code}}}
		if !slices.ContainsFunc(showRows(r), func(row []string) bool { return slices.Equal(row, []string{"http status", want}) }) {
			t.Errorf("show: %q, want %s", showRows(r), want)
		}
		if !slices.ContainsFunc(timeline(r), func(s step) bool { return s.Step == "finished" && s.Note == "http status "+want }) {
			t.Errorf("trace: %+v, want %s", timeline(r), want)
		}
	}
	r := store.Record{State: store.Ended, Outcome: ack.Delivered, AcceptedAt: now, DeliveredAt: now, FinishedAt: now, EndedAt: now, Result: &message.Result{Outcome: ack.Failed, Error: "connection refused"}}
	if rows := showRows(r); !slices.Equal(rows[len(rows)-1], []string{"result", "failed: connection refused"}) {
		t.Errorf("show of an event that failed: %q", rows)
	}
	if steps := timeline(r); len(steps) != 3 || steps[2].Note != "connection refused" {
		t.Errorf("trace of an event that failed: %+v", steps)
	}
	if rows := showRows(store.Record{Result: &message.Result{}}); slices.ContainsFunc(rows, func(row []string) bool { return row[0] == "http status" }) {
		t.Errorf("a status without a server: %q", rows)
	}
}
