package steward_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

func TestCopiesOfRequestsAndAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		for _, name := range []string{"central", "ship1"} {
			c.Link(name).SetFault(func(stewardtest.Pub) []time.Duration { return []time.Duration{0, 0, time.Second, 3 * time.Hour} })
		}
		for i := range 20 {
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", strconv.Itoa(i))))
		}
		time.Sleep(6 * time.Hour) // the last copies
		wantRuns(t, c, numbers(20)...)
	})
}

// Requests that are seconds late overtake each other; so do answers.
func TestLateAndReorderedRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		for _, name := range []string{"central", "ship1"} {
			n := 0
			c.Link(name).SetFault(func(stewardtest.Pub) []time.Duration {
				n++
				return []time.Duration{time.Duration(n*7%19) * time.Second}
			})
		}
		var ids []string
		for i := range 30 {
			ids = append(ids, central.Submit(stewardtest.Command("ship1", strconv.Itoa(i))))
			time.Sleep(time.Second)
		}
		want(t, central, ack.Done, ids...)
		wantRuns(t, c, numbers(30)...)
	})
}

func TestEveryAnswerLostOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		for _, name := range []string{"central", "ship1"} {
			lost := true
			c.Link(name).SetFault(func(p stewardtest.Pub) []time.Duration {
				if p.Answer() {
					if lost = !lost; !lost {
						return nil
					}
				}
				return stewardtest.Pass()
			})
		}
		for i := range 10 {
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", strconv.Itoa(i))))
		}
		wantRuns(t, c, numbers(10)...)
	})
}

func TestCancel(t *testing.T) {
	cancel := func(t *testing.T, n *stewardtest.Node, id string) store.Record {
		t.Helper()
		r, err := n.Cancel(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("never sent", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central := c.Start("central")
			ids := commands(central, 2)
			time.Sleep(time.Minute)
			if r := cancel(t, central, ids[0]); r.Outcome != ack.Cancelled {
				t.Errorf("it is %s %s: nobody can have it", r.State, r.Outcome)
			}
			c.Start("ship1")
			want(t, central, ack.Done, ids[1])
			wantRuns(t, c, "1")
		})
	})
	t.Run("sent, and late", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			want(t, central, ack.Done, commands(central, 1)...)
			c.Link("central").SetFault(func(stewardtest.Pub) []time.Duration { return []time.Duration{2 * time.Hour} })
			id := central.Submit(stewardtest.Command("ship1", "late"))
			time.Sleep(time.Minute)
			r := cancel(t, central, id)
			if s, err := central.Status(t.Context()); err != nil || s.Backlog.Cancelling != 1 {
				t.Errorf("the status: %+v, %v", s.Backlog, err)
			}
			if r.State != store.Cancelling {
				t.Errorf("it is %s %s: an attempt is on its way", r.State, r.Outcome)
			}
			c.Link("central").SetFault(nil)
			want(t, central, ack.Cancelled, id)
			time.Sleep(3 * time.Hour)
			wantRuns(t, c, "0") // the late copies came, and did nothing
		})
	})
	t.Run("accepted, not started", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			first := central.Submit(stewardtest.Command("ship1", "first", "5m"))
			second := central.Submit(stewardtest.Command("ship1", "second"))
			time.Sleep(time.Minute)
			cancel(t, central, second)
			want(t, central, ack.Cancelled, second)
			want(t, central, ack.Done, first)
			wantRuns(t, c, "first")
		})
	})
	t.Run("too late", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			id := central.Submit(stewardtest.Command("ship1", "runs", "1m"))
			time.Sleep(time.Second)
			cancel(t, central, id)
			want(t, central, ack.Done, id)
		})
	})
}

