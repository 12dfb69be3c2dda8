package steward_test

import (
	"context"
	"testing"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// A command runs where it is sent to, here or elsewhere, and what its handler
// said returns.
func TestRoad(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		whoami := func(name string) process.Method {
			return process.Method{Name: "WhoAmI", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result {
				return message.Result{Outcome: ack.Done, Stdout: message.Text(name)}
			})}
		}
		c.Handle("central", whoami("central"))
		c.Handle("ship1", whoami("ship1"))
		central, _ := c.Start("central"), c.Start("ship1")
		for _, to := range []string{"ship1", "central", "ship1"} {
			r := ended(t, central, submit(t, central, to, "WhoAmI", "")[0])
			if r.State != store.Ended || r.Outcome != ack.Done || string(r.Result.Stdout) != to {
				t.Fatalf("%+v", r)
			}
		}
	})
}
