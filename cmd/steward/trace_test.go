package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/store"
)

// A trace never runs backwards: where two clocks contradict each other it says so,
// and counts no time between them.
func TestTraceOfTwoClocks(t *testing.T) {
	accepted := time.Now().Add(-time.Minute)
	at := func(ms int) time.Time { return accepted.Add(time.Duration(ms) * time.Millisecond) }
	for name, x := range map[string]struct {
		ahead int // of ship1's clock, in ms
		order []string
		since []string
		note  string
	}{
		"agree":  {0, []string{"accepted", "started", "delivered", "finished", "done"}, []string{"", "+2ms", "+1ms", "+7ms", "+5ms"}, "by the clock of ship1"},
		"ahead":  {5000, []string{"accepted", "delivered", "started", "finished", "done"}, []string{"", "+3ms", "", "+8ms", "+12ms"}, "by the clock of ship1, which is at least 4.995s ahead"},
		"behind": {-5000, []string{"accepted", "delivered", "started", "finished", "done"}, []string{"", "+3ms", "", "+8ms", "+12ms"}, "by the clock of ship1, which is at least 4.998s behind"},
	} {
		steps := timeline(store.Record{
			FromNode: "central", ToNode: "ship1", State: store.Ended, Outcome: ack.Done, AcceptedAt: accepted,
			DeliveredAt: at(3), StartedAt: at(2 + x.ahead), FinishedAt: at(10 + x.ahead), EndedAt: at(15),
		})
		var order, since []string
		note := ""
		for _, s := range steps {
			order, since = append(order, s.Step), append(since, s.Since)
			if s.Step == "started" {
				note = s.Note
			}
			if strings.Contains(s.Since, "-") {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if !slices.Equal(order, x.order) || !slices.Equal(since, x.since) || note != x.note {
			t.Errorf("%s: %v %v, %s", name, order, since, note)
		}
	}
	received := timeline(store.Record{
		FromNode: "central", ToNode: "ship1", Incoming: true, State: store.Ended, Outcome: ack.Done, AcceptedAt: accepted,
		DeliveredAt: at(-900), StartedAt: at(-890), FinishedAt: at(-880), EndedAt: at(-870),
	})
	if got := received[2]; got.Since != "+10ms" || got.Note != "by the clock of ship1" {
		t.Errorf("at the receiver: %+v", received)
	}
}
