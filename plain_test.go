package steward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// plain is a CloudEvent as any client writes it: no word of it is steward's.
func plain(source, id, data string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","type":"com.example.made","source":%q,"id":%q,"data":%s}`, source, id, data)
}

// answers sends b to s and reads the verdicts.
func answers(t *testing.T, nc *nats.Conn, s string, b []byte) (acks []ack.Ack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, s, b)
	if err != nil {
		t.Fatal(err)
	}
	var a struct{ Acks []ack.Ack }
	if err := json.Unmarshal(m.Data, &a); err != nil || len(a.Acks) == 0 {
		t.Fatalf("%s, %v", m.Data, err)
	}
	return a.Acks
}

// A CloudEvent of another client is durable when it is acked, runs once however
// often it comes, and only if its source may ask for the method.
func TestPlainCloudEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		const job = "steward.ship1.EventACK.Job"
		allow := func(cfg *steward.Config) { cfg.Allow = map[string][]string{"Job": {"sensor"}} }
		ship := c.Start("ship1", allow)
		time.Sleep(time.Second)
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if a := answers(t, nc, job, plain("sensor", "a", `["first"]`)); a[0].Verdict != ack.Accepted {
			t.Errorf("first: %+v", a)
		}
		ship.Crash() // at once: what was acked is not lost
		ship = c.Start("ship1", allow)
		time.Sleep(time.Second)
		batch := fmt.Appendf(nil, "[%s,%s]", plain("sensor", "a", `["first"]`), plain("sensor", "b", `"second"`))
		if a := answers(t, nc, job, batch); len(a) != 2 || a[0].Verdict != ack.Accepted || a[1].Verdict != ack.Accepted {
			t.Errorf("batch: %+v", a)
		}
		if err := nc.Publish(job, plain("sensor", "c", `{"data":["third"]}`)); err != nil { // nobody waits for the ack
			t.Fatal(err)
		}
		for _, refused := range []struct{ subject, event, why string }{
			{job, string(plain("stranger", "d", `["no"]`)), "does not take Job from stranger"},
			{job, string(plain("urn:other", "e", `["no"]`)), "does not take Job from external"},
			{"steward.ship1.EventACK.Nope", string(plain("sensor", "f", `["no"]`)), "method Nope"},
			{"steward.ship1.EventNACK.Job", string(plain("sensor", "g", `["no"]`)), "EventNACK"},
			{job, `{"specversion":"1.0","id":"h"}`, "a CloudEvent has"},
			{job, string(plain("sensor", "i", `["no"`)), "malformed event"},
		} {
			if a := answers(t, nc, refused.subject, []byte(refused.event)); a[0].Verdict != ack.Rejected || !strings.Contains(a[0].Reason, refused.why) {
				t.Errorf("%s: %+v", refused.why, a)
			}
		}
		time.Sleep(time.Second)
		wantRuns(t, c, "first", "second", "third")
		wantFailure(t, ship, errorkernel.Rejection, "malformed event") // the latest of them
		if list, err := ship.Messages(t.Context(), store.Filter{FromNode: "sensor"}); err != nil || len(list) != 3 || list[0].Outcome != ack.Done {
			t.Errorf("ship1 keeps %+v, %v", list, err)
		}
	})
}

// However many methods strangers invent, the node's own are served.
func TestInventedMethods(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Start("ship1")
		time.Sleep(time.Second)
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for i := range 1200 {
			if err := nc.Publish(fmt.Sprintf("steward.ship1.EventNACK.Invented%d", i), plain("stranger", "x", `["no"]`)); err != nil {
				t.Fatal(err)
			}
		}
		if a := answers(t, nc, "steward.ship1.EventACK.Job", plain("sensor", "a", `["first"]`)); a[0].Verdict != ack.Accepted {
			t.Errorf("%+v", a)
		}
		central := c.Start("central")
		if outcome, why := central.Outcome(central.Submit(stewardtest.Command("ship1", "second")), time.Minute); outcome != ack.Done {
			t.Errorf("%s: %s", outcome, why)
		}
	})
}