// What was sent and had no answer is unknown when its lifetime ends, and the
// truth that comes later refines that.
func TestExpiryTellsTheTruth(t *testing.T) {
	expiring := func(data string) *message.Message {
		m := stewardtest.Command("ship1", data)
		m.Expires = time.Now().Add(time.Minute)
		return m
	}
	t.Run("never sent", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central := c.Start("central")
			id := central.Submit(expiring("x"))
			want(t, central, ack.Expired, id)
			c.Start("ship1")
			time.Sleep(time.Hour)
			wantRuns(t, c)
		})
	})
	t.Run("it ran", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			want(t, central, ack.Done, commands(central, 1)...)
			c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
			id := central.Submit(expiring("x"))
			want(t, central, ack.Unknown, id)
			c.Link("ship1").SetFault(nil)
			time.Sleep(time.Hour)
			want(t, central, ack.Done, id)
			wantRuns(t, c, "0", "x")
		})
	})
	t.Run("it never came", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			want(t, central, ack.Done, commands(central, 1)...)
			c.Link("central").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
			id := central.Submit(expiring("x"))
			want(t, central, ack.Unknown, id)
			c.Link("central").SetFault(nil)
			time.Sleep(time.Hour)
			want(t, central, ack.Expired, id)
			wantRuns(t, c, "0")
		})
	})
	t.Run("in the inbox", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			first := central.Submit(stewardtest.Command("ship1", "first", "9m"))
			second := central.Submit(expiring("second"))
			want(t, central, ack.Done, first)
			want(t, central, ack.Expired, second)
			wantRuns(t, c, "first")
		})
	})
	t.Run("an event in the inbox", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, _ := c.Start("central"), c.Start("ship1")
			first, second := stewardtest.Command("ship1", "first", "9m"), expiring("second")
			first.Kind, second.Kind = subject.EventACK, subject.EventACK
			want(t, central, ack.Delivered, central.Submit(first), central.Submit(second))
			time.Sleep(time.Hour)
			wantRuns(t, c, "first", "second") // delivered is the last word about an event
		})
	})
}

func TestReceiverJournalLost(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 3)...)
		c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
		sent := central.Submit(stewardtest.Command("ship1", "sent"))
		rerun := stewardtest.Command("ship1", "again")
		rerun.OnUnknown = message.Rerun
		again := central.Submit(rerun)
		time.Sleep(time.Minute)
		ship.Stop()
		c.SetJournal("ship1", nil)
		c.Link("ship1").SetFault(nil)
		fresh := central.Submit(stewardtest.Command("ship1", "fresh"))
		c.Start("ship1")
		want(t, central, ack.Unknown, sent)
		want(t, central, ack.Done, again, fresh)
		wantOnce(t, c, "sent")
		wantFailure(t, central, errorkernel.Identity, "another journal than before")
	})
}

// What was accepted and may run again is sent again to the new journal, also if
// nothing else is: it is met when it is asked.
func TestReceiverJournalLostWithRerunAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		m := stewardtest.Command("ship1", "again", "5m")
		m.OnUnknown = message.Rerun
		id := central.Submit(m)
		time.Sleep(time.Minute)
		ship.Crash()
		c.SetJournal("ship1", nil)
		c.Start("ship1")
		want(t, central, ack.Done, id)
		wantRuns(t, c, "again", "again")
		wantFailure(t, central, errorkernel.Identity, "another journal than before")
	})
}

// The same while hellos are lost: only the batch itself says whom it is for.
func TestReceiverJournalLostWithoutHello(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		mute := func(p stewardtest.Pub) []time.Duration {
			if strings.HasSuffix(p.Subject, message.MethodSayHello) {
				return nil
			}
			return stewardtest.Pass()
		}
		c.Link("ship1").SetFault(mute)
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 3)...)
		c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
		sent := central.Submit(stewardtest.Command("ship1", "sent"))
		time.Sleep(time.Minute)
		ship.Stop()
		c.SetJournal("ship1", nil)
		c.Link("ship1").SetFault(mute)
		c.Start("ship1")
		want(t, central, ack.Unknown, sent)
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "fresh")))
		wantRuns(t, c, "0", "1", "2", "sent", "fresh")
		wantFailure(t, central, errorkernel.Identity, "another journal than before")
	})
}

// A copy of a request that comes late finds another journal than the first one
// did. That this one refuses it does not say that nobody took it.
func TestLateCopyIsRefusedByAnotherJournal(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central", func(cfg *steward.Config) { cfg.Policy.Timeout = time.Hour })
		ship := c.Start("ship1")
		want(t, central, ack.Done, commands(central, 1)...)
		c.Link("central").SetFault(func(p stewardtest.Pub) []time.Duration {
			if strings.HasSuffix(p.Subject, ".Job") {
				return []time.Duration{0, 10 * time.Minute}
			}
			return nil
		})
		c.Link("ship1").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
		id := central.Submit(stewardtest.Command("ship1", "sent"))
		time.Sleep(time.Minute)
		ship.Stop()
		c.SetJournal("ship1", nil)
		c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
			if strings.HasSuffix(p.Subject, message.MethodSayHello) {
				return nil
			}
			return stewardtest.Pass()
		})
		c.Start("ship1")
		time.Sleep(15 * time.Minute)
		c.Link("central").SetFault(nil)
		want(t, central, ack.Unknown, id)
		wantOnce(t, c, "sent")
	})
}

