package model

// whim is what the receiver's policy, or its lack of room, makes of one item.
type whim struct {
	item int8 // 1 is the first; 0: none
	ack  verdict
}

// arrive is Subscriber.take: a request of n reaches its peer. Its answer is lost
// unless heard.
func (m *Model) arrive(w *world, n node, p packet, x whim, heard bool) {
	to := n.peer()
	var a answer
	if p.kind == question {
		m.say("%s is asked what became of %v", to, p.ids)
		a = m.tell(w, to, p)
	} else {
		a = m.receive(w, to, p, x)
	}
	if a.kind = p.kind; heard {
		w.answers[n] = a
	} else if n == ship1 || m.Kind != CommandNACK {
		m.say("its answer is lost")
	}
}

// alien answers a batch of n that waits for its answer, as if it had taken it.
func (m *Model) alien(w *world, n node) {
	m.say("another journal than the one that %s asked says that it accepted all", n)
	a := answer{kind: batch, store: 15}
	for _, p := range w.net[n] {
		if p.awaited {
			a.n, a.items = p.n, p.items
		}
	}
	for k := range a.n {
		a.acks[k] = vAccepted
	}
	w.answers[n] = a
}

// receive is receiver.receive.
func (m *Model) receive(w *world, n node, p packet, x whim) (a answer) {
	e := &w.nodes[n]
	a = answer{store: e.id, n: p.n, items: p.items}
	acked := n == central || m.Kind != CommandNACK
	if m.has(ForStore) && p.forStore != e.id && (acked || p.forStore != 0) || p.forStore == 0 && acked {
		a.refused = true
		m.say("%s refuses it: this is journal %d", n, e.id)
		return a
	}
	if a.fenced = m.fenced(w, n, p); a.fenced {
		return a
	}
	if p.n == 0 { // a question changes nothing
		a.loss, a.owes = e.lane.loss, w.truth.unheard[n]
		return a
	}
	l := &e.lane
	mark := l.mark
	if !m.has(MarkWithInbox) {
		mark = max(mark, e.mark)
	}
	if mark < p.settled && acked && m.has(AdoptSettled) {
		m.say("%s has lost history: it decided up to %v, and %s holds acks up to %v", n, mark, n.peer(), p.settled)
		w.truth.losses++
		w.truth.unheard[n] = true
		*l = lane{mark: p.settled, loss: w.truth.losses}
		mark = p.settled
	} else if l.loss == p.heard || !m.has(LossRepeated) {
		l.loss = 0
	}
	a.loss = l.loss
	a.owes = w.truth.unheard[n]
	w.heardOf(n, p)
	for k := range l.runs {
		if l.runs[k].at <= p.settled {
			l.runs[k] = run{}
		}
	}
	a.n = 0
	for k, it := range p.items[:p.n] {
		v := undecided
		if int8(k+1) == x.item {
			v = x.ack
		}
		if it.at <= mark {
			v = m.repeat(w, n, it)
		} else if v = m.decide(w, n, it, v); v != vBusy {
			l.runs[it.message] = run{it.at, v}
			mark = it.at
		}
		m.say("%s decides on message %d at %v: %v", n, it.message, it.at, v)
		a.acks[a.n] = v
		if a.n++; v == vBusy && m.has(BusyEndsBatch) {
			break
		}
	}
	if m.has(MarkWithInbox) {
		l.mark = mark
	} else {
		e.mark = mark
	}
	return a
}

// fenced is receiver.fence.
func (m *Model) fenced(w *world, n node, p packet) bool {
	e := &w.nodes[n]
	if !m.has(Fence) {
		return false
	}
	if p.epoch < e.fence {
		m.say("%s refuses a batch of opening %d of %s: it has met opening %d", n, p.epoch, n.peer(), e.fence)
		return true
	}
	e.fence = p.epoch
	return false
}

// decide is receiver.decide, above the mark.
func (m *Model) decide(w *world, n node, it item, v verdict) verdict {
	switch {
	case it.void:
		return vVoided
	case n == central:
		m.settle(w, it)
		return vAccepted
	case v != undecided:
		return v
	}
	m.take(w, n, it)
	return vAccepted
}

// take is receiver.take.
func (m *Model) take(w *world, n node, it item) {
	t, i := &w.truth, it.message
	if i+1 < t.last {
		w.fail(disorder)
	}
	t.last = max(t.last, i+1)
	t.took.add(i)
	w.nodes[n].inbox[i] = pending{at: it.at}
	w.nodes[n].history[i] = none
}

// repeat is receiver.repeat.
func (m *Model) repeat(w *world, n node, it item) verdict {
	e := &w.nodes[n]
	v, i := vStale, it.message
	for _, r := range e.lane.runs {
		if r.at == it.at || !m.has(ExactAcks) && e.lane.between(it.at, r.ack) {
			v = r.ack
		}
	}
	if !m.has(StoredAcks) {
		v = vAccepted
	}
	if n == central || !it.void && !m.has(HistoryAnswers) {
		return v
	}
	switch {
	case e.history[i] == cancelled:
		return vVoided
	case e.history[i] != none:
		return vAccepted
	case e.inbox[i].at != it.at:
		return v
	case e.inbox[i].started || !it.void:
		return vAccepted
	}
	e.inbox[i], e.history[i] = pending{}, cancelled
	return vVoided
}

// between reports whether neighbours of a place below and above got ack v.
func (l *lane) between(at place, v verdict) bool {
	below, above := false, false
	for _, r := range l.runs {
		below = below || r.at != 0 && r.at < at && r.ack == v
		above = above || r.at > at && r.ack == v
	}
	return below && above
}

// settle is receiver.settle: the result of a command ends it.
func (m *Model) settle(w *world, it item) {
	e, i := &w.nodes[central], it.message
	st := &e.states[i]
	if st.state == absent { // an orphan
		return
	}
	if st.state == ended && st.outcome != unknown && m.has(OnlyUnknownRefined) {
		return
	}
	if it.result == expired {
		m.never(w, central, i, expired)
		return
	}
	m.end(w, central, i, it.result)
}

// tell is Subscriber.tell, and store.Ask.
func (m *Model) tell(w *world, n node, p packet) answer {
	e := &w.nodes[n]
	a := answer{store: e.id, ids: p.ids}
	for i := range int8(most) {
		switch {
		case !p.ids.has(i) || e.inbox[i].at != 0:
		case e.history[i] == cancelled && m.has(AskTellsCancelled):
			a.voided.add(i)
		case e.history[i] == none || e.history[i] == cancelled:
			a.gone.add(i)
		case e.outbox[i].at == 0 && m.has(ResultAgain):
			e.putOut(m, i, e.history[i])
			m.say("%s sends the result of %d once more", n, i)
		}
	}
	return a
}
