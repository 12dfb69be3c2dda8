package steward_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
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

// allow may name methods of the embedding program, and nothing that the node does
// not have: what was meant would be open to all.
func TestAllowNamesMethodsOfTheNode(t *testing.T) {
	allow := map[string][]string{"Bilge": {"central"}, "CLICommand": {"central"}}
	open := func(allow map[string][]string) *steward.Node {
		n, err := steward.New(steward.Config{Name: "ship1", Dir: t.TempDir(), Allow: allow, Headless: true})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := open(allow).Run(t.Context()); !errors.Is(err, steward.ErrConfig) || !strings.Contains(err.Error(), `"Bilge"`) {
		t.Errorf("without Handle: %v", err)
	}
	if err := open(map[string][]string{"CLIComand": nil}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "did you mean CLICommand?") {
		t.Errorf("misspelt: %v", err)
	}
	n := open(allow)
	if err := n.Handle(process.Method{
		Name: "Bilge", Kinds: []subject.Kind{subject.CommandACK},
		Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result { return message.Result{} }),
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := n.Run(ctx); err != nil {
		t.Errorf("after Handle: %v", err)
	}
}

// Counters count what this life did: they begin anew, and say since when. Results
// of other nodes' messages are no outcomes of this one.
func TestCountersSayTheirBeginning(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		waits := central.Submit(stewardtest.Command("ship2", "x"))
		want(t, central, ack.Done, commands(central, 3)...)
		counters := func(n *stewardtest.Node) api.Counters {
			synctest.Wait() // an outcome is counted a moment after it is durable
			s, err := n.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return s.Counters
		}
		if x := counters(central); x.Accepted != 4 || x.Outcomes[ack.Done] != 3 || len(x.Outcomes) != 1 {
			t.Errorf("central counts %+v", x)
		}
		time.Sleep(time.Second)
		if x := counters(ship); x.Accepted != 0 || x.Received != 3 || len(x.Outcomes) != 0 {
			t.Errorf("ship1 counts %+v", x)
		}
		central.Stop()
		time.Sleep(time.Hour)
		reborn := time.Now()
		central = c.Start("central")
		c.Start("ship2")
		want(t, central, ack.Done, waits)
		if x := counters(central); !x.Since.Equal(reborn) || x.Accepted != 0 || x.Outcomes[ack.Done] != 1 {
			t.Errorf("the second life counts %+v, since %s", x, reborn)
		}
	})
}
