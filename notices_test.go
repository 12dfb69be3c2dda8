package steward_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// A node that died when an outcome was in its journal, and before its error kernel
// heard of it, tells of it in its next life: of the bad ones, once, also to central.
func TestNextLifeTellsOfBadOutcomes(t *testing.T) {
	for outcome, class := range map[ack.Outcome]errorkernel.Class{
		ack.Expired: errorkernel.Expiry, ack.Undelivered: errorkernel.Undelivered, ack.RejectedEnd: errorkernel.Rejection,
		ack.Unknown: errorkernel.Unknown, ack.Cancelled: "", ack.Delivered: "",
	} {
		t.Run(string(outcome), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				id := ends(t, c.Dir("ship1"), outcome)
				for range 2 { // the second life after it tells no more
					ship := c.Start("ship1")
					time.Sleep(time.Minute)
					ship.Stop()
				}
				central, ship := c.Start("central"), c.Start("ship1")
				time.Sleep(time.Hour)
				for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
					f := failures(t, n, api.FailureFilter{Node: "ship1"})
					if class == "" && len(f) > 0 {
						t.Errorf("%s keeps %+v", at, f)
					}
					if class != "" && (len(f) != 1 || f[0].Class != class || f[0].Message != id || f[0].Count != 1) {
						t.Errorf("%s keeps %+v", at, f)
					}
				}
			})
		})
	}
}

// ends lets a message end in the journal of ship1, in a life of it that comes no
// further.
func ends(t *testing.T, dir string, outcome ack.Outcome) (id string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	bad := []ack.Outcome{ack.Failed, ack.Timeout, ack.RejectedEnd, ack.Expired, ack.Undelivered, ack.Unknown}
	db, err := store.Open(filepath.Join(dir, "journal.db"), store.Options{Node: "ship1", Notify: func(o ack.Outcome) bool { return slices.Contains(bad, o) }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := &message.Message{ToNode: "away", Kind: subject.EventACK, Method: "Echo", Data: []string{"x"}}
	db.Fresh(m, time.Now())
	if err := db.Accept(t.Context(), []*message.Message{m}, false); err != nil {
		t.Fatal(err)
	}
	answer := map[ack.Outcome]ack.Verdict{ack.RejectedEnd: ack.Rejected, ack.Delivered: ack.Accepted, ack.Unknown: ack.Stale, ack.Cancelled: ack.Voided}
	if v := answer[outcome]; v != "" {
		err = db.Acked(m.Subject(subject.Prefix), []store.Answer{{ID: m.ID, Place: m.Place, Ack: ack.Ack{Verdict: v}}}, false, nil)
	} else {
		_, err = db.GiveUp(m.Subject(subject.Prefix), []message.Place{m.Place}, outcome, "test", func(message.Place) int { return 0 })
	}
	if r, e := db.Record(m.ID); err != nil || e != nil || r.Outcome != outcome {
		t.Fatalf("it is %s %s: %v, %v", r.State, r.Outcome, err, e)
	}
	return m.ID.String()
}

// A failure that told of an unknown outcome is resolved when the outcome is known:
// where it happened and at central, and also in another life than the one that told.
func TestKnownOutcomeResolvesItsFailure(t *testing.T) {
	for name, x := range map[string]struct {
		deaf    string // whose link loses all, so that it is unknown
		outcome ack.Outcome
		reborn  bool
	}{
		"it ran":               {"ship1", ack.Done, false},
		"it never came":        {"ship2", ack.Expired, false},
		"it ran, another life": {"ship1", ack.Done, true},
		"never, another life":  {"ship2", ack.Expired, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				central, _, ship := c.Start("central"), c.Start("ship1"), c.Start("ship2")
				want(t, ship, ack.Done, commands(ship, 1)...)
				c.Link(x.deaf).SetFault(func(stewardtest.Pub) []time.Duration { return nil })
				var ids []string
				for range 2 {
					m := stewardtest.Command("ship1", "x")
					m.Expires = time.Now().Add(time.Minute)
					ids = append(ids, ship.Submit(m))
				}
				want(t, ship, ack.Unknown, ids...)
				time.Sleep(time.Minute)
				unknown := api.FailureFilter{Class: errorkernel.Unknown, Node: "ship2"}
				if f := failures(t, ship, unknown); len(f) != 1 || f[0].Count != 2 || !f[0].Resolved.IsZero() {
					t.Fatalf("ship2 keeps %+v", f)
				}
				if x.reborn {
					ship.Stop()
					ship = c.Start("ship2")
					time.Sleep(time.Hour)
				}
				c.Link(x.deaf).SetFault(nil)
				time.Sleep(2 * time.Hour)
				want(t, ship, x.outcome, ids...)
				for at, n := range map[string]*stewardtest.Node{"ship2": ship, "central": central} {
					f := failures(t, n, unknown)
					if len(f) != 1 || f[0].Count != 2 || f[0].Mended != 2 || f[0].Resolved.IsZero() || !strings.Contains(f[0].Since, string(x.outcome)) {
						t.Errorf("%s keeps %+v", at, f)
					}
				}
			})
		})
	}
}
