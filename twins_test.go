package steward_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
)

// twin is who serves instead of n, or nil.
func twin(t *testing.T, n *stewardtest.Node) *api.Twin {
	t.Helper()
	synctest.Wait()
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Twin
}

// wantServes checks that of two nodes only the first serves.
func wantServes(t *testing.T, serves, waits *stewardtest.Node) {
	t.Helper()
	if by := twin(t, serves); by != nil {
		t.Errorf("the one that should serve waits for %+v", by)
	}
	by := twin(t, waits)
	if by == nil {
		t.Fatal("both serve")
	}
	s, err := serves.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if by.Journal != s.StoreID || by.Data != s.Data || by.Host == "" || by.Instance == "" {
		t.Errorf("it waits for %+v, not for %s in %s", by, s.StoreID, s.Data)
	}
}

// wantPlaces checks where jobs ran: each of data once.
func wantPlaces(t *testing.T, c *stewardtest.Cluster, place string, data ...string) {
	t.Helper()
	wantOnce(t, c, data...)
	at := map[string]string{}
	for _, r := range c.Runs() {
		at[r.Data] = r.Place
	}
	for _, d := range data {
		if at[d] != place {
			t.Errorf("%s ran at %q, want %s", d, at[d], place)
		}
	}
}

// The second node of a name stands by, and says so; what it accepts waits, and the
// first loses nothing by it. It serves when the first is gone.
func TestTwinStandsBy(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, one := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 3)...)
		two := c.StartAt("twin", "ship1")
		own := two.Submit(stewardtest.Command("central", "of the twin"))
		for i := 3; i < 10; i++ {
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", strconv.Itoa(i))))
			time.Sleep(time.Minute)
		}
		wantServes(t, one, two)
		wantPlaces(t, c, "ship1", numbers(10)...)
		if r, err := two.Message(t.Context(), own); err != nil || r.State != store.Waiting || !strings.Contains(r.LastError, "stands by") {
			t.Errorf("the twin's own message is %s (%s), %v", r.State, r.LastError, err)
		}
		wantFailure(t, two, errorkernel.Identity, "another node serves as ship1")
		wantFailure(t, one, errorkernel.Identity, "another node was started as ship1")
		wantFailure(t, central, errorkernel.Identity, c.Dir("twin"))

		one.Stop()
		want(t, two, ack.Done, own)
		time.Sleep(time.Second)
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "10")))
		wantPlaces(t, c, "twin", "10")
		if by := twin(t, two); by != nil {
			t.Errorf("it still waits for %+v", by)
		}
		one = c.Start("ship1")
		time.Sleep(time.Minute)
		wantServes(t, two, one)
	})
}

// A node that starts again finds its name free at once, whether it was stopped or
// killed; a twin that stands by does not snatch it meanwhile.
func TestRestartDoesNotWait(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, one := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 3)...)
		two := c.StartAt("twin", "ship1")
		time.Sleep(time.Minute)
		for i := range 20 {
			if i%2 == 0 {
				one.Crash()
			} else {
				one.Stop()
			}
			time.Sleep(time.Duration(i) * 100 * time.Millisecond)
			began := time.Now()
			one = c.Start("ship1")
			want(t, one, ack.Done, one.Submit(stewardtest.Command("central", strconv.Itoa(100+i))))
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("restart %d: it took %s until a message came through", i, took)
			}
			time.Sleep(time.Minute)
			wantServes(t, one, two)
		}
	})
}

// Of nodes that start at the same instant exactly one serves.
func TestTwinsThatStartTogether(t *testing.T) {
	for range 10 {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central := c.Start("central")
			var ships []*stewardtest.Node
			for i := range 3 {
				ships = append(ships, c.StartAt(fmt.Sprint("twin", i), "ship1"))
			}
			ids := commands(central, 10)
			time.Sleep(time.Second)
			serving := 0
			for _, n := range ships {
				if twin(t, n) == nil {
					serving++
				}
			}
			if serving != 1 {
				t.Errorf("%d serve", serving)
			}
			want(t, central, ack.Done, ids...)
			wantRuns(t, c, numbers(10)...)
		})
	}
}