func TestReceiverJournalRestored(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		first := central.Submit(stewardtest.Command("ship1", "0", "1m"))
		second := central.Submit(stewardtest.Command("ship1", "1"))
		time.Sleep(time.Second)
		synctest.Wait()
		old := c.Journal("ship1") // 0 runs, 1 waits
		want(t, central, ack.Done, first, second)
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "2")))
		time.Sleep(time.Second) // the acks are durable, and claimed as settled
		ship.Stop()
		c.SetJournal("ship1", old)
		c.Start("ship1")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "3")))
		time.Sleep(time.Hour)
		want(t, central, ack.Done, first, second) // nothing refines what is known
		wantOnce(t, c, "0", "2", "3")
		wantFailure(t, central, errorkernel.Identity, "lost the history")
	})
}

// That history was lost is said until it was heard, and told once.
func TestLossOfHistoryIsHeardOf(t *testing.T) {
	for _, lost := range []int{0, 1, 2, 5} {
		inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
			central, ship := c.Start("central"), c.Start("ship1")
			want(t, central, ack.Done, commands(central, 2)...)
			synctest.Wait()
			old := c.Journal("ship1")
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "x")), central.Submit(stewardtest.Command("ship1", "y")))
			time.Sleep(time.Second) // the acks are durable, and claimed as settled
			ship.Stop()
			c.SetJournal("ship1", old)
			c.Link("ship1").SetFault(loseFirstAnswers(lost))
			c.Start("ship1")
			for range 10 { // a result may be faster than the answer, which is then not waited for
				want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "then")))
				time.Sleep(time.Minute)
			}
			told := 0
			wantFailure(t, central, errorkernel.Identity, "lost the history")
			for _, f := range failures(t, central, api.FailureFilter{Class: errorkernel.Identity, Limit: 100}) {
				told += f.Count
			}
			if told != 1 {
				t.Errorf("with %d answers lost it was told %d times", lost, told)
			}
		})
	}
}

// What waited in a backup may have run since, and does not run, also if the backup
// is written into the same file.
func TestReceiverJournalFromBackup(t *testing.T) {
	for name, put := range map[string]func(c *stewardtest.Cluster, backup []byte) error{
		"another file": func(c *stewardtest.Cluster, backup []byte) error {
			c.ReplaceJournal("ship1", backup)
			return nil
		},
		"the same file": func(c *stewardtest.Cluster, backup []byte) error {
			path := filepath.Join(c.Dir("ship1"), "journal.db")
			db, err := store.Open(path, store.Options{Node: "ship1"}) // it was opened since
			if err != nil {
				return err
			}
			return errors.Join(db.Close(), os.WriteFile(path, backup, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) { backupOfReceiver(t, c, put) })
		})
	}
}

func backupOfReceiver(t *testing.T, c *stewardtest.Cluster, put func(*stewardtest.Cluster, []byte) error) {
	central, ship := c.Start("central"), c.Start("ship1")
	first := central.Submit(stewardtest.Command("ship1", "0", "1m"))
	second := central.Submit(stewardtest.Command("ship1", "1"))
	time.Sleep(time.Second)
	synctest.Wait()
	backup := c.Journal("ship1")
	want(t, central, ack.Done, first, second)
	ship.Stop()
	if err := put(c, backup); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a crash before the first opening gets to what waits
		db, err := store.Open(filepath.Join(c.Dir("ship1"), "journal.db"), store.Options{Node: "ship1"})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Start("ship1")
	time.Sleep(time.Minute) // its hello says that the journal is another
	want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "2")))
	time.Sleep(time.Hour)
	want(t, central, ack.Done, first, second)
	wantRuns(t, c, "0", "1", "2")
}

// lasting is a method whose runs outlive their node, and leave nothing behind.
type lasting struct{}

func (lasting) Prepare(*message.Message) error { return nil }
func (lasting) Forget(*message.Message) error  { return nil }

