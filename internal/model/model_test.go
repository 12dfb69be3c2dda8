package model_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/steward-bus/steward/internal/model"
)

var (
	large  = flag.Bool("large", false, "visit the large worlds too: minutes, and gigabytes")
	walks  = flag.Int("walks", 20_000, "with -large: walks of 80 steps each")
	seed   = flag.Uint64("seed", 1, "of the walks")
	states = flag.Int("states", 10_000_000, "with -large: the most of one world")
)

// Once of the two ends, or of both.
var (
	sender   = model.Each{1, 0}
	receiver = model.Each{0, 1}
	both     = model.Each{1, 1}
)

// small worlds are visited whole, at every test.
var small = []model.Model{
	{Name: "good days", Messages: 2},
	{Name: "refusals", Messages: 2, Faults: model.Faults{Reject: 1, Busy: 1}},
	{Name: "answers of others", Messages: 1, Faults: model.Faults{Alien: 1, Cancel: 1, Crash: sender}},
	{Name: "crashes", Messages: 1, Late: 2, Faults: model.Faults{Crash: both}},
	{Name: "giving up", Messages: 1, Faults: model.Faults{Cancel: 1, Expire: 1, Crash: sender}},
	{Name: "receiver away", Messages: 1, Faults: model.Faults{Away: 2, Cancel: 1, Crash: sender}},
	{Name: "receiver away, sender stopped", Messages: 1, Faults: model.Faults{Away: 1, Stop: sender, Expire: 1}},
	{Name: "receiver away, and its journal lost", Messages: 1, Faults: model.Faults{Away: 2, Crash: sender, Lose: receiver}},
	{Name: "rerun", Messages: 1, Rerun: true, Faults: model.Faults{Expire: 1, Crash: model.Each{0, 2}}},
	{Name: "runs that last", Messages: 1, Lasting: true, Faults: model.Faults{Crash: receiver, Power: 1}},
	{Name: "receiver's journal lost", Messages: 2, Faults: model.Faults{Lose: receiver}},
	{Name: "receiver's journal lost, rerun", Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver, Crash: sender}},
	{Name: "receiver's journal lost, rerun given up", Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver, Cancel: 1}},
	{Name: "receiver's journal lost, no hello", Messages: 1, Faults: model.Faults{Lose: receiver, Mute: 1}},
	{Name: "receiver's journal from a backup", Messages: 1, Faults: model.Faults{Restore: receiver, Crash: receiver}},
	{Name: "sender's journal lost", Messages: 1, Late: 2, Faults: model.Faults{Lose: sender}},
	{Name: "sender set back", Messages: 1, Faults: model.Faults{Rewind: sender, Cancel: 1}},
	{Name: "both journals lost", Messages: 1, Faults: model.Faults{Lose: both}},
	{Name: "sender set back, receiver's journal lost", Messages: 1, Faults: model.Faults{Rewind: sender, Lose: receiver}},
	{Name: "sender's journal from a backup, receiver's lost", Messages: 1, Faults: model.Faults{Restore: sender, Lose: receiver}},
	{Name: "sender's journal lost, receiver's from a backup", Messages: 1, Faults: model.Faults{Lose: sender, Restore: receiver}},
	{Name: "sender's journal lost, receiver set back", Messages: 1, Faults: model.Faults{Lose: sender, Rewind: receiver}},
	{Name: "events", Kind: model.EventACK, Messages: 2, Faults: model.Faults{Crash: both, Lose: receiver}},
	{Name: "events, refused", Kind: model.EventACK, Messages: 2, Faults: model.Faults{Rewind: sender, Reject: 1}},
	{Name: "kinds without ack", Kind: model.CommandNACK, Messages: 1, Faults: model.Faults{Crash: both, Cancel: 1, Lose: receiver}},
}

