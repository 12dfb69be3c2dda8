package model

import "cmp"

// accept is store.Accept.
func (m *Model) accept(w *world) {
	i, s := w.truth.born, &w.nodes[central]
	w.truth.born++
	s.putOut(m, i, none)
	s.states[i] = status{state: waiting}
	w.truth.places[i] = s.outbox[i].at
	m.say("central accepts message %d", i)
}

// newRoad is store.newRoad.
func (e *end) newRoad(m *Model) {
	e.shut, e.found = true, 0
	if m.has(NewRoadShut) {
		e.road.shutBy = e.id
	}
}

// putOut is store.putOut.
func (e *end) putOut(m *Model, i int8, result outcome) {
	if e.seq == 0 {
		e.newRoad(m)
	}
	e.seq++
	e.outbox[i] = slot{at: placeOf(e.epoch, e.seq), result: result}
}

// waiting is what store.Next reads: voids of messages that were acked before, then
// a prefix of what has no ack, in order.
func (m *Model) waiting(e *end, count int8) (out outgoing) {
	acked := max(e.road.acked, e.after)
	if !m.has(Prefix) {
		count++ // the first of several is left out
	}
	for last := place(0); out.n < count; out.n++ {
		i := int8(-1)
		for k, s := range e.outbox {
			if s.at > last && (s.at > acked || s.void) && (i < 0 || s.at < e.outbox[i].at) {
				i = int8(k)
			}
		}
		if i < 0 {
			break
		}
		s := e.outbox[i]
		out.items[out.n], last = item{i, s.at, s.void, s.result}, s.at
	}
	if !m.has(Prefix) && out.n > 1 {
		out.n--
		copy(out.items[:], out.items[1:])
		out.items[out.n] = item{}
	}
	return out
}

// next is store.Next.
func (m *Model) next(w *world, n node, count int8) {
	e := &w.nodes[n]
	e.read, e.before = m.waiting(e, count), e.attempted
	if m.has(ReadIsAttempt) && !(e.shut && m.has(ShutAsks)) {
		e.attempting()
	}
	if m.Faults.Cancel+m.Faults.Expire > 0 {
		m.say("%s reads %v, to be sent", n, e.read.items[:e.read.n])
	}
}

func (e *end) attempting() {
	e.attempted = max(e.attempted, e.read.items[e.read.n-1].at)
}

// overdue is store.AwaitingResults.
func (e *end) overdue() (ids set) {
	for i, s := range e.outbox {
		if s.at != 0 && s.at <= e.road.acked && !s.void {
			ids.add(int8(i))
		}
	}
	return ids
}

func (e *end) mayHaveBeenSent(p place) bool {
	return p <= e.found || p <= e.attempted
}

// shut is store.Shut: its commit is on its way.
func (m *Model) shut(e *end) {
	if !e.shut {
		e.shut, e.shutting, e.shuttingAt = true, true, max(e.found, e.attempted)
	}
}

// shutDone is that commit.
func (m *Model) shutDone(w *world, n node) {
	e := &w.nodes[n]
	if e.shutting && m.has(NobodyShuts) {
		e.road.shutBy, e.road.shutAt = e.id, e.shuttingAt
	}
	if e.shutting, e.shuttingAt = false, 0; n == central {
		w.truth.open = false
	}
}

// nobody is Publisher.unsent, after a request that found nobody.
func (m *Model) nobody(w *world, n node) {
	e := &w.nodes[n]
	m.say("%s hears that nobody is there", n)
	m.unsent(e)
	e.read = outgoing{}
	m.shut(e)
}

// send is Publisher.send: what was read, or the question who is there.
func (m *Model) send(w *world, n node, kind request) {
	e := &w.nodes[n]
	p := packet{kind: kind, awaited: true, epoch: e.epoch, forStore: e.road.store, settled: e.road.settled, heard: e.loss}
	e.waits = kind
	if kind == probe {
		m.unsent(e)
		m.say("%s asks who is there", n)
	} else {
		p.outgoing = e.read
		if last := p.items[p.n-1]; p.settled >= last.at && !last.void {
			w.fail(unreadable)
		}
		e.attempting()
		m.say("%s sends %v, for journal %d of %s", n, p.items[:p.n], p.forStore, n.peer())
	}
	if e.lives = w.nodes[n.peer()].id; kind == probe || e.lives == e.road.store { // no older one will refuse it
		e.lives = 0
	}
	if e.read = (outgoing{}); m.has(RefusedIsAttempt) && e.lives == 0 {
		e.before = 0
	}
	w.emit(n, p)
}

// unsent is store.Unsent.
func (m *Model) unsent(e *end) {
	e.attempted, e.before = e.before, 0
}