// A run that had begun when the backup was made may have ended since: the copy
// does not take it up.
func TestReceiverJournalFromBackupWithARunThatLasts(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		var calls atomic.Int32
		long := process.HandlerFunc(func(ctx context.Context, _ *message.Message) message.Result {
			calls.Add(1)
			time.Sleep(time.Minute)
			return message.Result{Outcome: ack.Done}
		})
		c.Handle("ship1", process.Method{Name: "Long", Kinds: []subject.Kind{subject.CommandACK}, Handler: long, Lasting: lasting{}})
		central, ship := c.Start("central"), c.Start("ship1")
		id := submit(t, central, "ship1", "Long", "x")[0]
		time.Sleep(time.Second)
		synctest.Wait()
		backup := c.Journal("ship1")
		want(t, central, ack.Done, id)
		ship.Stop()
		c.ReplaceJournal("ship1", backup)
		c.Start("ship1")
		time.Sleep(time.Hour)
		if n := calls.Load(); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

// A receiver that lost what it had accepted says so when it is asked.
func TestReceiverLosesWhatItAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		id := central.Submit(stewardtest.Command("ship1", "x", "5m"))
		time.Sleep(time.Minute)
		ship.Stop()
		c.SetJournal("ship1", nil)
		c.Start("ship1")
		want(t, central, ack.Unknown, id)
		wantRuns(t, c, "x")
	})
}

// A result that does not come is asked for soon: half a minute after its command was
// taken, and at once when the receiver is back from wherever it was.
func TestOverdueResultIsAskedForSoon(t *testing.T) {
	for name, x := range map[string]struct {
		back   bool // with a hello that is heard
		within time.Duration
	}{"it is back": {true, 20 * time.Second}, "no hello": {false, 40 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				central, ship := c.Start("central"), c.Start("ship1")
				want(t, central, ack.Done, commands(central, 1)...)
				if !x.back {
					c.Link("ship1").SetFault(func(p stewardtest.Pub) []time.Duration {
						if strings.HasSuffix(p.Subject, message.MethodSayHello) {
							return nil
						}
						return stewardtest.Pass()
					})
				}
				time.Sleep(10 * time.Minute)
				id := central.Submit(stewardtest.Command("ship1", "x", "5m"))
				began := time.Now()
				time.Sleep(5 * time.Second)
				ship.Crash()
				c.SetJournal("ship1", nil)
				c.Start("ship1")
				want(t, central, ack.Unknown, id)
				if d := time.Since(began); d > x.within {
					t.Errorf("that the result is lost was known after %s", d)
				}
			})
		})
	}
}

// The sender is away for days, and so is the link: the result waits for both.
func TestResultWaitsForItsSender(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		id := central.Submit(stewardtest.Command("ship1", "x", "5m"))
		time.Sleep(time.Minute)
		central.Stop()
		c.Link("ship1").Cut()
		time.Sleep(10 * day) // longer than a command lives
		c.Link("ship1").Heal()
		central = c.Start("central")
		want(t, central, ack.Done, id)
	})
}

// A command that kills its node is not run again for ever.
func TestRerunHasAnEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		m := stewardtest.Command("ship1", "x", "5m")
		m.OnUnknown = message.Rerun
		id := central.Submit(m)
		for range 3 {
			time.Sleep(time.Minute)
			ship.Crash()
			ship = c.Start("ship1")
		}
		want(t, central, ack.Unknown, id)
		wantRuns(t, c, "x", "x", "x")
	})
}

func TestSenderJournalRestored(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 1)...)
		synctest.Wait()
		old := c.Journal("central")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "forgotten")))
		central.Stop()
		c.SetJournal("central", old)
		central = c.Start("central")
		fresh := central.Submit(stewardtest.Command("ship1", "fresh"))
		want(t, central, ack.Done, fresh)
		wantRuns(t, c, "0", "forgotten", "fresh")
	})
}

func TestSenderJournalLost(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 2)...)
		central.Stop()
		c.SetJournal("central", nil)
		central = c.Start("central")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "fresh")))
		wantRuns(t, c, "0", "1", "fresh")
	})
}

// A copy of the sender's journal that waits may have been delivered by the original.
func TestSenderRestoredWithMessagesWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		ids := commands(central, 2)
		synctest.Wait()
		old := c.Journal("central")
		c.Start("ship1")
		want(t, central, ack.Done, ids...)
		central.Stop()
		c.SetJournal("central", old)
		central = c.Start("central")
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "fresh")))
		want(t, central, ack.Done, ids...)
		wantOnce(t, c, "0", "1")
	})
}