// wide worlds are visited with -large, breadth first, as far as -states allows.
var wide = []model.Model{
	{Name: "good days", Messages: 3, Late: 2},
	{Name: "refusals", Messages: 2, Late: 3, Faults: model.Faults{Reject: 1, Busy: 1}},
	{Name: "crashes", Messages: 2, Late: 2, Faults: model.Faults{Crash: model.Each{2, 2}}},
	{Name: "giving up", Messages: 2, Faults: model.Faults{Cancel: 1, Expire: 1, Crash: both}},
	{Name: "receiver away", Messages: 2, Late: 2, Faults: model.Faults{Away: 2, Cancel: 1, Expire: 1, Crash: both, Stop: sender}},
	{Name: "receiver away, and its journal lost", Messages: 2, Faults: model.Faults{Away: 2, Cancel: 1, Crash: sender, Stop: both, Lose: receiver, Mute: 1}},
	{Name: "receiver away, rerun", Messages: 2, Rerun: true, Faults: model.Faults{Away: 2, Expire: 1, Crash: both, Lose: receiver}},
	{Name: "receiver away, sender's journal from a backup", Messages: 2, Faults: model.Faults{Away: 2, Cancel: 1, Restore: sender, Crash: sender, Lose: receiver}},
	{Name: "receiver away, sender set back", Messages: 2, Faults: model.Faults{Away: 2, Cancel: 1, Rewind: sender, Stop: sender, Lose: receiver}},
	{Name: "runs that last", Messages: 2, Lasting: true, Late: 2, Faults: model.Faults{Crash: both, Power: 1, Cancel: 1}},
	{Name: "runs that last, rerun", Messages: 2, Lasting: true, Rerun: true, Faults: model.Faults{Crash: receiver, Power: 1, Restore: receiver}},
	{Name: "rerun", Messages: 2, Rerun: true, Faults: model.Faults{Cancel: 1, Expire: 1, Crash: model.Each{1, 2}}},
	{Name: "receiver's journal lost", Messages: 2, Rerun: true, Late: 2, Faults: model.Faults{Lose: model.Each{0, 2}, Crash: sender, Mute: 1}},
	{Name: "receiver's journal from a backup", Messages: 2, Rerun: true, Faults: model.Faults{Restore: receiver, Crash: both}},
	{Name: "receiver set back", Messages: 2, Late: 2, Faults: model.Faults{Rewind: receiver, Busy: 1}},
	{Name: "sender's journal from a backup", Messages: 2, Late: 2, Faults: model.Faults{Restore: sender, Cancel: 1}},
	{Name: "sender set back", Messages: 2, Late: 2, Faults: model.Faults{Rewind: sender, Cancel: 1, Expire: 1, Reject: 1}},
	{Name: "both journals lost", Messages: 2, Late: 2, Faults: model.Faults{Lose: both, Crash: both}},
	{Name: "both journals from backups", Messages: 2, Faults: model.Faults{Restore: both}},
	{Name: "both set back", Messages: 2, Faults: model.Faults{Rewind: both}},
	{Name: "both set back, rerun, given up", Messages: 1, Rerun: true, Late: 2, Faults: model.Faults{Rewind: both, Cancel: 1, Expire: 1}},
	{Name: "sender set back, receiver's journal lost", Messages: 2, Faults: model.Faults{Rewind: sender, Lose: receiver, Cancel: 1}},
	{Name: "everything once", Messages: 1, Faults: model.Faults{Crash: both, Lose: both, Restore: both, Cancel: 1, Expire: 1, Reject: 1, Busy: 1, Mute: 1}},
	{Name: "events, everything once", Kind: model.EventACK, Messages: 2, Faults: model.Faults{Crash: both, Lose: both, Restore: both, Cancel: 1, Reject: 1, Busy: 1, Mute: 1}},
	{Name: "events, set back", Kind: model.EventACK, Messages: 2, Late: 2, Faults: model.Faults{Crash: both, Rewind: both, Expire: 1, Reject: 1}},
	{Name: "kinds without ack", Kind: model.CommandNACK, Messages: 2, Late: 2, Faults: model.Faults{Crash: both, Cancel: 1, Expire: 1, Lose: both, Away: 2, Stop: both}},
}

// TestRoad visits the small worlds whole, and finds every promise kept.
func TestRoad(t *testing.T) {
	for _, m := range small {
		visit(t, m, 1_000_000, true)
	}
}

