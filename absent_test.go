package steward_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// absences are the ways in which ship1 can be out of reach, with a message waiting.
var absences = map[string]func(t *testing.T, c *stewardtest.Cluster) *stewardtest.Node{
	"never there": func(_ *testing.T, c *stewardtest.Cluster) *stewardtest.Node { return c.Start("central") },
	"was there": func(t *testing.T, c *stewardtest.Cluster) *stewardtest.Node {
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "before")))
		ship.Stop()
		return central
	},
	"was there, long ago": func(t *testing.T, c *stewardtest.Cluster) *stewardtest.Node {
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "before")))
		ship.Crash()
		c.Link("ship1").Cut()
		time.Sleep(day)
		return central
	},
	"came, and saw the node before": func(t *testing.T, c *stewardtest.Cluster) *stewardtest.Node {
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "before")))
		ship.Stop()
		central.Crash() // its road was open
		return c.Start("central")
	},
	"no broker": func(t *testing.T, c *stewardtest.Cluster) *stewardtest.Node {
		central, _ := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "before")))
		c.Link("central").Cut()
		time.Sleep(time.Minute)
		return central
	},
}

// restarts are the ways in which central comes to another life.
var restarts = map[string]func(*stewardtest.Node){"stopped": (*stewardtest.Node).Stop, "killed": (*stewardtest.Node).Crash}

// What was never sent is known to have never been sent, whatever central goes
// through meanwhile: it is cancelled at once, expires as expired, and runs later.
func TestNeverSentIsKnownOverARestart(t *testing.T) {
	for absence, begin := range absences {
		for restart, end := range restarts {
			t.Run(absence+"/"+restart, func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
					central := begin(t, c)
					runs := len(c.Runs())
					short := stewardtest.Command("ship1", "expires")
					short.Expires = time.Now().Add(time.Hour)
					expires := central.Submit(short)
					cancel := central.Submit(stewardtest.Command("ship1", "cancel"))
					patient := stewardtest.Command("ship1", "waits")
					patient.Retries = 1
					waits := central.Submit(patient)
					event := stewardtest.Command("ship1", "event")
					event.Kind = subject.EventACK
					note := central.Submit(event)
					for range 3 {
						time.Sleep(time.Minute)
						end(central)
						central = c.Start("central")
					}
					for _, id := range []string{cancel, note} {
						if r, err := central.Cancel(t.Context(), id); err != nil || r.Outcome != ack.Cancelled {
							t.Errorf("%v is %s %s, %v: it was never sent", r.Data, r.State, r.Outcome, err)
						}
					}
					time.Sleep(2 * time.Hour)
					want(t, central, ack.Expired, expires)
					if r, err := central.Message(t.Context(), waits); err != nil || r.State != store.Waiting {
						t.Errorf("it is %s %s (%s), %v: the node is waited for", r.State, r.Outcome, r.Reason, err)
					}
					c.Link("ship1").Heal()
					c.Link("central").Heal()
					if absence != "no broker" {
						c.Start("ship1")
					}
					want(t, central, ack.Done, waits)
					if got := c.Runs()[runs:]; len(got) != 1 || got[0].Data != "waits" {
						t.Errorf("there ran %v", got)
					}
				})
			})
		}
	}
}

// What may have been sent is not called unsent by the next life.
func TestMaybeSentIsRememberedOverARestart(t *testing.T) {
	for name, silent := range map[string]string{"it ran": "ship1", "it never came": "central"} {
		for restart, end := range restarts {
			t.Run(name+"/"+restart, func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
					central, ship := c.Start("central"), c.Start("ship1")
					want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "before")))
					central.Stop()
					central = c.Start("central") // its road is shut
					want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "then")))
					c.Link(silent).SetFault(func(stewardtest.Pub) []time.Duration { return nil })
					id := central.Submit(stewardtest.Command("ship1", "x"))
					time.Sleep(time.Minute)
					ship.Crash() // and now nobody is there
					c.Link("ship1").Cut()
					c.Link(silent).SetFault(nil)
					time.Sleep(time.Minute)
					end(central)
					central = c.Start("central")
					if r, err := central.Cancel(t.Context(), id); err != nil || r.State != store.Cancelling {
						t.Errorf("it is %s %s, %v: nobody here knows whether it came", r.State, r.Outcome, err)
					}
					c.Link("ship1").Heal()
					c.Start("ship1")
					if silent == "ship1" {
						want(t, central, ack.Done, id)
						wantRuns(t, c, "before", "then", "x")
					} else {
						want(t, central, ack.Cancelled, id)
						wantRuns(t, c, "before", "then")
					}
				})
			})
		}
	}
}

// What was never sent goes to the receiver's new journal, also if the sender was
// restarted meanwhile; what may have been sent to the lost one does not.
func TestNeverSentGoesToANewJournalAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "before")))
		c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
		sent := central.Submit(stewardtest.Command("ship1", "sent"))
		time.Sleep(time.Minute)
		ship.Stop()
		c.Link("ship1").SetFault(nil)
		time.Sleep(time.Minute) // central found nobody
		unsent := central.Submit(stewardtest.Command("ship1", "unsent"))
		central.Crash()
		central = c.Start("central")
		c.SetJournal("ship1", nil)
		c.Start("ship1")
		want(t, central, ack.Unknown, sent)
		want(t, central, ack.Done, unsent)
		wantRuns(t, c, "before", "sent", "unsent")
	})
}

// A copy of a sender's journal says that a message was never sent; the original
// may have sent it since. The copy knows that it is one, and does not say so.
func TestCopyOfASenderDoesNotKnowWhatWasSent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		id := central.Submit(stewardtest.Command("ship1", "x"))
		time.Sleep(time.Minute)
		synctest.Wait()
		backup := c.Journal("central")
		ship := c.Start("ship1")
		want(t, central, ack.Done, id)
		central.Stop()
		ship.Stop()
		c.ReplaceJournal("central", backup)
		central = c.Start("central")
		r, err := central.Cancel(t.Context(), id)
		if err != nil || r.State != store.Cancelling {
			t.Errorf("it is %s %s, %v: it ran", r.State, r.Outcome, err)
		}
		c.Start("ship1")
		want(t, central, ack.Done, id)
		wantRuns(t, c, "x")
	})
}

// A kind without ack is sent when the broker has it; while there is none it can be
// cancelled, also by the next life.
func TestKindsWithoutAckOverARestart(t *testing.T) {
	for restart, end := range restarts {
		t.Run(restart, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				central := c.Start("central")
				shout := func(node string) string {
					return central.Submit(&message.Message{ToNode: node, Kind: subject.CommandNACK, Method: "CLICommand", Data: []string{"true"}})
				}
				want(t, central, ack.Sent, shout("ship1"))
				c.Link("central").Cut()
				time.Sleep(time.Minute)
				ids := []string{shout("ship1"), shout("ship2")}
				time.Sleep(time.Minute)
				end(central)
				central = c.Start("central")
				time.Sleep(time.Minute)
				for _, id := range ids {
					if r, err := central.Cancel(t.Context(), id); err != nil || r.Outcome != ack.Cancelled {
						t.Errorf("it is %s %s, %v: no broker can have it", r.State, r.Outcome, err)
					}
				}
				c.Link("central").Heal()
				want(t, central, ack.Sent, shout("ship1"))
			})
		})
	}
}
