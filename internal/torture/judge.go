package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// invariant is one thing that no round may break.
type invariant struct {
	name    string
	promise string
	check   func(*judgement)
}

// invariants is the table of them, in the order of the report. What has no check
// here is decided while the round runs, or not at all yet, and says so.
func invariants() []invariant {
	return []invariant{
		{"I1", "what was accepted has one outcome, and nothing is lost", (*judgement).nothingLost},
		{"I2", "a command runs at most once unless it asks for more; a line is written once", (*judgement).onlyOnce},
		{"I3", "outcomes are true", (*judgement).truth},
		{"I4", "order of acceptance is order of submission, and of the receiver", (*judgement).order},
		{"I5", "nothing runs that nobody asked for", (*judgement).asked},
		{"I6", "an outcome stays what it was; only unknown may be refined", (*judgement).steady},
		{"I7", "every failure reaches central's error kernel, and none without a cause", (*judgement).told},
		{"I8", "memory and descriptors stay bounded (looked at before the end of a round)", nil},
		{"I9", "nodes are ready within 10 s, end only when told, and their journals are whole", nil},
		{"I10", "one bad node does not delay others", (*judgement).undelayed},
		{"I11", "late copies of a message change nothing", (*judgement).immune},
		{"I12", "the audit chain verifies (there is none yet)", nil},
		{"I13", "builds mix: upgrades and rollbacks under running commands change none of this", nil},
		{"I14", "SIGTERM ends a node cleanly; runner and commands end when all is done", (*judgement).cleanEnd},
	}
}

// judgement joins the evidence by key.
type judgement struct {
	*evidence
	found   []violation
	name    string
	byKey   map[string][]store.Record // of central's history
	byID    map[string]store.Record
	orders  map[string]*receipt
	started map[string]int // effects by id
	amnesia time.Time      // when central last lost its journal or a part of it; zero: never
}

// judge decides every invariant from the evidence.
func judge(ev *evidence) []violation {
	j := &judgement{evidence: ev, byKey: map[string][]store.Record{}, byID: map[string]store.Record{}, orders: map[string]*receipt{}, started: map[string]int{}}
	for _, m := range ev.sent {
		j.byID[m.ID] = m
		if key := m.Labels["key"]; key != "" {
			j.byKey[key] = append(j.byKey[key], m)
		}
	}
	for _, r := range ev.receipts {
		j.orders[r.Key] = r
	}
	for _, e := range ev.events {
		if strings.HasPrefix(e.What, faultSender+" ") && e.At.After(j.amnesia) {
			j.amnesia = e.At
		}
	}
	for _, list := range ev.effects {
		for _, e := range list {
			j.started[e.id]++
		}
	}
	j.setClock()
	for _, i := range invariants() {
		if j.name = i.name; i.check != nil {
			i.check(j)
		}
	}
	return j.found
}

func (j *judgement) breach(key, id, format string, args ...any) {
	j.found = append(j.found, violation{Invariant: j.name, Key: key, ID: id, What: fmt.Sprintf(format, args...)})
}

func (j *judgement) nothingLost() {
	for _, what := range j.late {
		j.breach("", "", "not quiet in time after the faults: %s", what)
	}
	bad := 0
	for _, r := range j.receipts {
		found := j.byKey[r.Key]
		switch {
		case j.spoiled[r.Key]: // whatever came of it: nobody can know what it said
		case r.Bad:
			if r.handed {
				bad++
			}
			if len(found) > 0 {
				j.breach(r.Key, found[0].ID, "a text that is no message was accepted")
			}
		case r.from.Before(j.amnesia):
		case r.id != "" && j.byID[r.id].ID == "":
			j.breach(r.Key, r.id, "its submitter was told that it is accepted, and history does not know it")
		case r.handed && len(found) == 0:
			j.breach(r.Key, "", "its file was taken, and history does not know it")
		case r.refused != "":
			j.breach(r.Key, "", "refused: %s", r.refused)
		}
	}
	for _, m := range j.sent {
		if m.State != store.Ended || !m.Outcome.Valid() {
			j.breach(m.Labels["key"], m.ID, "no outcome: %s, %d attempts, %s", m.State, m.Attempts, m.LastError)
		}
		if m.Outcome == ack.Delivered && m.Method == "TextLogging" && !j.lost(m.ToNode) && !j.unlike(m.Labels["key"]) {
			for _, line := range j.linesOf(m) {
				if !slices.Contains(j.lines[m.ToNode][m.Kind], line) {
					j.breach(m.Labels["key"], m.ID, "delivered, and its line is not in the file")
				}
			}
		}
	}
	if j.rejected < bad { // a crash between two steps may leave one twice
		j.breach("", "", "%d texts were bad, %d are in rejected/", bad, j.rejected)
	}
}

