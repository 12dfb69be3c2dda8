package steward_test

import (
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
)

// What a record says of attempts is how often delivery was tried, however the
// message ends.
func TestAttempts(t *testing.T) {
	limited := func(retries int, life time.Duration) *message.Message {
		m := stewardtest.Command("ship1", "x")
		m.Retries, m.Expires = retries, time.Now().Add(life)
		return m
	}
	ends := func(t *testing.T, n *stewardtest.Node, id string, outcome ack.Outcome, least, most int) {
		t.Helper()
		if r := ended(t, n, id); r.Outcome != outcome || r.Attempts < least || r.Attempts > most {
			t.Errorf("%s after %d attempts, want %s after %d to %d", r.Outcome, r.Attempts, outcome, least, most)
		}
	}
	t.Run("nobody listens", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central := c.Start("central")
			ends(t, central, central.Submit(limited(2, time.Minute)), ack.Expired, 3, 20) // retries are for a node that is there
			ends(t, central, central.Submit(limited(0, time.Minute)), ack.Expired, 2, 20)
			id := central.Submit(limited(0, day))
			time.Sleep(time.Minute)
			r, err := central.Cancel(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			ends(t, central, id, ack.Cancelled, max(2, r.Attempts), r.Attempts)
			late := central.Submit(limited(0, day))
			time.Sleep(time.Minute)
			c.Start("ship1")
			ends(t, central, late, ack.Done, 2, 20)
			ends(t, central, central.Submit(limited(0, day)), ack.Done, 1, 1)
		})
	})
	t.Run("no answer comes", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			want(t, central, ack.Done, commands(central, 1)...)
			c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
			ends(t, central, central.Submit(limited(2, day)), ack.Unknown, 3, 3)
		})
	})
	t.Run("no broker", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			c.Link("central").Cut()
			central := c.Start("central")
			ends(t, central, central.Submit(limited(2, time.Minute)), ack.Expired, 0, 0)
		})
	})
}
