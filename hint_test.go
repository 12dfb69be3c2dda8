package steward_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
)

// wantState checks where a message stands at n, in all that tells it.
func wantState(t *testing.T, n *stewardtest.Node, id string, want store.State, running int) (r store.Record) {
	t.Helper()
	r, err := n.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != want || (want == store.Started) == r.StartedAt.IsZero() && want != store.Ended {
		t.Errorf("it is %s, started at %s, want %s", r.State, r.StartedAt, want)
	}
	for _, s := range []store.State{store.Waiting, store.StateTaken, store.Started, store.Ended} {
		list, err := n.Messages(t.Context(), store.Filter{State: s, Method: "Job"})
		if err != nil {
			t.Fatal(err)
		}
		if found := len(list) > 0; found != (s == want) || found && list[0].State != want {
			t.Errorf("a list of what is %s has %d, want what is %s", s, len(list), want)
		}
	}
	if s, err := n.Status(t.Context()); err != nil || s.Backlog.Started != running {
		t.Errorf("%d run, want %d (%v)", s.Backlog.Started, running, err)
	}
	return r
}

// A sender learns that its command runs while it does, and learns it anew after
// its own restart and its receiver's hello.
func TestStartedIsKnownToTheSender(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		began := time.Now()
		id := central.Submit(stewardtest.Command("ship1", "x", "5m"))
		time.Sleep(150 * time.Millisecond) // the ack may ride along with a commit 100 ms later
		wantState(t, central, id, store.StateTaken, 0)
		time.Sleep(150 * time.Millisecond)
		if r := wantState(t, central, id, store.Started, 1); r.StartedAt.Sub(began) > 50*time.Millisecond || r.DeliveredAt.IsZero() {
			t.Errorf("delivered %s, started %s", r.DeliveredAt, r.StartedAt)
		}
		wantState(t, ship, id, store.Started, 0)
		central.Stop()
		time.Sleep(time.Second)
		central = c.Start("central")
		time.Sleep(5 * time.Second)
		if r := wantState(t, central, id, store.Started, 1); r.StartedAt.Sub(began) > 50*time.Millisecond {
			t.Errorf("after a restart it started at %s", r.StartedAt)
		}
		want(t, central, ack.Done, id)
		wantState(t, central, id, store.Ended, 0)
	})
}

// A hint that is lost costs nothing but the knowledge, until the result is overdue.
func TestLostHint(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		c.Start("ship1")
		time.Sleep(time.Second)
		c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
			if p.Subject == "steward.started.central" {
				return nil
			}
			return stewardtest.Pass()
		})
		id := central.Submit(stewardtest.Command("ship1", "x", "5m"))
		time.Sleep(10 * time.Second)
		wantState(t, central, id, store.StateTaken, 0)
		c.Link("ship1").SetFault(nil)
		time.Sleep(time.Minute)
		wantState(t, central, id, store.Started, 1)
		want(t, central, ack.Done, id)
	})
}

// What anybody says of commands that are none of this node's, went elsewhere or
// have ended is not believed.
func TestHintsThatAreNotBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		over := central.Submit(stewardtest.Command("ship1", "over"))
		want(t, central, ack.Done, over)
		waits := central.Submit(stewardtest.Command("ship2", "waits"))
		theirs := ship.Submit(stewardtest.Command("ship2", "theirs"))
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		say := func(node, id string) {
			b, err := json.Marshal(map[string]any{"node": node, "id": id, "startedAt": time.Now()})
			if err == nil {
				err = nc.Publish("steward.started.central", b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		say("ship1", over)
		say("ship1", waits)
		say("ship2", theirs)
		say("ship2", "01a1fbe6-7b18-78a6-9edd-000000000000")
		say("ship2", "no id")
		time.Sleep(time.Second)
		if s, err := central.Status(t.Context()); err != nil || s.Backlog.Started != 0 {
			t.Errorf("%d run (%v)", s.Backlog.Started, err)
		}
		say("ship2", waits) // an ack may have been lost on the way
		time.Sleep(time.Second)
		if r, err := central.Message(t.Context(), waits); err != nil || r.State != store.Started {
			t.Errorf("%s, %v", r.State, err)
		}
	})
}