// Who was cut off and finds a twin in its place when it is back: the one that
// has served for longer goes on, and the younger one stops.
func TestTwinsAfterACut(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, one := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 3)...)
		two := c.StartAt("twin", "ship1")
		time.Sleep(time.Second)
		c.Link("ship1").Cut()
		time.Sleep(time.Second)
		away := central.Submit(stewardtest.Command("ship1", "while it was away"))
		want(t, central, ack.Done, away)
		wantPlaces(t, c, "twin", "while it was away")
		c.Link("ship1").Heal()
		time.Sleep(time.Minute)
		wantServes(t, one, two)
		wantFailure(t, two, errorkernel.Identity, "another node serves as ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "back")))
		wantPlaces(t, c, "ship1", "back")
	})
}

// What a node had accepted and not run when its machine was cloned runs once,
// whichever of the two starts first, and also if both start at once.
func TestClonedMachine(t *testing.T) {
	for _, together := range []bool{false, true} {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, one := c.Start("central"), c.Start("ship1")
			running := central.Submit(stewardtest.Command("ship1", "running", "1h"))
			waiting := central.Submit(stewardtest.Command("ship1", "waiting"))
			time.Sleep(time.Minute)
			one.Crash()
			c.CloneJournal("ship1", "twin")
			one = c.Start("ship1")
			if !together {
				time.Sleep(time.Second)
			}
			two := c.StartAt("twin", "ship1")
			time.Sleep(time.Minute)
			if twin(t, one) != nil {
				one, two = two, one
			}
			wantServes(t, one, two)
			want(t, central, ack.Unknown, running)
			want(t, central, ack.Done, waiting)
			wantFailure(t, two, errorkernel.Identity, "this journal was cloned")
			next := central.Submit(stewardtest.Command("ship1", "next"))
			want(t, central, ack.Done, next)
			one.Stop()
			time.Sleep(time.Minute)
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "last")))
			wantOnce(t, c, "running", "waiting", "next", "last")
		})
	}
}

// Clones that served apart have the same journal, with other things in it: neither
// goes on under its identity.
func TestClonesThatServedApart(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, one := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 2)...)
		one.Stop()
		c.CloneJournal("ship1", "twin")
		one = c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "2")))
		c.Link("ship1").Cut()
		time.Sleep(time.Minute)
		two := c.StartAt("twin", "ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "3")))
		c.Link("twin").SetFault(func(p stewardtest.Pub) []time.Duration { // its acks are lost
			if p.Answer() && !strings.Contains(string(p.Raw), "instance") {
				return nil
			}
			return stewardtest.Pass()
		})
		lost := central.Submit(stewardtest.Command("ship1", "4", "1m"))
		time.Sleep(20 * time.Second)
		c.Link("ship1").Heal()
		time.Sleep(time.Minute)
		wantServes(t, one, two)
		want(t, central, ack.Unknown, lost)
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "5")))
		wantOnce(t, c, numbers(6)...)
		wantFailure(t, one, errorkernel.Identity, "this journal was cloned")
		wantFailure(t, two, errorkernel.Identity, "this journal was cloned")
	})
}

// A connection that died unseen keeps the name for seconds, not for ever.
func TestSilentListenerKeepsNoName(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.SubscribeSync("steward.name.ship1.>"); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		central := c.Start("central")
		began := time.Now()
		c.Start("ship1")
		want(t, central, ack.Done, commands(central, 1)...)
		if took := time.Since(began); took < time.Second || took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// Late copies of what earlier lives said about the name, or this one on an earlier
// connection, neither make a node stand by nor alarm anybody.
func TestLateClaims(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		var said []stewardtest.Pub
		c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
			if strings.HasPrefix(p.Subject, "steward.name.") {
				said = append(said, p)
			}
			return stewardtest.Pass()
		})
		central, ship := c.Start("central"), c.Start("ship1")
		for i := range 20 {
			switch i % 3 {
			case 0:
				ship.Crash()
				c.Link("ship1").Cut() // so that it asks a while after it started
				ship = c.Start("ship1")
			case 1:
				c.Link("ship1").Cut()
			}
			time.Sleep(time.Second)
			c.Link("ship1").Heal()
			time.Sleep(time.Duration(i) * 10 * time.Second)
			synctest.Wait()
			for _, p := range slices.Clone(said) {
				_, payload, _ := strings.Cut(string(p.Raw), "\r\n")
				if err := nc.PublishRequest(p.Subject, nats.NewInbox(), []byte(strings.TrimSpace(payload))); err != nil {
					t.Fatal(err)
				}
			}
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", strconv.Itoa(i))))
			if by := twin(t, ship); by != nil {
				t.Errorf("it waits for its own past: %+v", by)
			}
		}
		synctest.Wait()
		if list := failures(t, ship, api.FailureFilter{Class: errorkernel.Identity}); len(list) > 0 || len(said) < 20 {
			t.Errorf("%d claims, %+v", len(said), list)
		}
	})
}

