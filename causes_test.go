package steward_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// Two causes on one subject are two records, each with its own count.
func TestCausesOfOneSubjectStayApart(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		c.Handle("ship1", process.Method{
			Name: "Fickle", Kinds: []subject.Kind{subject.CommandACK},
			Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
				return message.Result{Outcome: ack.Failed, Error: m.Data[0]}
			}),
		})
		c.Start("ship1")
		for _, id := range submit(t, central, "ship1", "Fickle", "no fuel, 1 l left", "no wind", "no fuel, 2 l left", "no wind", "no wind") {
			ended(t, central, id)
		}
		time.Sleep(time.Hour)
		counts := map[string]int{}
		for _, f := range failures(t, central, api.FailureFilter{Class: errorkernel.Handler}) {
			counts[f.Cause] = f.Count
		}
		if len(counts) != 2 || counts["failed: no fuel, 2 l left"] != 2 || counts["failed: no wind"] != 3 {
			t.Errorf("central keeps %v", counts)
		}
	})
}

// The same end of messages for a thousand nodes is one storm: one record, with the
// whole count, that names some of the nodes.
func TestOneCauseOverManyNodesIsOneRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		const nodes = 1000
		central, ship := c.Start("central"), c.Start("ship1")
		ms := make([]*message.Message, nodes)
		for i := range ms {
			ms[i] = &message.Message{ToNode: fmt.Sprint("away", i), Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}, Expires: time.Now().Add(time.Hour)}
		}
		if err := ship.Node.Submit(t.Context(), ms...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
			f := failures(t, n, api.FailureFilter{Class: errorkernel.Expiry})
			if len(f) != 1 || f[0].Count != nodes || len(f[0].Among) != errorkernel.MaxAmong || !strings.HasPrefix(f[0].Among[0], "steward.away") {
				t.Errorf("%s keeps %d records: %+v", at, len(f), f)
			}
		}
		if sent := errorLogs(t, ship); len(sent) > errorkernel.MaxAmong+2 { // one for each name at most, and summaries
			t.Errorf("one storm became %d messages", len(sent))
		}
	})
}

// A refusal that has to be said again, because its ack was lost, is one failure:
// not another one for central each time.
func TestRepeatedRefusalIsOneFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		ended(t, central, submit(t, central, "ship1", "Nope", "")[0]) // they have met on this subject
		time.Sleep(time.Hour)
		answers := 0
		c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
			if p.Answer() {
				if answers++; answers < 5 {
					return nil
				}
			}
			return stewardtest.Pass()
		})
		if r := ended(t, central, submit(t, central, "ship1", "Nope", "")[0]); r.Outcome != ack.RejectedEnd || r.Attempts < 3 {
			t.Fatalf("%s after %d attempts", r.Outcome, r.Attempts)
		}
		time.Sleep(time.Hour)
		for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
			if f := failures(t, n, api.FailureFilter{Class: errorkernel.Rejection, Node: "ship1"}); len(f) != 2 || f[0].Count != 1 || f[1].Count != 1 {
				t.Errorf("%s keeps %+v", at, f)
			}
		}
		if sent := errorLogs(t, ship); len(sent) != 2 {
			t.Errorf("%d messages were sent for two failures", len(sent))
		}
	})
}