// A receiver that was told that its acks have arrived forgets them, and knows
// from its history what it did.
func TestSenderRestoredAfterItsAcksWereForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		event := func() string {
			m := stewardtest.Command("ship1", "event")
			m.Kind = subject.EventACK
			return central.Submit(m)
		}
		first, e := commands(central, 1), event()
		synctest.Wait()
		old := c.Journal("central")
		c.Start("ship1")
		for range 3 {
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "next")))
			want(t, central, ack.Delivered, event())
			time.Sleep(time.Second) // the acks are durable, and claimed as settled
		}
		central.Stop()
		c.SetJournal("central", old)
		central = c.Start("central")
		want(t, central, ack.Done, first...)
		want(t, central, ack.Delivered, e)
		wantOnce(t, c, "0")
	})
}

// A sender that was set back to before it took a message out sends it again, among
// others that its receiver knows: their acks say nothing of it.
func TestSenderRestoredWithAMessageThatWasNeverSent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		var ids []string
		for i := range 3 {
			m := stewardtest.Command("ship1", strconv.Itoa(i))
			m.Kind = subject.EventACK
			ids = append(ids, central.Submit(m))
		}
		synctest.Wait()
		old := c.Journal("central")
		if _, err := central.Cancel(t.Context(), ids[1]); err != nil {
			t.Fatal(err)
		}
		c.Start("ship1")
		want(t, central, ack.Delivered, ids[0], ids[2])
		central.Stop()
		c.SetJournal("central", old)
		central = c.Start("central")
		want(t, central, ack.Delivered, ids[0], ids[2])
		want(t, central, ack.Unknown, ids[1])
		wantRuns(t, c, "0", "2")
	})
}

// A sender that was restored to before it cancelled a message hears that it did.
func TestSenderRestoredToBeforeItCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		first := central.Submit(stewardtest.Command("ship1", "first", "5m"))
		second := central.Submit(stewardtest.Command("ship1", "second"))
		time.Sleep(time.Minute)
		synctest.Wait()
		old := c.Journal("central")
		if _, err := central.Cancel(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		want(t, central, ack.Cancelled, second)
		central.Stop()
		c.SetJournal("central", old)
		central = c.Start("central")
		want(t, central, ack.Done, first)
		want(t, central, ack.Cancelled, second)
		wantRuns(t, c, "first")
	})
}

func TestCrashWhileItRuns(t *testing.T) {
	for name, rerun := range map[string]message.OnUnknown{"report": "", "rerun": message.Rerun} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				central, ship := c.Start("central"), c.Start("ship1")
				m := stewardtest.Command("ship1", "x", "1m")
				m.OnUnknown = rerun
				id := central.Submit(m)
				time.Sleep(30 * time.Second)
				ship.Crash()
				c.Start("ship1")
				if rerun == message.Rerun {
					want(t, central, ack.Done, id)
					wantRuns(t, c, "x", "x")
					return
				}
				want(t, central, ack.Unknown, id)
				wantRuns(t, c, "x")
			})
		})
	}
}

// A clean stop that has no more time for a run says that nobody knows.
func TestStopWhileItRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, ship := c.Start("central"), c.Start("ship1")
		id := central.Submit(stewardtest.Command("ship1", "x", "1h"))
		time.Sleep(time.Minute)
		ship.Stop()
		c.Start("ship1")
		want(t, central, ack.Unknown, id)
		wantRuns(t, c, "x")
	})
}

func TestFullInboxKeepsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		c.Start("ship1", func(cfg *steward.Config) { cfg.InboxLimit = 3 })
		var ids []string
		for i := range 20 {
			ids = append(ids, central.Submit(stewardtest.Command("ship1", strconv.Itoa(i), "10s")))
		}
		want(t, central, ack.Done, ids...)
		wantRuns(t, c, numbers(20)...)
	})
}