// askBroker is what Publisher.publish does on a shut road first.
func (m *Model) askBroker(w *world) {
	e := &w.nodes[central]
	m.say("central asks the broker whether it is there")
	m.unsent(e)
	e.read = outgoing{}
	m.meet(w, central, 0)
}

// publish is Publisher.publish, for kinds without ack. The broker may say that it
// has them; else it may have them or not.
func (m *Model) publish(w *world, kept, lost bool) {
	e := &w.nodes[central]
	p := packet{kind: batch, epoch: e.epoch, outgoing: e.read}
	e.attempting()
	e.read, e.before = outgoing{}, 0
	m.say("central publishes %v", p.items[:p.n])
	if lost {
		m.say("it does not get out, and central cannot know")
		return
	}
	w.emit(central, p)
	if kept {
		m.say("the broker has it")
		for _, it := range p.items[:p.n] {
			m.answered(w, central, it, vSentOut)
		}
	}
}

// ask is Publisher.ask.
func (m *Model) ask(w *world, n node) {
	e := &w.nodes[n]
	p := packet{kind: question, awaited: true, ids: e.overdue()}
	e.waits = question
	w.emit(n, p)
	m.say("%s asks what became of %v", n, p.ids)
}

// noAnswer is Publisher.missed.
func (m *Model) noAnswer(w *world, n node) {
	w.unawait(n)
	if n == central && w.nodes[n].lives != 0 && m.Faults.Mute > 0 { // it was for a journal that is no more
		w.gone(w.truth.left)
	}
	m.say("%s waits for an answer in vain", n)
}

// hear is Publisher.take, or the second half of Publisher.ask.
func (m *Model) hear(w *world, n node) {
	a := w.answers[n]
	w.unawait(n)
	if a.loss != 0 {
		w.truth.unheard[n.peer()] = false
	} else if a.owes {
		w.fail(unheard)
	}
	if a.kind != question && !a.refused && !a.fenced {
		w.nodes[n].loss = a.loss
	}
	switch {
	case a.kind == question:
		m.traced(w, n, a)
	case a.kind == batch && !a.refused && a.store != w.nodes[n].road.store && m.has(AnswerOfAsked):
		m.say("that is no answer to %s", n)
	case a.fenced:
		m.say("%s hears that it was fenced", n)
	case a.refused || a.kind == probe:
		if e := &w.nodes[n]; a.refused && a.kind == batch && (a.store == e.lives && m.has(RefusedByOlder) || !m.has(RefusedIsAttempt)) {
			m.unsent(e)
		}
		m.meet(w, n, a.store)
	default:
		m.keep(w, n, a)
	}
}

// traced is what Publisher.ask does with the answer.
func (m *Model) traced(w *world, n node, a answer) {
	e := &w.nodes[n]
	if m.has(AskMeets) && a.store != e.road.store {
		m.meet(w, n, a.store)
		return
	}
	for i := range int8(most) {
		switch {
		case e.outbox[i].at == 0:
		case a.gone.has(i):
			m.say("%s has no trace of message %d", n.peer(), i)
			m.end(w, n, i, unknown)
		case a.voided.has(i):
			m.never(w, n, i, cmp.Or(e.states[i].wanted, cancelled))
		}
	}
}

// meet is Publisher.meet, and store.Met.
func (m *Model) meet(w *world, n node, store int8) {
	e := &w.nodes[n]
	if e.after = 0; e.road.store == store && !e.shut {
		return
	}
	if m.has(AcksBeforeMet) {
		m.acked(w, n)
	}
	m.say("%s meets journal %d of %s; it knew %d", n, store, n.peer(), e.road.store)
	if e.road.store != 0 && e.road.store != store && m.has(MetEndsSent) {
		m.lostReceiver(w, n)
	}
	if e.road.store != store {
		e.road.store, e.road.settled = store, 0
	}
	if n == central {
		w.truth.blind, w.truth.open = 0, true
	}
	if e.shut, e.shutting, e.shuttingAt = false, false, 0; m.has(MetOpens) {
		e.road.shutBy, e.road.shutAt = 0, 0
	}
}

// lostReceiver is store.lostReceiver.
func (m *Model) lostReceiver(w *world, n node) {
	e := &w.nodes[n]
	acked := e.road.acked
	for i, s := range e.outbox {
		switch {
		case s.at == 0 || s.at > acked && !e.mayHaveBeenSent(s.at):
		case m.mayRerun(n, int8(i)) && !s.void && m.has(MetRerunGoesOn):
			e.road.acked = min(e.road.acked, s.at-1)
			if st := &e.states[i]; n == central && m.has(RerunMayHaveRun) {
				if st.wanted = unknown; st.state != ended {
					st.state = waiting
				}
			}
		default:
			m.end(w, n, int8(i), unknown)
		}
	}
}