func (j *judgement) linesOf(m store.Record) []string {
	key := m.Labels["key"]
	return []string{key + " first", key + " second"}
}

// maxRuns is how often a command may be started that asks to be run again.
const maxRuns = 3

func (j *judgement) onlyOnce() {
	for key, list := range j.byKey {
		if len(list) > 1 && !j.repeated(key) {
			j.breach(key, list[1].ID, "accepted %d times", len(list))
		}
	}
	for id, n := range j.started {
		m := j.byID[id]
		limit := 1 + j.forgotten(m)
		if r := j.orders[m.Labels["key"]]; r != nil && r.Rerun {
			limit = maxRuns
		}
		if n > limit {
			j.breach(m.Labels["key"], id, "ran %d times", n)
		}
	}
	for node, files := range j.lines {
		for kind, lines := range files {
			if j.lost(node) {
				continue // what its old journal does not know, it writes again
			}
			count := map[string]int{}
			for _, l := range lines {
				key, _, _ := strings.Cut(l, " ")
				if count[l]++; count[l] == 2 && !j.repeated(key) {
					j.breach(l, "", "a line twice in %s of %s: %q", linesFile(kind), node, l)
				}
			}
		}
	}
}

// forgotten is how often the receiver of m lost a journal that may have known m.
// Kinds without ack are for no journal, so that each of its journals may run it once.
func (j *judgement) forgotten(m store.Record) (times int) {
	if m.Kind.Acked() {
		return 0
	}
	for _, e := range j.events {
		if e.Node == m.ToNode && strings.HasPrefix(e.What, faultJournal+" ") && e.At.After(m.AcceptedAt) {
			times++
		}
	}
	return times
}

func (j *judgement) order() {
	for lane := range lanes { // of submission
		last := map[string]store.Record{}
		for _, r := range j.receipts {
			if found := j.byKey[r.Key]; r.Lane == lane && len(found) > 0 && r.handed && r.Way != byHalves && !j.spoiled[r.Key] {
				m := found[0]
				if before := last[r.Way]; before.ID != "" && comparePlaces(m, before) <= 0 {
					j.breach(r.Key, m.ID, "submitted after %s, and its place is before", before.Labels["key"])
				}
				last[r.Way] = m
			}
		}
	}
	for node, list := range j.effects { // of commands that run one after the other
		last := map[subject.Kind]store.Record{}
		for _, e := range list {
			m := j.byID[e.id]
			if m.Method != "CLICommand" || m.ID == "" || j.started[e.id] > 1 {
				continue
			}
			if before := last[m.Kind]; before.ID != "" && comparePlaces(m, before) <= 0 {
				j.breach(e.key, e.id, "%s started it after %s, which was accepted later", node, before.Labels["key"])
			}
			last[m.Kind] = m
		}
	}
	for node, files := range j.lines {
		for _, lines := range files {
			if j.lost(node) {
				continue
			}
			var before store.Record
			for _, l := range lines {
				key, _, _ := strings.Cut(l, " ")
				found := j.byKey[key]
				if len(found) == 0 || j.repeated(key) {
					continue
				}
				if before.ID != "" && comparePlaces(found[0], before) < 0 {
					j.breach(found[0].Labels["key"], found[0].ID, "%s wrote its lines after those of %s, which was accepted later", node, before.Labels["key"])
				}
				before = found[0]
			}
		}
	}
}

func comparePlaces(a, b store.Record) int {
	if c := strings.Compare(a.Epoch, b.Epoch); c != 0 {
		return c
	}
	return int(a.Seq) - int(b.Seq)
}

