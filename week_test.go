package steward_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// A hundred commands wait six days for a node whose link is cut, the sender is
// restarted meanwhile, and then the link is lost again whenever one runs, with
// every ack and result that is on its way: each runs once, in order, and is done.
func TestAWeekOutOfRange(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		const count = 100
		link := c.Link("ship1")
		ran := make(chan string, 2*count)
		c.Handle("ship1", process.Method{Name: "Count", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			ran <- m.Data[0]
			link.Cut()
			time.AfterFunc(time.Duration(len(ran)%7)*time.Minute, link.Heal)
			return message.Result{Outcome: ack.Done}
		})})
		central, _ := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Minute)
		link.Cut()
		ids := make([]string, count)
		for i := range ids {
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Count", Data: []string{strconv.Itoa(i)}, Expires: time.Now().Add(30 * day)}
			ids[i] = central.Submit(m)
		}
		time.Sleep(day)
		central.Stop()
		central = c.Start("central")
		time.Sleep(5 * day)
		link.Heal()
		want(t, central, ack.Done, ids...)
		close(ran)
		next := 0
		for d := range ran {
			if d != strconv.Itoa(next) {
				t.Fatalf("run %d was of command %s", next, d)
			}
			next++
		}
		if next != count {
			t.Errorf("%d runs of %d commands", next, count)
		}
	})
}