func TestWideRoad(t *testing.T) {
	if !*large {
		t.Skip("without -large")
	}
	for _, m := range wide {
		visit(t, m, *states, false)
	}
	for _, m := range wide {
		t.Run("walk/"+m.Name, func(t *testing.T) {
			r := m.Walk(*walks, 80, *seed)
			t.Logf("%d states in %v", r.States, r.Took)
			if r.Violation != "" {
				t.Errorf("%s", r)
			}
		})
	}
}

func visit(t *testing.T, m model.Model, limit int, whole bool) {
	t.Run(m.Name, func(t *testing.T) {
		r := m.Explore(limit)
		t.Logf("%d states, %d deep, whole: %t, in %v", r.States, r.Depth, r.Whole, r.Took)
		if r.Violation != "" {
			t.Errorf("%s", r)
		} else if whole && !r.Whole {
			t.Error("there is more of it")
		}
	})
}

// mutants: without one of its rules the road breaks a promise in a small world.
var mutants = []struct {
	without model.Rule
	breaks  string
	in      model.Model
}{
	{model.EpochPerOpening, "the sender holds an ack that the receiver never gave", model.Model{Messages: 2, Faults: model.Faults{Lose: sender}}},
	{model.Prefix, "unknown, and it need not be", model.Model{Messages: 2}},
	{model.ProbeStranger, "unknown, and it need not be", model.Model{Messages: 1, Faults: model.Faults{Lose: receiver, Crash: sender}}},
	{model.ProbeStranger, "unknown, and it need not be", model.Model{Messages: 2, Faults: model.Faults{Lose: receiver}}},
	{model.ReadIsAttempt, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1}}},
	{model.RefusedIsAttempt, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Lose: receiver}}},
	{model.RefusedByOlder, "unknown, and it need not be", model.Model{Messages: 2, Faults: model.Faults{Lose: receiver, Mute: 1}}},
	{model.RerunMayHaveRun, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver, Cancel: 1}}},
	{model.OpeningCountsAsAttempt, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Crash: sender}}},
	{model.NewRoadShut, "given up, and that it was never sent could be known", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Crash: sender}}},
	{model.NobodyShuts, "given up, and that it was never sent could be known", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Crash: sender, Away: 1}}},
	{model.StopShuts, "given up, and that it was never sent could be known", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Stop: sender}}},
	{model.ShutAsks, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Crash: sender, Away: 1}}},
	{model.MetOpens, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Crash: sender}}},
	{model.ShutByJournal, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1, Restore: sender}}},
	{model.GiveUpUnknown, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Expire: 1}}},
	{model.VoidTravels, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1}}},
	{model.VoidTravels, "unknown, and it need not be", model.Model{Messages: 1, Faults: model.Faults{Expire: 1}}},
	{model.VoidIsNotSent, "sent, and the broker never had it", model.Model{Kind: model.CommandNACK, Messages: 1, Faults: model.Faults{Cancel: 1}}},
	{model.VoidOutlivesAck, "a message was given up, and its receiver is never told", model.Model{Messages: 1, Faults: model.Faults{Cancel: 1}}},
	{model.MetEndsSent, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Lose: receiver}}},
	{model.MetRerunGoesOn, "it asked for a rerun, and is unknown", model.Model{Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver}}},
	{model.RerunMayHaveRun, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver, Expire: 1}}},
	{model.RerunMayHaveRun, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver, Reject: 1}}},
	{model.AcksBeforeMet, "it asked for a rerun, and is unknown", model.Model{Messages: 2, Rerun: true, Faults: model.Faults{Lose: receiver}}},
	{model.AnswerOfAsked, "the sender holds an ack that the receiver never gave", model.Model{Messages: 1, Faults: model.Faults{Alien: 1}}},
	{model.StaleIsUnknown, "delivered, and the receiver never accepted it", model.Model{Kind: model.EventACK, Messages: 2, Faults: model.Faults{Rewind: sender, Reject: 1}}},
	{model.AskOverdue, "once faults stop a message is left without outcome", model.Model{Messages: 1, Faults: model.Faults{Lose: receiver}}},
	{model.AskMeets, "it asked for a rerun, and is unknown", model.Model{Messages: 1, Rerun: true, Faults: model.Faults{Lose: receiver}}},
	{model.OnlyUnknownRefined, "an outcome other than unknown was changed", model.Model{Messages: 1, Faults: model.Faults{Restore: receiver}}},
	{model.ForStore, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Lose: receiver}}},
	{model.MarkWithInbox, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Crash: receiver}}},
	{model.AdoptSettled, "a message ran twice and did not ask for it", model.Model{Messages: 2, Late: 2, Faults: model.Faults{Rewind: receiver, Busy: 1}}},
	{model.LossRepeated, "a journal lost history, and its sender goes on without a word", model.Model{Messages: 2, Faults: model.Faults{Rewind: receiver}}},
	{model.StoredAcks, "the sender holds an ack that the receiver never gave", model.Model{Messages: 1, Faults: model.Faults{Reject: 1}}},
	{model.ExactAcks, "delivered, and the receiver never accepted it", model.Model{Kind: model.EventACK, Messages: 3, Faults: model.Faults{Rewind: sender, Cancel: 1}}},
	{model.HistoryAnswers, "unknown, and it need not be", model.Model{Kind: model.EventACK, Messages: 2, Faults: model.Faults{Rewind: sender}}},
	{model.BusyEndsBatch, "unknown, and it need not be", model.Model{Messages: 2, Faults: model.Faults{Busy: 1}}},
	{model.StartedFirst, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Crash: receiver}}},
	{model.ExpiredNotStarted, "the outcome says that it never ran, and it ran", model.Model{Messages: 1, Rerun: true, Faults: model.Faults{Expire: 1, Crash: receiver}}},
	{model.FinishWithResult, "done, and it never ran to its end", model.Model{Messages: 1, Faults: model.Faults{Crash: receiver}}},
	{model.ResultAgain, "once faults stop the road does not come to rest", model.Model{Messages: 1, Faults: model.Faults{Rewind: sender}}},
	{model.AskTellsCancelled, "unknown, and it need not be", model.Model{Messages: 1, Faults: model.Faults{Rewind: sender, Cancel: 1}}},
	{model.CopyNoticed, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Restore: receiver}}},
	{model.CopyDoesNotRun, "a message ran twice and did not ask for it", model.Model{Messages: 1, Faults: model.Faults{Restore: receiver}}},
	{model.RunTakenUp, "a message ran twice and did not ask for it", model.Model{Messages: 1, Lasting: true, Faults: model.Faults{Crash: receiver}}},
}

