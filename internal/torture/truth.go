package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/store"
)

// truth compares outcomes with what commands left behind, and with what a node
// that was in good health could have said.
func (j *judgement) truth() {
	for key, list := range j.byKey {
		r := j.orders[key]
		if r == nil || j.spoiled[key] {
			continue
		}
		for _, m := range list {
			if m.State == store.Ended {
				j.outcome(r, m)
			}
		}
	}
}

func (j *judgement) outcome(r *receipt, m store.Record) {
	ran := j.started[m.ID]
	wrong := func(format string, args ...any) {
		j.breach(r.Key, m.ID, "%s, %s", m.Outcome, fmt.Sprintf(format, args...))
	}
	if !r.Kind.Acked() {
		if m.Outcome != ack.Sent {
			wrong("but it is of kind %s (%s)", r.Kind, m.Reason)
		}
		return
	}
	switch m.Outcome {
	case ack.Done:
		if r.effects() && ran == 0 {
			wrong("and never ran")
		}
		if want, known := wantedOutput(r.Order); known && (m.Result == nil || string(m.Result.Stdout) != want) {
			wrong("and its output is not what it printed")
		}
		if !r.Kind.Command() || r.endless() || strings.HasPrefix(r.Does, doFail) || r.Method == refusedMethod {
			wrong("which it cannot be")
		}
	case ack.Failed:
		wantCode, _ := strings.CutPrefix(r.Does, doFail+":")
		code := ""
		if m.Result != nil && m.Result.ExitCode != nil {
			code = fmt.Sprint(*m.Result.ExitCode)
		}
		switch {
		case r.effects() && (ran == 0 || code != wantCode):
			wrong("exit code %q where %q was to come, %d runs: %s", code, wantCode, ran, m.Reason)
		case !r.effects() && r.Method != "CLICommand":
			wrong("%s", m.Reason)
		}
	case ack.Timeout:
		if r.Runs == 0 || !r.endless() {
			wrong("with time enough: %s", m.Reason)
		}
	case ack.Delivered:
		if r.Kind.Command() {
			wrong("but it is a command")
		}
	case ack.RejectedEnd:
		if r.Method != refusedMethod || ran > 0 {
			wrong("%d runs: %s", ran, m.Reason)
		}
	case ack.Expired:
		if r.Lives == 0 && !j.leapt(m.ToNode) || ran > 0 {
			wrong("%d runs, lifetime %s: %s", ran, r.Lives, m.Reason)
		}
	case ack.Undelivered:
		if r.Tries == 0 || ran > 0 {
			wrong("%d runs, %d tries: %s", ran, r.Tries, m.Reason)
		}
	case ack.Cancelled:
		if r.Cancel == 0 || ran > 0 {
			wrong("%d runs: %s", ran, m.Reason)
		}
	case ack.Unknown:
		j.excused(r, m, wrong)
	default:
		wrong("which is no outcome of %s", r.Kind)
	}
}

// wantedOutput is what an order's command prints, where history has all of it.
func wantedOutput(o Order) (string, bool) {
	what, _, _ := strings.Cut(o.Does, ":")
	switch {
	case o.Method == "Echo":
		return o.Key, true
	case what == doOK:
		var n int
		_, _ = fmt.Sscanf(o.Does, doOK+":%d", &n)
		return outputOf(o.Key, n), true
	case what == doSlow:
		return "", true
	}
	return "", false
}

// excused: nobody can know what became of a command that ran when its machine
// died, or that was with a node whose journal was lost; and of nothing else. A node
// that is killed lets its commands go on, and collects them.
func (j *judgement) excused(r *receipt, m store.Record, wrong func(string, ...any)) {
	if there, known := j.received[m.ToNode][m.ID]; known && there.State == store.Ended && there.Outcome != ack.Unknown && !j.notAsked(r, m) {
		wrong("and %s knows that it is %s (%s)", m.ToNode, there.Outcome, m.Reason)
	}
	if j.flippedRun(m.ID) || j.leapt(m.ToNode) {
		return
	}
	for _, e := range j.events {
		killing := strings.HasPrefix(e.What, faultPower) || e.What == faultRunner || strings.HasPrefix(e.What, faultDisk) || disowned(e)
		if (e.Node == m.ToNode && killing || strings.HasPrefix(e.What, faultSender+" ")) && e.At.Before(m.EndedAt.Add(time.Second)) &&
			(e.At.After(m.AcceptedAt.Add(-time.Second)) || disowned(e) && !j.met(m, e.At)) {
			return
		}
	}
	wrong("and nothing had befallen %s: %s", m.ToNode, m.Reason)
}

