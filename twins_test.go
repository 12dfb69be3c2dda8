package steward_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