// TestRules switches off each rule in turn: a checker that cannot fail proves nothing.
func TestRules(t *testing.T) {
	// The model has one opening of a journal at a time: that of two the older one is
	// told, and not answered stale, is for twins, who are tested on the real code.
	tested := model.Fence
	for _, x := range mutants {
		t.Run(x.without.String(), func(t *testing.T) {
			x.in.Without = x.without
			if r := x.in.Explore(30_000); r.Violation != x.breaks {
				t.Errorf("after %d states: %q, want %q", r.States, r.Violation, x.breaks)
			}
			x.in.Without = 0
			if r := x.in.Explore(30_000); r.Violation != "" {
				t.Errorf("with all rules: %s", r)
			}
		})
		tested |= x.without
	}
	for _, r := range model.Rules() {
		if tested&r == 0 {
			t.Errorf("%s has no mutant", r)
		}
	}
}

// TestTrace: what goes wrong is told in words, by a walk too.
func TestTrace(t *testing.T) {
	m := model.Model{Messages: 1, Faults: model.Faults{Crash: receiver}, Without: model.StartedFirst}
	for _, got := range []string{m.Explore(1000).String(), m.Walk(1000, 40, 1).String()} {
		if !strings.HasPrefix(got, "a message ran twice and did not ask for it:\n  central accepts message 0\n") || strings.Count(got, "ship1 crashes") != 1 {
			t.Errorf("%s", got)
		}
	}
}