// client is connected as one that is no steward.
func client(t *testing.T, c *stewardtest.Cluster) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A stranger that calls itself like the node, or like another one, stands in the way
// of no message of theirs.
func TestPlainSourceIsANode(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		time.Sleep(time.Second)
		ship := c.Start("ship1") // its epoch is above central's
		time.Sleep(time.Second)
		nc := client(t, c)
		defer nc.Close()
		var want, ids []string
		for i := range 4 {
			want = append(want, fmt.Sprint("own", i))
			ids = append(ids, ship.Submit(stewardtest.Command("ship1", want[i], "1m")))
		}
		time.Sleep(time.Second)
		for i := range 4 {
			for _, source := range []string{"ship1", "central"} {
				want = append(want, fmt.Sprint(source, i))
				if a := answers(t, nc, "steward.ship1.CommandACK.Job", plain(source, fmt.Sprint(i), fmt.Sprintf("[%q]", want[len(want)-1]))); a[0].Verdict != ack.Accepted {
					t.Fatalf("%+v", a)
				}
			}
		}
		want = append(want, "command")
		id := central.Submit(stewardtest.Command("ship1", "command"))
		for i := range 10 { // the worker has always something to do
			time.Sleep(20 * time.Second)
			want = append(want, fmt.Sprint("more", i))
			answers(t, nc, "steward.ship1.CommandACK.Job", plain("central", want[len(want)-1], fmt.Sprintf("[%q]", want[len(want)-1])))
		}
		if outcome, why := central.Outcome(id, time.Second); outcome != ack.Done {
			t.Errorf("command: %s: %s", outcome, why)
		}
		for _, id := range ids {
			if outcome, why := ship.Outcome(id, time.Hour); outcome != ack.Done {
				t.Errorf("own message: %s: %s", outcome, why)
			}
		}
		time.Sleep(time.Hour)
		wantOnce(t, c, want...)
	})
}

// A request of a stranger is one step, with one notice, and one that has too much in
// it is refused whole.
func TestManyPlainEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		ship := c.Start("ship1")
		time.Sleep(time.Second)
		nc := client(t, c)
		defer nc.Close()
		const job = "steward.ship1.EventACK.Job"
		ask := func(events []string) (a struct {
			Acks  []ack.Ack
			Error string
		}) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m, err := nc.RequestWithContext(ctx, job, []byte("["+strings.Join(events, ",")+"]"))
			if err == nil {
				err = json.Unmarshal(m.Data, &a)
			}
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		long := fmt.Sprintf(`{"specversion":"1.0","type":"a","source":"sensor","id":"1","data":{"data":[],"fileName":"/%s"}}`, strings.Repeat("<", 800))
		if a := ask(slices.Repeat([]string{long}, 1000)); len(a.Acks) != 1000 || a.Acks[999].Verdict != ack.Rejected || a.Acks[0].Reason == "" {
			t.Errorf("%d acks, %s", len(a.Acks), a.Error)
		}
		if a := ask(slices.Repeat([]string{"{}"}, 1001)); len(a.Acks) != 0 || !strings.Contains(a.Error, "1001 events") {
			t.Errorf("too many: %d acks, %s", len(a.Acks), a.Error)
		}
		time.Sleep(time.Minute)
		list, err := ship.Failures(t.Context(), api.FailureFilter{Class: errorkernel.Rejection})
		if err != nil || len(list) != 1 || list[0].Count != 1 || !strings.Contains(list[0].Cause, "999 more") {
			t.Errorf("failures %+v, %v", list, err)
		}
	})
}

// What strangers sent is history like any other: of its time, and gone with it.
func TestPlainHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		time.Sleep(time.Second)
		ship := c.Start("ship1", func(cfg *steward.Config) { cfg.HistoryCount, cfg.HistoryAge = 10, 24*time.Hour })
		time.Sleep(time.Second)
		nc := client(t, c)
		defer nc.Close()
		for i := range 30 {
			answers(t, nc, "steward.ship1.EventACK.Job", plain("sensor", fmt.Sprint(i), `["plain"]`))
		}
		time.Sleep(10 * time.Minute)
		id := central.Submit(stewardtest.Command("ship1", "command"))
		time.Sleep(10 * time.Minute)
		if r, err := ship.Message(t.Context(), id); err != nil || r.Outcome != ack.Done {
			t.Errorf("the receiver has %+v, %v", r, err)
		}
		if list, err := ship.Messages(t.Context(), store.Filter{FromNode: "sensor"}); err != nil || len(list) == 0 || len(list) > 9 || list[0].AcceptedAt.IsZero() {
			t.Errorf("%d plain events are kept, %v", len(list), err)
		}
		time.Sleep(3 * 24 * time.Hour)
		if list, err := ship.Messages(t.Context(), store.Filter{FromNode: "sensor"}); err != nil || len(list) != 0 {
			t.Errorf("three days later %d plain events are kept, %v", len(list), err)
		}
	})
}

// Two methods may get the same event; what lives for too long lives as long as can be.
func TestPlainEventOnTwoSubjects(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		ship := c.Start("ship1")
		time.Sleep(time.Second)
		nc := client(t, c)
		defer nc.Close()
		event := []byte(`{"specversion":"1.0","type":"a","source":"sensor","id":"1","expirytime":"9999-01-01T00:00:00Z","data":["x"]}`)
		for range 2 {
			answers(t, nc, "steward.ship1.EventACK.Job", event)
			answers(t, nc, "steward.ship1.CommandACK.Job", event)
		}
		time.Sleep(time.Second)
		wantRuns(t, c, "x", "x")
		list, err := ship.Messages(t.Context(), store.Filter{FromNode: "sensor"})
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		for _, r := range list {
			if time.Until(r.ExpiresAt) > message.MaxLifetime {
				t.Errorf("it lives until %s", r.ExpiresAt)
			}
		}
	})
}
