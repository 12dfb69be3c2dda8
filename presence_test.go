package steward_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
)

// A node that connects is known at once, with its version and methods, and what
// waited for it for hours is sent without another pause.
func TestHello(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central", func(cfg *steward.Config) { cfg.Version = "2.0.0" })
		id := submit(t, central, "ship1", "Ping", "")[0]
		time.Sleep(6 * time.Hour)
		if p := peer(t, central, "ship1"); p.Online || p.Waiting != 1 {
			t.Errorf("before it connects: %+v", p)
		}
		began := time.Now()
		c.Handle("ship1", bilge(1, nil))
		ship := c.Start("ship1")
		if r := ended(t, central, id); r.Outcome != ack.Done || r.ToNode != "ship1" {
			t.Errorf("%+v", r)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the hello woke nobody: it took %s", took)
		}
		time.Sleep(time.Second)
		if p := peer(t, central, "ship1"); !p.Online || p.Version != "dev" || p.OS != runtime.GOOS || p.Arch != runtime.GOARCH || !slices.Contains(p.Methods, "Bilge") {
			t.Errorf("central knows %+v", p)
		}
		if p := peer(t, ship, "central"); !p.Online || p.Version != "2.0.0" {
			t.Errorf("ship1 knows %+v", p)
		}
		ship.Stop()
		time.Sleep(5 * time.Minute)
		if p := peer(t, central, "ship1"); p.Online || time.Since(p.LastSeen) < 5*time.Minute {
			t.Errorf("long after it stopped: %+v", p)
		}
	})
}

// A request that a node took with it when it died is not waited for once the node
// is back, however long the sender would wait for an ack.
func TestHelloEndsAWait(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central", func(cfg *steward.Config) { cfg.Policy = ack.Policy{Timeout: time.Hour} })
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan *nats.Msg, 1)
		if _, err := nc.ChanSubscribe("steward.ship1.CommandACK.Echo", asked); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		id := submit(t, central, "ship1", "Echo", "x")[0]
		<-asked
		nc.Close() // it never answers
		time.Sleep(time.Second)
		began := time.Now()
		c.Start("ship1")
		if r := ended(t, central, id); r.Outcome != ack.Done {
			t.Errorf("%s %s", r.Outcome, r.Reason)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