// notAsked: where a journal was replaced, nobody asks it what it knows of an event or
// of a message that is taken back; nor of a command where the sender's was too.
func (j *judgement) notAsked(r *receipt, m store.Record) bool {
	return j.disowned(m.ToNode, m) && (!m.Kind.Command() || r.Cancel > 0 || j.disowned(central, m))
}

// disowned reports whether node was given another journal while m was under way.
func (j *judgement) disowned(node string, m store.Record) bool {
	return slices.ContainsFunc(j.events, func(e event) bool {
		return e.Node == node && disowned(e) && e.At.After(m.AcceptedAt.Add(-time.Second)) && e.At.Before(m.EndedAt)
	})
}

// met reports whether the subject of m has met the journal that its receiver has
// since then. What is the first to go there, and goes twice, may be unknown.
func (j *judgement) met(m store.Record, since time.Time) bool {
	return slices.ContainsFunc(j.sent, func(o store.Record) bool {
		return o.ToNode == m.ToNode && o.Kind == m.Kind && o.Method == m.Method && o.Outcome != ack.Unknown &&
			o.State == store.Ended && o.AcceptedAt.After(since) && o.EndedAt.Before(m.AcceptedAt)
	})
}

// lost reports whether node has lost its journal, or a part of it.
func (j *judgement) lost(node string) bool {
	return slices.ContainsFunc(j.events, func(e event) bool { return e.Node == node && strings.HasPrefix(e.What, faultJournal+" ") })
}

// disowned reports whether e makes a node take its journal for another one: what was
// with it has no outcome that anybody could know.
func disowned(e event) bool {
	return strings.HasPrefix(e.What, faultJournal+" ") || strings.HasPrefix(e.What, faultSender+" ") || e.What == faultFlip+" "+fileOpening
}

// classes says as what the error kernel must have heard of an outcome.
func classes() map[ack.Outcome]errorkernel.Class {
	return map[ack.Outcome]errorkernel.Class{
		ack.Failed: errorkernel.Handler, ack.Timeout: errorkernel.Handler, ack.RejectedEnd: errorkernel.Rejection,
		ack.Expired: errorkernel.Expiry, ack.Undelivered: errorkernel.Undelivered, ack.Unknown: errorkernel.Unknown,
	}
}

// told: what ended badly is known to the error kernel, by class and subject, since
// it folds failures of a kind, and names some of the subjects. Classes that say
// that something broke have a cause.
func (j *judgement) told() {
	heard := map[string]bool{}
	broken := slices.ContainsFunc(j.events, func(e event) bool { return strings.HasPrefix(e.What, faultDisk) })
	for _, f := range j.failures {
		if broken && (f.Class == errorkernel.Storage || f.Class == errorkernel.Process || f.Class == errorkernel.Submission) ||
			f.Class == errorkernel.Identity && slices.ContainsFunc(j.events, disowned) {
			continue
		}
		for _, s := range append(f.Among, f.Subject) {
			heard[string(f.Class)+" "+s] = true
		}
		if len(f.Among) == errorkernel.MaxAmong {
			heard[string(f.Class)] = true
		}
		switch f.Class {
		case errorkernel.Storage, errorkernel.Identity, errorkernel.Process:
			j.breach("", f.Message, "the error kernel of %s heard of class %s, and nothing of it was done: %s", f.Node, f.Class, f.Cause)
		case errorkernel.Submission:
			if !j.anyBad() {
				j.breach("", "", "the error kernel heard of a bad submission, and there was none: %s", f.Cause)
			}
		}
	}
	missing := map[string]bool{}
	for _, m := range j.sent {
		class, bad := classes()[m.Outcome]
		name := fmt.Sprintf("%s steward.%s.%s.%s", class, m.ToNode, m.Kind, m.Method)
		if bad && !heard[name] && !heard[string(class)] && !missing[name] {
			missing[name] = true
			j.breach(m.Labels["key"], m.ID, "ended as %s, and the error kernel has nothing of %s", m.Outcome, name)
		}
	}
	refused := slices.ContainsFunc(j.receipts, func(r *receipt) bool { return r.Bad && r.handed })
	if refused && !broken && j.amnesia.IsZero() && !heard[string(errorkernel.Submission)+" "] {
		j.breach("", "", "a text was refused, and the error kernel does not know it")
	}
}

// anyBad reports whether a text may have been refused: there was one, or a file
// was not written to its end.
func (j *judgement) anyBad() bool {
	for _, r := range j.receipts {
		if r.Bad || r.doubt && r.Way != byAPI || j.spoiled[r.Key] {
			return true
		}
	}
	return false
}
