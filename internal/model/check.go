package model

// violation is a promise that was broken.
type violation int8

const (
	fine violation = iota
	twice
	disorder
	falseDone
	falseNever
	falseDelivered
	falseSent
	falseAck
	changed
	endless
	noOutcome
	leftOver
	needless
	noRerun
	forgotten
	unreadable
	hesitant
	unheard
)

func (v violation) String() string {
	return [...]string{
		"nothing",
		"a message ran twice and did not ask for it",
		"the receiver accepted messages out of order",
		"done, and it never ran to its end",
		"the outcome says that it never ran, and it ran",
		"delivered, and the receiver never accepted it",
		"sent, and the broker never had it",
		"the sender holds an ack that the receiver never gave",
		"an outcome other than unknown was changed",
		"once faults stop the road does not come to rest",
		"once faults stop a message is left without outcome",
		"once faults stop something is left in a journal's queue",
		"unknown, and it need not be",
		"it asked for a rerun, and is unknown",
		"a message was given up, and its receiver is never told",
		"a batch that its receiver does not read: it claims acks for what it carries",
		"given up, and that it was never sent could be known",
		"a journal lost history, and its sender goes on without a word",
	}[v]
}

func (w *world) fail(v violation) {
	if w.truth.wrong == fine {
		w.truth.wrong = v
	}
}

// check is what holds in every state.
func (m *Model) check(w *world) {
	t, s := &w.truth, &w.nodes[central]
	for i := range int8(most) {
		st, ran := s.states[i], t.starts[i] > 0
		switch {
		case st.outcome == done && t.ends[i] == 0:
			w.fail(falseDone)
		case (st.outcome == expired || st.outcome == cancelled || st.outcome == rejected) && ran && !t.forgot.has(i) && !t.unaware.has(i):
			w.fail(falseNever)
		case st.outcome == delivered && !t.took.has(i):
			w.fail(falseDelivered)
		case st.outcome == sent && !t.left.has(i):
			w.fail(falseSent)
		case st.state == taken && !t.took.has(i):
			w.fail(falseAck)
		case st.wanted != none && st.wanted != unknown && s.outbox[i].at != 0 && !s.outbox[i].void && !t.void.has(i):
			w.fail(forgotten)
		}
	}
}

// forgets replaces the journal of n, and notes what is lost with it: of that an
// outcome may be unknown. A copy is noticed, or not.
func (w *world) forgets(n node, to journal, noticed bool) {
	was, t := w.nodes[n].journal, &w.truth
	for i := range int8(most) {
		switch {
		case n == central && (was.states[i] != to.states[i] || was.outbox[i] != to.outbox[i]),
			n == ship1 && (was.inbox[i].at != 0 || was.history[i] != none || was.lane.runs[i].at != 0):
			t.may.add(i)
		}
		if n == central && to.states[i].outcome == unknown && was.states[i].outcome != unknown {
			t.closed.add(i)
		}
		at, r := to.outbox[i].at, to.road
		if n == ship1 || at == 0 || !t.left.has(i) {
			continue
		}
		if r.store == 0 {
			t.blind.add(i)
		}
		if !noticed && r.shutBy != 0 && at > r.shutAt {
			t.unaware.add(i)
		}
	}
	t.open = t.open || n == central
	t.unheard[n] = false
	if n == ship1 {
		t.last = 0
		w.gone(t.left)
	}
	w.nodes[n].journal = to
	w.nobodyKnows()
}

// nobodyKnows notes what was sent, and neither end has a trace of it: the sender
// was set back to before it sent it, and the receiver lost its journal too.
func (w *world) nobodyKnows() {
	r, t := &w.nodes[ship1], &w.truth
	for i := range int8(most) {
		if (t.blind | t.unaware).has(i) && r.inbox[i].at == 0 && r.history[i] == none {
			t.again.add(i)
			t.forgot.add(i)
		}
	}
}

// gone notes what may have been sent, as far as its sender can know, to a journal
// that is no more: also what was given up while it was read, and what an opening
// found waiting.
func (w *world) gone(sent set) {
	s := &w.nodes[central]
	for i, x := range s.outbox {
		if x.at != 0 && (sent.has(int8(i)) || x.void || w.truth.found.has(int8(i))) {
			w.truth.may.add(int8(i))
		}
	}
}

// finds notes what the sender's opening finds on an open road: the life before may
// have sent it.
func (w *world) finds() {
	for i, x := range w.nodes[central].outbox {
		if x.at != 0 && w.truth.open {
			w.truth.found.add(int8(i))
		}
	}
}

// neverSent reports whether message i has not left, and its sender can know it.
func (w *world) neverSent(m *Model, i int8) bool {
	e := &w.nodes[central]
	for _, it := range e.read.items {
		if it.at != 0 && it.message == i && !(e.shut && m.has(ShutAsks)) {
			return false
		}
	}
	return m.Kind != CommandNACK && !w.truth.left.has(i) && !w.truth.found.has(i)
}

// setBack notes what a receiver that is set back to journal to does not know that
// it knew: it may run that again, and nobody can tell.
func (w *world) setBack(to journal) {
	was, t := w.nodes[ship1].journal, &w.truth
	for i := range int8(most) {
		at := t.places[i]
		if was.inbox[i] != to.inbox[i] || was.history[i] != to.history[i] || at <= was.lane.mark && at > to.lane.mark {
			t.forgot.add(i)
			t.again.add(i)
		}
	}
}

// heardOf: from the first word of its sender on, a receiver that was set back runs
// nothing again that the sender holds the ack for, but for what waits in its inbox.
func (w *world) heardOf(n node, p packet) {
	for i := range int8(most) {
		if at := w.truth.places[i]; n == ship1 && at <= p.settled && w.nodes[ship1].inbox[i].at == 0 {
			w.truth.again.remove(i)
		}
	}
}

// checkRest is what holds when faults have stopped and nothing is left to do.
func (m *Model) checkRest(w *world) {
	s, r, t := &w.nodes[central], &w.nodes[ship1], &w.truth
	for i := range int8(most) {
		st := s.states[i]
		switch {
		case st.state != absent && st.state != ended:
			w.fail(noOutcome)
		case s.outbox[i].at != 0 || r.outbox[i].at != 0 || r.inbox[i].at != 0:
			w.fail(leftOver)
		case st.outcome == unknown && !m.justified(w, i):
			w.fail(needless)
		case st.outcome == unknown && m.mayRerun(central, i) && !t.given.has(i) && !t.forgot.has(i) && t.starts[i] < maxReruns:
			w.fail(noRerun)
		}
	}
}

// justified reports whether message i may be unknown: a run of it began and
// nothing on disk says how it ended, or what was known of it was lost with a
// journal. Where the receiver's journal knows better it may not, unless that is
// another one than it was sent to, or its sender was set back to where it had ended
// it as unknown: then nobody asks.
func (m *Model) justified(w *world, i int8) bool {
	t := &w.truth
	if m.Kind == CommandNACK {
		return true // nobody ever says more
	}
	if h := w.nodes[ship1].history[i]; h != none && h != unknown && t.ids[ship1] == 1 && !t.closed.has(i) {
		return false
	}
	return t.may.has(i) || t.starts[i] > 0 && t.ends[i] == 0
}
