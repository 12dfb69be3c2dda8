package steward_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// A result that the broker does not carry arrives cut: its command's end is known,
// and nothing piles up at the receiver.
func TestResultTooBigForTheBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Handle("ship1", process.Method{Name: "Flood", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result {
			return message.Result{Outcome: ack.Done, Stdout: message.Text(strings.Repeat("a", 2<<20))}
		})})
		central := c.Start("central")
		c.Start("ship1")
		m := stewardtest.Command("ship1")
		m.Method, m.Data = "Flood", []string{"x"}
		id := central.Submit(m)
		want(t, central, ack.Done, id)
		r, err := central.Message(t.Context(), id)
		if err != nil || !r.Result.Truncated || r.Result.StdoutBytes != 2<<20 || len(r.Result.Stdout) < 900_000 {
			t.Errorf("%d of %d bytes came, cut: %t, %v", len(r.Result.Stdout), r.Result.StdoutBytes, r.Result.Truncated, err)
		}
		time.Sleep(24 * time.Hour)
		if size := len(c.Journal("ship1")); size > 40<<20 {
			t.Errorf("the receiver's journal has %d bytes", size)
		}
	})
}

// A result that is asked for again and again, because it does not come through,
// waits once.
func TestResultIsSentAgainOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		id := central.Submit(stewardtest.Command("ship1", "0", "1m"))
		time.Sleep(time.Second)
		synctest.Wait()
		old := c.Journal("central") // it is delivered, and runs
		want(t, central, ack.Done, id)
		time.Sleep(time.Second)
		central.Stop()
		c.SetJournal("central", old)
		c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
			if strings.HasSuffix(p.Subject, "."+message.MethodResult) {
				return nil
			}
			return stewardtest.Pass()
		})
		central = c.Start("central")
		time.Sleep(3 * time.Hour)
		if s, err := ship.Status(t.Context()); err != nil || s.Backlog.Waiting != 1 {
			t.Errorf("ship1 has %+v to send, %v", s.Backlog, err)
		}
		c.Link("ship1").SetFault(nil)
		want(t, central, ack.Done, id)
		wantOnce(t, c, "0")
	})
}
