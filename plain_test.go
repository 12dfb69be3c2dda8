package steward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/stewardtest"
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
