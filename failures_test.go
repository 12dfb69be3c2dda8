package steward_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// bilge panics on "boom" and notes all else.
func bilge(concurrent int, ran chan<- string) process.Method {
	return process.Method{
		Name: "Bilge", Kinds: []subject.Kind{subject.CommandACK}, Concurrent: concurrent,
		Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			if m.Data[0] == "boom" {
				panic("the pump is dry")
			}
			ran <- m.Data[0]
			return message.Result{Outcome: ack.Done}
		}),
	}
}

// A handler that panics fails its message and its process: the process comes
// back after a pause, and is terminated at the fifth time. What it has not begun
// waits until the operator restarts it, and runs then, in order. Central knows.
func TestPanicOfAHandler(t *testing.T) {
	for name, concurrent := range map[string]int{"in order": 1, "side by side": 2} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) { panics(t, c, concurrent) })
		})
	}
}

func panics(t *testing.T, c *stewardtest.Cluster, concurrent int) {
	const name, on = "handle:central:steward.ship1.CommandACK.Bilge", "steward.ship1.CommandACK.Bilge"
	ran := make(chan string, 10)
	central := c.Start("central")
	c.Handle("ship1", bilge(concurrent, ran))
	ship := c.Start("ship1")
	boom := submit(t, central, "ship1", "Bilge", "boom")[0]
	if r := ended(t, central, boom); r.Outcome != ack.Failed || !strings.Contains(r.Reason, "the pump is dry") {
		t.Fatalf("%s: %s", r.Outcome, r.Reason)
	}
	if p := status(ship, name); p.State != errorkernel.Backoff || !strings.Contains(p.LastError, "the pump is dry") {
		t.Errorf("after a panic: %+v", p)
	}
	began := time.Now()
	if r := ended(t, central, submit(t, central, "ship1", "Bilge", "one")[0]); r.Outcome != ack.Done {
		t.Errorf("after the pause: %s %s", r.Outcome, r.Reason)
	}
	if took := time.Since(began); took < 100*time.Millisecond || took > 2*time.Second {
		t.Errorf("it came back after %s", took)
	}
	time.Sleep(time.Second)
	for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
		f := failures(t, n, api.FailureFilter{Class: errorkernel.Handler, Node: "ship1"})
		if len(f) != 1 || f[0].Severity != errorkernel.Error || f[0].Process != name || f[0].Subject != on || f[0].Message != boom ||
			f[0].Action != errorkernel.Restart || f[0].Count != 1 || !strings.Contains(f[0].Cause, "failures_test.go") {
			t.Fatalf("at %s: %+v", at, f)
		}
	}
	for range 4 {
		if r := ended(t, central, submit(t, central, "ship1", "Bilge", "boom")[0]); r.Outcome != ack.Failed {
			t.Errorf("%s: %s", r.Outcome, r.Reason)
		}
	}
	time.Sleep(time.Second)
	kept := submit(t, central, "ship1", "Bilge", "two", "three", "four")
	time.Sleep(time.Hour)
	if p := status(ship, name); p.State != errorkernel.Terminated || p.Advice != "steward processes restart "+name {
		t.Errorf("after five panics: %+v", p)
	}
	f := failures(t, central, api.FailureFilter{Class: errorkernel.Handler, Node: "ship1"})
	if f[0].Severity != errorkernel.Critical || f[0].Action != errorkernel.Terminate || !strings.Contains(f[0].Cause, "steward processes restart "+name) {
		t.Errorf("central knows %+v", f[0])
	}
	for _, id := range kept {
		if r, err := central.Message(t.Context(), id); err != nil || r.State != "delivered" {
			t.Errorf("kept: %s, %v", r.State, err)
		}
	}
	if err := ship.RestartProcess(name); err != nil {
		t.Fatal(err)
	}
	for _, id := range kept {
		if r := ended(t, central, id); r.Outcome != ack.Done {
			t.Errorf("after the restart: %s %s", r.Outcome, r.Reason)
		}
	}
	var got []string
	for range 4 {
		got = append(got, <-ran)
	}
	if concurrent == 1 && !slices.Equal(got, []string{"one", "two", "three", "four"}) {
		t.Errorf("ran %v", got)
	}
}

// Thousands of failures travel as a few messages that carry the whole count.
func TestStormOfFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		const count = 3000
		central := c.Start("central")
		ship := c.Start("ship1")
		ids := submit(t, central, "ship1", "Nope", make([]string, count)...)
		for _, id := range ids {
			if r := ended(t, central, id); r.Outcome != ack.RejectedEnd {
				t.Fatalf("%s: %s", r.Outcome, r.Reason)
			}
		}
		time.Sleep(time.Hour)
		for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
			sum := 0
			for _, f := range failures(t, n, api.FailureFilter{Class: errorkernel.Rejection, Node: "ship1"}) {
				sum += f.Count
			}
			if sum != count {
				t.Errorf("%s knows of %d failures", at, sum)
			}
		}
		if sent := errorLogs(t, ship); len(sent) == 0 || len(sent) > 10 {
			t.Errorf("%d failures became %d messages", count, len(sent))
		}
	})
}