func (j *judgement) asked() {
	for node, list := range j.effects {
		for _, e := range list {
			m, r := j.byID[e.id], j.orders[e.key]
			if m.ToNode == node && (j.unlike(e.key) || j.unlike(m.Labels["key"])) {
				continue
			}
			if m.ID == "" && r != nil && r.To == node && r.from.Before(j.amnesia) {
				continue
			}
			if r == nil || m.ID == "" || m.Labels["key"] != e.key || m.ToNode != node {
				j.breach(e.key, e.id, "%s ran what central does not know to have sent there", node)
			}
		}
	}
	for node, files := range j.lines {
		for _, lines := range files {
			for _, l := range lines {
				key, _, _ := strings.Cut(l, " ")
				if j.unlike(key) {
					continue
				}
				found := j.byKey[key]
				if r := j.orders[key]; len(found) == 0 && r != nil && r.To == node && r.from.Before(j.amnesia) {
					continue
				}
				if len(found) == 0 || found[0].ToNode != node || !slices.Contains(j.linesOf(found[0]), l) {
					j.breach("", "", "%s wrote a line that nobody sent there: %q", node, l)
				}
			}
		}
	}
}

func (j *judgement) steady() {
	now := map[string]store.Record{}
	for _, m := range j.again {
		now[m.ID] = m
	}
	for _, m := range j.sent {
		j.same(m, now[m.ID], "after a restart")
	}
	for id, first := range j.finals {
		if first.EndedAt.Before(j.amnesia) {
			continue // it may not even remember that it sent it
		}
		j.same(first, now[id], "first seen")
	}
}

// same compares an outcome with what history says of it later.
func (j *judgement) same(a, b store.Record, when string) {
	key := a.Labels["key"]
	if b.ID == "" {
		j.breach(key, a.ID, "history has lost it, %s", when)
		return
	}
	if a.Outcome == ack.Unknown || a.State != store.Ended {
		return
	}
	if a.Outcome != b.Outcome {
		j.breach(key, a.ID, "%s: %s became %s (%s)", when, a.Outcome, b.Outcome, b.Reason)
	}
	if a.Result != nil && (b.Result == nil || string(a.Result.Stdout) != string(b.Result.Stdout) || *orZero(a.Result.ExitCode) != *orZero(b.Result.ExitCode)) {
		j.breach(key, a.ID, "%s: its result changed", when)
	}
}

func orZero(p *int) *int {
	if p == nil {
		return new(int)
	}
	return p
}

// after is how long a trouble of central may be felt.
const after = 3 * time.Second

// undelayed: what waits for nothing and went to a node that nothing befell, while
// nothing befell central either, was through soon, whatever befell others.
func (j *judgement) undelayed() {
	for _, m := range j.sent {
		if m.Method != "Echo" && m.Kind != subject.EventACK || m.State != store.Ended || m.Outcome == ack.Cancelled {
			continue
		}
		hit := slices.ContainsFunc(j.events, func(e event) bool {
			name := strings.TrimPrefix(e.Node, "link:")
			return name == m.ToNode || (name == central || name == hub) && e.At.After(m.AcceptedAt.Add(-after)) && e.At.Before(m.EndedAt)
		})
		if took := m.EndedAt.Sub(m.AcceptedAt); !hit && !j.clocked(central) && took > j.soon+j.pulse.slack(m.AcceptedAt, m.EndedAt) {
			j.breach(m.Labels["key"], m.ID, "took %s, and nothing had befallen central or %s", took.Round(time.Millisecond), m.ToNode)
		}
	}
}

// immune: what had its outcome before copies of everything were sent is neither
// received nor run by them. Kinds without an ack may have been lost on the road:
// then a copy is the first that comes; so it is where a journal was lost that knew
// what it is a copy of.
func (j *judgement) immune() {
	ran := map[string]int{}
	for _, list := range j.before.effects {
		for _, e := range list {
			ran[e.id]++
		}
	}
	for id, n := range j.started {
		if m := j.byID[id]; n > ran[id] && (m.Kind.Acked() || ran[id] > j.forgotten(m)) {
			j.breach(m.Labels["key"], id, "ran %d times, and %d times after late copies of requests", ran[id], n)
		}
	}
	for node, list := range j.received {
		for id, m := range list {
			if was, known := j.before.received[node][id]; m.Kind.Acked() && (!known || was.Outcome != m.Outcome) {
				j.breach(m.Labels["key"], id, "%s, %q at %s, and %q after late copies of requests", j.byID[id].Outcome, was.Outcome, node, m.Outcome)
			}
		}
	}
}

func (j *judgement) cleanEnd() {
	for _, s := range j.stray {
		j.breach("", "", "outlived its node: %s", s)
	}
}