// Two that could not hear each other both serve, until they can: who is younger
// stops within a minute or so.
func TestTwinsThatDidNotHearEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, one := c.Start("central"), c.Start("ship1")
		c.Link("twin").SetFault(func(p stewardtest.Pub) []time.Duration {
			if strings.HasPrefix(p.Subject, "steward.name.") {
				return nil
			}
			return stewardtest.Pass()
		})
		c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
			if strings.HasPrefix(p.Subject, "steward.name.") {
				return nil
			}
			return stewardtest.Pass()
		})
		want(t, central, ack.Done, commands(central, 1)...)
		two := c.StartAt("twin", "ship1")
		time.Sleep(5 * time.Minute)
		if twin(t, one) != nil || twin(t, two) != nil {
			t.Fatal("one of them knows of the other")
		}
		for i := 1; i < 10; i++ {
			central.Submit(stewardtest.Command("ship1", strconv.Itoa(i)))
			time.Sleep(7 * time.Second)
			if i == 5 {
				c.Link("ship1").SetFault(nil)
				c.Link("twin").SetFault(nil)
			}
		}
		time.Sleep(2 * time.Minute)
		wantServes(t, one, two)
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "after")))
		wantPlaces(t, c, "ship1", "after")
		seen := map[string]bool{}
		for _, r := range c.Runs() {
			if seen[r.ID] {
				t.Errorf("%s ran twice", r.Data)
			}
			seen[r.ID] = true
		}
	})
}

// Without a broker nobody can be asked: a node starts as ever, and stands by when
// it hears of its twin.
func TestTwinThatStartedWithoutABroker(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, one := c.Start("central"), c.Start("ship1")
		c.Link("twin").Cut()
		two := c.StartAt("twin", "ship1")
		own := two.Submit(stewardtest.Command("ship1", "of the twin"))
		time.Sleep(time.Hour)
		if by := twin(t, two); by != nil {
			t.Errorf("it cannot know of %+v", by)
		}
		c.Link("twin").Heal()
		time.Sleep(time.Minute)
		wantServes(t, one, two)
		want(t, central, ack.Done, commands(central, 3)...)
		one.Stop()
		want(t, two, ack.Done, own)
		wantPlaces(t, c, "twin", "of the twin")
	})
}

// A journal that refuses a batch because it is for another one has not run it, and
// if nobody else was there nobody has: what was sent for the first time goes on.
// What was sent before, when the old journal may have taken it, is unknown.
func TestRefusedBatchGoesOn(t *testing.T) {
	serves := fmt.Sprintf(`{"instance":%q,"journal":%q,"since":"2000-01-02T00:00:00Z","at":"2000-01-02T00:00:00Z"}`, uuid.New(), uuid.New())
	for name, disturb := range map[string]func(*nats.Conn) error{
		"alone": nil,
		"somebody else listens": func(nc *nats.Conn) error {
			_, err := nc.SubscribeSync("steward.name.ship1.>")
			return err
		},
		"somebody else served a moment ago": func(nc *nats.Conn) error {
			return nc.Publish("steward.name.ship1"+strings.Repeat(".0", 16), []byte(serves))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				noHello := func(p stewardtest.Pub) []time.Duration {
					if strings.HasSuffix(p.Subject, ".SayHello") {
						return nil
					}
					return stewardtest.Pass()
				}
				c.Link("ship1").SetFault(noHello)
				central, ship := c.Start("central"), c.Start("ship1")
				want(t, central, ack.Done, commands(central, 3)...)
				c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
				before := central.Submit(stewardtest.Command("ship1", "before"))
				time.Sleep(time.Second)
				ship.Crash()
				c.SetJournal("ship1", nil)
				c.Link("ship1").SetFault(noHello)
				c.Start("ship1")
				time.Sleep(time.Second)
				if disturb != nil {
					nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
					if err != nil {
						t.Fatal(err)
					}
					defer nc.Close()
					if err := disturb(nc); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				first := commands(central, 3)
				want(t, central, ack.Unknown, before)
				if disturb == nil {
					want(t, central, ack.Done, first...)
				} else {
					want(t, central, ack.Unknown, first...)
				}
			})
		})
	}
}