func (m *Model) mayRerun(n node, i int8) bool { return n == ship1 || m.Rerun && i == 0 }

// keep is Publisher.keep: acks that are no outcome may wait for the next commit.
func (m *Model) keep(w *world, n node, a answer) {
	e := &w.nodes[n]
	k := a.n
	if k > 0 && a.acks[k-1] == vBusy {
		k--
	}
	patient := m.Kind == CommandACK // for results too
	for j, it := range a.items[:k] {
		patient = patient && !it.void && a.acks[j] == vAccepted
	}
	m.say("%s hears of %v: %v", n, a.items[:a.n], a.acks[:a.n])
	if !patient {
		m.acked(w, n)
	}
	for j, it := range a.items[:k] {
		if patient {
			e.patient[it.message] = it.at
		} else {
			m.answered(w, n, it, a.acks[j])
		}
		e.after = max(e.after, it.at)
	}
}

// acked commits the acks that could wait: store.Acked.
func (m *Model) acked(w *world, n node) {
	e := &w.nodes[n]
	for i, p := range e.patient {
		if p != 0 {
			m.answered(w, n, item{message: int8(i), at: p}, vAccepted)
		}
	}
	e.patient = [most]place{}
}

// answered is store.answered, for one ack.
func (m *Model) answered(w *world, n node, it item, v verdict) {
	e := &w.nodes[n]
	e.road.acked, e.road.settled = max(e.road.acked, it.at), max(e.road.settled, it.at)
	i, s := it.message, &e.outbox[it.message]
	if s.at != it.at { // it ended already
		return
	}
	if n == central && it.void {
		w.truth.void.add(i)
	}
	if v == vStale && !m.has(StaleIsUnknown) {
		v = vAccepted
	}
	switch v {
	case vAccepted:
		if n == central && m.Kind == CommandACK {
			if s.void && !it.void && m.has(VoidOutlivesAck) {
				return
			}
			s.void = false
			if st := &e.states[i]; st.state != ended {
				st.state = taken
			}
			return
		}
		m.end(w, n, i, delivered)
	case vRejected:
		m.never(w, n, i, rejected)
	case vVoided:
		m.never(w, n, i, cmp.Or(e.states[i].wanted, cancelled))
	case vSentOut:
		if s.void && m.has(VoidIsNotSent) {
			m.end(w, n, i, unknown)
			return
		}
		m.end(w, n, i, sent)
	default:
		m.end(w, n, i, unknown)
	}
}

// never is status.never: o says that the message never ran, which a receiver whose
// journal was lost since it may have run cannot know.
func (m *Model) never(w *world, n node, i int8, o outcome) {
	if n == central && w.nodes[n].states[i].wanted == unknown && m.has(RerunMayHaveRun) {
		w.truth.given.add(i)
		o = unknown
	}
	m.end(w, n, i, o)
}

// end is store.end: the outcome, and out of the outbox.
func (m *Model) end(w *world, n node, i int8, o outcome) {
	w.nodes[n].outbox[i] = slot{}
	m.outcome(w, n, i, o)
}

func (m *Model) outcome(w *world, n node, i int8, o outcome) {
	if n != central {
		return // nobody asks what became of a result
	}
	st := &w.nodes[n].states[i]
	if st.state == ended && st.outcome != o && st.outcome != unknown {
		w.fail(changed)
	}
	st.state, st.outcome = ended, o
	m.say("central: message %d is %v", i, o)
}

// giveUp is store.GiveUp.
func (m *Model) giveUp(w *world, i int8, o outcome) {
	e := &w.nodes[central]
	s, st := &e.outbox[i], &e.states[i]
	acked := s.at <= e.road.acked
	if s.at == 0 || s.void || acked && o != cancelled {
		return
	}
	m.say("central gives message %d up: %v", i, o)
	if !acked && w.neverSent(m, i) && e.mayHaveBeenSent(s.at) {
		w.fail(hesitant)
	}
	if !acked && !e.mayHaveBeenSent(s.at) {
		m.end(w, central, i, o)
		return
	}
	if !m.has(GiveUpUnknown) {
		m.end(w, central, i, o)
		return
	}
	w.truth.given.add(i)
	if st.wanted != unknown {
		st.wanted = o
	}
	if o == cancelled {
		if st.state != ended {
			st.state = cancelling
		}
	} else {
		m.outcome(w, central, i, unknown)
	}
	switch {
	case m.has(VoidTravels):
		s.void = true
	case o == cancelled:
		m.end(w, central, i, cancelled)
	default:
		m.end(w, central, i, unknown)
	}
}
