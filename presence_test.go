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
	"github.com/steward-bus/steward/store"
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

// wantOnline checks whether n lists the node called name as online.
func wantOnline(t *testing.T, n *stewardtest.Node, name string, want bool) {
	t.Helper()
	time.Sleep(time.Second) // a fleet answers central's hello within half of it
	if p := peer(t, n, name); p.Online != want {
		t.Errorf("online is %t at %s: %+v", p.Online, n.Name(), p)
	}
}

// A node that stops says so: it is offline at once for whoever heard of it, also
// after a restart of the one who heard, and what is sent to it waits.
func TestGoodbye(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		wantOnline(t, central, "ship1", true)
		wantOnline(t, ship, "central", true)
		ship.Stop()
		wantOnline(t, central, "ship1", false)
		id := central.Submit(stewardtest.Command("ship1", "x"))
		time.Sleep(time.Minute)
		if r, err := central.Message(t.Context(), id); err != nil || r.State != store.Waiting || peer(t, central, "ship1").Waiting != 1 {
			t.Errorf("%s %s, %v", r.State, r.Outcome, err)
		}
		central.Stop()
		central = c.Start("central")
		wantOnline(t, central, "ship1", false)
		ship = c.Start("ship1")
		want(t, central, ack.Done, id)
		wantOnline(t, central, "ship1", true)
		wantOnline(t, ship, "central", true)
		central.Stop()
		wantOnline(t, ship, "central", false)
	})
}

// A node that is killed says nothing: it is offline when it has been silent.
func TestNoGoodbye(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		ship.Crash()
		wantOnline(t, central, "ship1", true)
		time.Sleep(3 * time.Minute)
		wantOnline(t, central, "ship1", false)
	})
}

// What comes late, of a life that is over, changes nothing: neither its goodbye
// while the next one lives, nor its hello after it has left.
func TestLateGoodbye(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		const hellos = "steward.central.EventNACK.SayHello"
		central := c.Start("central")
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		heard := make(chan *nats.Msg, 100)
		if _, err := nc.ChanSubscribe(hellos, heard); err != nil {
			t.Fatal(err)
		}
		life := func() (hello, goodbye []byte) {
			ship := c.Start("ship1")
			time.Sleep(time.Second)
			ship.Stop()
			time.Sleep(time.Second)
			hello = (<-heard).Data
			for len(heard) > 0 {
				goodbye = (<-heard).Data
			}
			return hello, goodbye
		}
		hello, goodbye := life()
		late := func(event []byte) {
			if err := nc.Publish(hellos, event); err != nil {
				t.Fatal(err)
			}
		}
		late(hello)
		wantOnline(t, central, "ship1", false)
		c.Start("ship1")
		wantOnline(t, central, "ship1", true)
		late(goodbye)
		wantOnline(t, central, "ship1", true)
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