// errorLogs are the failures that n put on the road.
func errorLogs(t *testing.T, n *stewardtest.Node) []store.Record {
	t.Helper()
	list, err := n.Messages(t.Context(), store.Filter{FromNode: n.Name(), Method: message.MethodErrorLog, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Two nodes that are each other's central, and refuse each other's failures, do
// not answer a failure of that road with another.
func TestRefusedFailuresDoNotFeedOnThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		nobody := map[string][]string{message.MethodErrorLog: {}}
		a := c.Start("a", func(cfg *steward.Config) { cfg.Central = "b"; cfg.Allow = nobody })
		b := c.Start("b", func(cfg *steward.Config) { cfg.Central = "a"; cfg.Allow = nobody })
		if r := ended(t, a, submit(t, a, "b", "Nope", "")[0]); r.Outcome != ack.RejectedEnd {
			t.Fatalf("%s: %s", r.Outcome, r.Reason)
		}
		time.Sleep(time.Hour)
		for _, n := range []*stewardtest.Node{a, b} {
			sent := errorLogs(t, n)
			if len(sent) != 1 || sent[0].Outcome != ack.RejectedEnd {
				t.Errorf("%s sent %d failures: %+v", n.Name(), len(sent), sent)
			}
			if f := failures(t, n, api.FailureFilter{Class: errorkernel.Rejection}); len(f) < 2 {
				t.Errorf("%s keeps %+v", n.Name(), f)
			}
		}
	})
}

// What cannot be delivered to central is kept here, and makes no failure for central.
func TestUndeliveredFailuresDoNotFeedOnThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Start("central")
		ship := c.Start("ship1", func(cfg *steward.Config) { cfg.Policy = ack.Policy{Retries: 2} })
		time.Sleep(time.Second) // they have met
		c.Link("central").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
		if r := ended(t, ship, submit(t, ship, "ship1", "Nope", "")[0]); r.Outcome != ack.RejectedEnd {
			t.Fatalf("%s: %s", r.Outcome, r.Reason)
		}
		time.Sleep(time.Hour)
		sent := errorLogs(t, ship)
		for _, r := range sent {
			if r.Outcome != ack.Undelivered {
				t.Errorf("%s %s %s", r.State, r.Outcome, r.Reason)
			}
		}
		if len(sent) == 0 || len(sent) > 4 {
			t.Errorf("%d failures were sent", len(sent))
		}
		if f := failures(t, ship, api.FailureFilter{Class: errorkernel.Undelivered}); len(f) != 1 || f[0].Count != len(sent) {
			t.Errorf("%+v", f)
		}
	})
}

// Failures wait for a central that is away longer than messages live, and longer
// than central keeps history; resolved is resolved until
// it happens again.
func TestFailuresWaitForCentral(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		ship := c.Start("ship1")
		ended(t, ship, submit(t, ship, "ship1", "Nope", "")[0])
		time.Sleep(time.Hour)
		ship.Stop()
		time.Sleep(message.DefaultLife + time.Hour)
		ship = c.Start("ship1")
		time.Sleep(time.Hour)
		central := c.Start("central", func(cfg *steward.Config) { cfg.HistoryAge = 24 * time.Hour })
		time.Sleep(time.Minute)
		unresolved := api.FailureFilter{Node: "ship1", Class: errorkernel.Rejection, Unresolved: true}
		f := failures(t, central, unresolved)
		if len(f) == 0 {
			t.Fatalf("central knows nothing; ship1 sent %+v", errorLogs(t, ship))
		}
		for _, other := range []api.FailureFilter{
			{Node: "ship2"}, {Class: errorkernel.Storage}, {Severity: errorkernel.Critical}, {Since: time.Now().Add(-time.Hour)},
		} {
			if f := failures(t, central, other); len(f) != 0 {
				t.Errorf("%+v finds %+v", other, f)
			}
		}
		if err := central.ResolveFailure(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		if f := failures(t, central, unresolved); len(f) != 0 {
			t.Errorf("resolved: %+v", f)
		}
		ended(t, ship, submit(t, ship, "ship1", "Nope", "")[0])
		time.Sleep(time.Minute)
		if f := failures(t, central, unresolved); len(f) == 0 {
			t.Error("it happened again, and central does not say so")
		}
		if err := central.ResolveFailure(t.Context(), fmt.Sprint("no", f[0].ID)); err == nil {
			t.Error("an id that there is not is resolved")
		}
	})
}

// The age of history counts from the end of a message, not from its beginning.
func TestHistoryCountsFromTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		const age = 24 * time.Hour
		central := c.Start("central", func(cfg *steward.Config) { cfg.HistoryAge = age })
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
		if err := central.Node.Submit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		central.Stop()
		time.Sleep(3 * age)
		central = c.Start("central", func(cfg *steward.Config) { cfg.HistoryAge = age })
		ship := c.Start("ship1", func(cfg *steward.Config) { cfg.HistoryAge = age })
		ended(t, central, m.ID.String())
		time.Sleep(time.Hour)
		for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
			if r, err := n.Message(t.Context(), m.ID.String()); err != nil || r.Outcome != ack.Done {
				t.Errorf("an hour after its end %s knows %s, %v", at, r.Outcome, err)
			}
		}
	})
}