// A refusal is told to who sent it, and to the error kernels of both.
func TestRefusals(t *testing.T) {
	for name, x := range map[string]struct {
		m      *message.Message
		reason string
	}{
		"no such method": {&message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Fly", Data: []string{"x"}}, "has no method Fly"},
		"wrong kind":     {&message.Message{ToNode: "ship1", Kind: subject.EventACK, Method: "Special", Data: []string{"x"}}, "does not take kind EventACK"},
		"not allowed":    {stewardtest.Command("ship1", "x"), "does not take Job from central"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				central := c.Start("central")
				c.Handle("ship1", process.Method{Name: "Special", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result { return message.Result{} })})
				ship := c.Start("ship1", func(cfg *steward.Config) { cfg.Allow = map[string][]string{"Job": {"ship2"}} })
				c.Link("ship1").SetFault(loseFirstAnswers(2)) // the refusal must be repeated word for word
				id := central.Submit(x.m)
				got, why := central.Outcome(id, day)
				if got != ack.RejectedEnd || !strings.Contains(why, x.reason) {
					t.Errorf("it is %s (%s)", got, why)
				}
				wantRuns(t, c)
				wantFailure(t, central, errorkernel.Rejection, x.reason)
				wantFailure(t, ship, errorkernel.Rejection, x.reason)
			})
		})
	}
}

func loseFirstAnswers(n int) stewardtest.Fault {
	return func(p stewardtest.Pub) []time.Duration {
		if p.Answer() && n > 0 {
			n--
			return nil
		}
		return stewardtest.Pass()
	}
}

func TestKindsWithoutAck(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central, _ := c.Start("central"), c.Start("ship1")
		time.Sleep(time.Second)
		id := central.Submit(&message.Message{ToNode: "ship1", Kind: subject.CommandNACK, Method: "CLICommand", Data: []string{"true"}})
		want(t, central, ack.Sent, id)
		nobody := central.Submit(&message.Message{ToNode: "ship9", Kind: subject.CommandNACK, Method: "CLICommand", Data: []string{"true"}})
		want(t, central, ack.Sent, nobody)
		c.Link("central").Cut()
		time.Sleep(time.Second)
		never := central.Submit(&message.Message{ToNode: "ship1", Kind: subject.CommandNACK, Method: "CLICommand", Data: []string{"true"}})
		time.Sleep(time.Minute)
		if r, err := central.Cancel(t.Context(), never); err != nil || r.Outcome != ack.Cancelled {
			t.Errorf("it is %s %s, %v: no broker can have it", r.State, r.Outcome, err)
		}
	})
}

// Both clocks step back by ten days while messages wait, with the nodes down:
// order, marks and ids do not depend on the clock.
func TestClocksStepBack(t *testing.T) {
	dir := stewardtest.Folder(t)
	var before []string
	synctest.Test(t, func(t *testing.T) {
		c := stewardtest.NewIn(t, dir)
		defer c.Close()
		time.Sleep(10 * day)
		central, ship := c.Start("central"), c.Start("ship1")
		want(t, central, ack.Done, commands(central, 3)...)
		ship.Stop()
		before = commands(central, 3)
	})
	synctest.Test(t, func(t *testing.T) {
		c := stewardtest.NewIn(t, dir)
		defer c.Close()
		central, _ := c.Start("central"), c.Start("ship1")
		after := central.Submit(stewardtest.Command("ship1", "after"))
		if after <= before[2] {
			t.Errorf("id %s was given after %s", after, before[2])
		}
		want(t, central, ack.Done, append(before, after)...)
		wantRuns(t, c, "0", "1", "2", "after")
	})
}

// A clock that steps forward beyond a lifetime ends the message, and says that
// it never ran.
func TestClockStepsForward(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		ids := commands(central, 2)
		central.Stop()
		time.Sleep(8 * day)
		central = c.Start("central")
		c.Start("ship1")
		for _, id := range ids { // sent by an earlier life, as far as this one knows
			if got, why := central.Outcome(id, day); got != ack.Unknown && got != ack.Expired {
				t.Errorf("it is %s (%s)", got, why)
			}
		}
		time.Sleep(day)
		want(t, central, ack.Expired, ids...)
		wantRuns(t, c)
	})
}

// A program may submit before it runs the node.
func TestSubmitBeforeRun(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Start("ship1")
		n, err := steward.New(steward.Config{Name: "central", Dir: c.Dir("central"), Headless: true, Options: []nats.Option{nats.InProcessServer(c.Link("central"))}})
		if err != nil {
			t.Fatal(err)
		}
		m := stewardtest.Command("ship1", "x")
		if err := n.Submit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- n.Run(ctx) }()
		if r, err := n.Wait(t.Context(), m.ID.String()); err != nil || r.Outcome != ack.Done {
			t.Errorf("%s %s, %v", r.Outcome, r.Reason, err)
		}
		if list := n.Processes(); slices.ContainsFunc(list, func(p errorkernel.ProcessStatus) bool { return p.Restarts > 0 }) {
			t.Errorf("processes were restarted: %+v", list)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
