package steward_test

import (
	"context"
	"runtime"
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

// strange is a method of the SDK that gives what its data says.
func strange(m *message.Message) (r message.Result) {
	switch m.Data[0] {
	case "goexit":
		runtime.Goexit()
	case "text":
		r = message.Result{Outcome: ack.Failed, Error: "\xff"}
	case "time":
		r.EndedAt = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)
	case "ok":
	default:
		r.Outcome = ack.Outcome(m.Data[0])
	}
	return r
}

// What a handler gives that is not its to give, or that nothing can carry, becomes a
// failure that says so, or is mended; one that ends its goroutine panicked.
func TestStrangeHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Handle("ship1", process.Method{Name: "X", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result { return strange(m) })})
		central, ship := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		for _, x := range []struct {
			data    string
			outcome ack.Outcome
			why     string
		}{
			{"banana", ack.Failed, `gave the outcome "banana"`},
			{"delivered", ack.Failed, `gave the outcome "delivered"`},
			{"cancelled", ack.Failed, `gave the outcome "cancelled"`},
			{"timeout", ack.Timeout, ""},
			{"text", ack.Failed, "\ufffd"},
			{"time", ack.Done, ""},
			{"goexit", ack.Failed, "ended its goroutine"},
			{"ok", ack.Done, ""},
		} {
			id := submit(t, central, "ship1", "X", x.data)[0]
			for _, n := range []*stewardtest.Node{central, ship} {
				if got, why := n.Outcome(id, time.Hour); got != x.outcome || !strings.Contains(why, x.why) {
					t.Errorf("%s: at %s %q (%s)", x.data, n.Name(), got, why)
				}
			}
			if r, err := central.Message(t.Context(), id); err != nil || r.Result == nil || r.FinishedAt.Year() != 2000 {
				t.Errorf("%s: %+v, %v", x.data, r, err)
			}
		}
	})
}

// A check that panics refuses its message, at either end, and ends no process; the
// kernel gets the stack.
func TestCheckPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Handle("ship1", process.Method{
			Name: "X", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(context.Context, *message.Message) (r message.Result) { return r }),
			Check: func(m *message.Message) error {
				if m.Data[0] == "bad" {
					panic("oh")
				}
				return nil
			},
		})
		central, ship := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		ids := submit(t, central, "ship1", "X", "a", "bad", "b")
		want(t, central, ack.Done, ids[0], ids[2])
		if got, why := central.Outcome(ids[1], time.Hour); got != ack.RejectedEnd || !strings.Contains(why, "its check panicked: oh") {
			t.Errorf("bad: %q (%s)", got, why)
		}
		here := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "X", Data: []string{"bad"}}
		if err := ship.Node.Submit(t.Context(), here); err == nil || !strings.Contains(err.Error(), "its check panicked: oh") {
			t.Errorf("submitted: %v", err)
		}
		time.Sleep(time.Minute)
		list, err := central.Failures(t.Context(), api.FailureFilter{})
		told := 0
		for _, f := range list {
			if f.Class == errorkernel.Handler && strings.Contains(f.Cause, "strange_test.go") {
				told++
			}
		}
		if err != nil || told == 0 {
			t.Errorf("told: %+v, %v", list, err)
		}
	})
}
