package model

// action is what can happen next.
type action int8

const (
	doAccept action = iota
	doNext
	doProbe
	doSend
	doPublish
	doAsk
	doNoAnswer
	doAlien
	doHear
	doArrive
	doDrop
	doAcked
	doNobody
	doShut
	doSortOut
	doStarted
	doRan
	doQueue
	doExpire
	doGiveUp
	doCancel
	doCrash
	doStop
	doPower
	doLose
	doBackup
	doRestore
	doRewind
	doMark
)

// step is an action with its particulars.
type step struct {
	do   action
	n    node // whose
	i    int8 // message, or slot of the network
	k    int8 // how many
	ack  verdict
	loud bool // an answer is heard; the broker kept what was published
	lost bool // it never left
}

// steps lists what can happen in w.
func (m *Model) steps(w *world, out []step) []step {
	add := func(s step) { out = append(out, s) }
	s, r := &w.nodes[central], &w.nodes[ship1]
	if int(w.truth.born) < m.Messages {
		add(step{do: doAccept})
	}
	for n := central; n <= ship1; n++ {
		out = m.traffic(w, n, out)
	}
	for i := range int8(most) {
		if p := r.inbox[i]; p.at != 0 && r.running != i+1 && m.verdict(w, i) != none {
			add(step{do: doSortOut, i: i})
		}
		if r.limbo.has(i) {
			add(step{do: doQueue, i: i})
		}
		st, x := s.states[i], s.outbox[i]
		if st.state == absent || x.at == 0 {
			continue
		}
		if w.left.Expire > 0 && !w.truth.over.has(i) {
			add(step{do: doExpire, i: i})
		}
		if w.truth.over.has(i) && x.at > s.road.acked && !x.void {
			add(step{do: doGiveUp, i: i})
		}
		if w.left.Cancel > 0 && st.state != ended && st.state != cancelling {
			add(step{do: doCancel, i: i})
		}
	}
	if h := r.head(); r.running != 0 {
		add(step{do: doRan, i: r.running - 1})
	} else if h >= 0 && m.verdict(w, h) == none && r.limbo == 0 {
		add(step{do: doStarted, i: h})
	}
	return m.faults(w, out)
}

// traffic is what the publisher of n, its journal and the network can do.
func (m *Model) traffic(w *world, n node, out []step) []step {
	add := func(s step) { s.n = n; out = append(out, s) }
	e := &w.nodes[n]
	if e.patient != [most]place{} {
		add(step{do: doAcked})
	}
	if e.shutting {
		add(step{do: doShut})
	}
	if !m.has(MarkWithInbox) && e.mark > e.lane.mark {
		add(step{do: doMark})
	}
	if w.answers[n].kind != nothing {
		add(step{do: doHear})
	}
	if e.waits != nothing {
		add(step{do: doNoAnswer})
	}
	if n == central && e.waits == batch && w.answers[n].kind == nothing && w.left.Alien > 0 {
		add(step{do: doAlien})
	}
	free := false
	for k, p := range w.net[n][:m.late()] {
		if free = free || p.kind == nothing; p.kind == nothing {
			continue
		}
		out = m.arrivals(w, n, int8(k), out)
	}
	if !free {
		for k, p := range w.net[n][:m.late()] {
			if !p.awaited {
				add(step{do: doDrop, i: int8(k)})
			}
		}
	}
	if free && e.waits == nothing {
		out = m.requests(w, n, out)
	}
	return out
}

func (m *Model) late() int { return max(m.Late, 1) }

// requests is what the publisher of n can read, and send.
func (m *Model) requests(w *world, n node, out []step) []step {
	add := func(s step) { s.n = n; out = append(out, s) }
	e := &w.nodes[n]
	if e.read.n > 0 {
		return m.sendings(w, n, 0, out)
	}
	list := m.waiting(e, most)
	for _, it := range list.items[:list.n] {
		if n == central && !it.void && w.truth.over.has(it.message) {
			return out // Publisher.drop comes first
		}
	}
	for j := int8(1); j <= list.n; j++ {
		if n == central && m.Faults.Cancel+m.Faults.Expire > 0 { // between reading and sending
			add(step{do: doNext, k: j})
		} else {
			out = m.sendings(w, n, j, out)
		}
	}
	if list.n == 0 && e.overdue() != 0 && m.has(AskOverdue) {
		add(step{do: doAsk})
	}
	return out
}

// sendings is how what was read, or up to k messages that are read now, can leave n.
func (m *Model) sendings(w *world, n node, k int8, out []step) []step {
	add := func(s step) { s.n, s.k = n, k; out = append(out, s) }
	e := &w.nodes[n]
	if w.left.Away > 0 {
		add(step{do: doNobody})
	}
	if n == central && m.Kind == CommandNACK {
		if e.shut && m.has(ShutAsks) {
			add(step{do: doProbe})
			return out
		}
		add(step{do: doPublish, loud: true})
		add(step{do: doPublish})
		add(step{do: doPublish, lost: true})
		return out
	}
	stranger := e.road.store != w.nodes[n.peer()].id
	shut := e.shut && m.has(ShutAsks)
	if e.road.store == 0 || shut || stranger && m.has(ProbeStranger) {
		add(step{do: doProbe})
	}
	if e.road.store != 0 && !shut && (!stranger || !m.has(ProbeStranger) || w.left.Mute > 0) {
		add(step{do: doSend})
	}
	return out
}

// arrivals is what may become of the request of n in slot k.
func (m *Model) arrivals(w *world, n node, k int8, out []step) []step {
	p := &w.net[n][k]
	add := func(s step) {
		s.do, s.n, s.i = doArrive, n, k
		if out = append(out, s); p.awaited && w.answers[n].kind == nothing {
			s.loud = true
			out = append(out, s)
		}
	}
	add(step{})
	if n == ship1 {
		return out
	}
	for j := int8(1); j <= p.n; j++ {
		if w.left.Reject > 0 {
			add(step{k: j, ack: vRejected})
		}
		if w.left.Busy > 0 {
			add(step{k: j, ack: vBusy})
		}
	}
	return out
}

func (m *Model) faults(w *world, out []step) []step {
	if w.left.Power > 0 {
		out = append(out, step{do: doPower, n: ship1})
	}
	for n := central; n <= ship1; n++ {
		for _, f := range []struct {
			left int8
			do   action
		}{{w.left.Crash[n], doCrash}, {w.left.Stop[n], doStop}, {w.left.Lose[n], doLose}} {
			if f.left > 0 {
				out = append(out, step{do: f.do, n: n})
			}
		}
		if w.left.Restore[n]+w.left.Rewind[n] == 0 {
			continue
		}
		if !w.has[n] {
			out = append(out, step{do: doBackup, n: n})
			continue
		}
		if w.left.Restore[n] > 0 {
			out = append(out, step{do: doRestore, n: n})
		}
		if w.left.Rewind[n] > 0 {
			out = append(out, step{do: doRewind, n: n})
		}
	}
	return out
}

// step makes s happen.
func (m *Model) step(w *world, s step) {
	e := &w.nodes[s.n]
	if (s.do == doProbe || s.do == doSend || s.do == doPublish || s.do == doNobody) && s.k > 0 {
		m.next(w, s.n, s.k)
	}
	switch s.do {
	case doAccept:
		m.accept(w)
	case doNext:
		m.next(w, s.n, s.k)
	case doProbe:
		if s.n == central && m.Kind == CommandNACK {
			m.askBroker(w)
		} else {
			m.send(w, s.n, probe)
		}
	case doNobody:
		w.left.Away--
		m.nobody(w, s.n)
	case doSend:
		if e.road.store != w.nodes[s.n.peer()].id && m.has(ProbeStranger) {
			w.left.Mute--
			m.say("(no hello was heard)")
		}
		m.send(w, s.n, batch)
	case doPublish:
		m.publish(w, s.loud, s.lost)
	case doAsk:
		m.ask(w, s.n)
	case doNoAnswer:
		m.noAnswer(w, s.n)
	case doAlien:
		w.left.Alien--
		m.alien(w, s.n)
	case doHear:
		m.hear(w, s.n)
	case doArrive:
		switch s.ack {
		case vRejected:
			w.left.Reject--
		case vBusy:
			w.left.Busy--
		}
		m.arrive(w, s.n, w.pick(s.n, s.i, s.loud), whim{s.k, s.ack}, s.loud)
	case doDrop:
		w.net[s.n][s.i] = packet{}
		m.say("a late request of %s is lost", s.n)
	case doAcked:
		m.say("the acks are on %s's disk", s.n)
		m.acked(w, s.n)
	case doShut:
		m.say("that nothing more was sent is on %s's disk", s.n)
		m.shutDone(w, s.n)
	case doMark:
		e.lane.mark = e.mark
		m.say("the mark is on %s's disk", s.n)
	case doSortOut:
		m.sortOut(w, s.i)
	case doStarted:
		m.started(w, s.i)
	case doRan:
		m.ran(w, s.i)
	case doQueue:
		m.queue(w, s.i)
	case doExpire:
		w.left.Expire--
		w.truth.over.add(s.i)
		m.say("the lifetime of message %d ends", s.i)
	case doGiveUp:
		m.giveUp(w, s.i, expired)
	case doCancel:
		w.left.Cancel--
		m.giveUp(w, s.i, cancelled)
	default:
		m.strike(w, s)
	}
	m.check(w)
}

// strike is what happens to a node.
func (m *Model) strike(w *world, s step) {
	n, left := s.n, &w.left
	switch s.do {
	case doCrash:
		left.Crash[n]--
		m.crash(w, n, false)
	case doStop:
		left.Stop[n]--
		m.stop(w, n)
	case doPower:
		left.Power--
		m.crash(w, n, true)
	case doLose:
		left.Lose[n]--
		m.lose(w, n)
	case doBackup:
		w.backup[n], w.has[n] = w.nodes[n].journal, true
		m.say("%s's journal is copied", n)
	case doRestore:
		left.Restore[n]--
		m.restore(w, n)
	case doRewind:
		left.Rewind[n]--
		m.rewind(w, n)
	}
}

// emit lets p leave n. The network keeps what is different from what it has.
func (w *world) emit(n node, p packet) {
	for _, it := range p.items[:p.n] {
		if !it.void && n == central {
			w.truth.left.add(it.message)
			w.truth.unaware.remove(it.message)
		}
	}
	free := -1
	for k := range w.net[n] {
		old := w.net[n][k]
		if old.awaited = p.awaited; old == p {
			free = k
			break
		}
		if w.net[n][k].kind == nothing && free < 0 {
			free = k
		}
	}
	w.net[n][free] = p
}

// pick takes the request in slot k of the network, and leaves a copy of a batch:
// it may come again.
func (w *world) pick(n node, k int8, heard bool) packet {
	p := w.net[n][k]
	if p.kind != batch {
		w.net[n][k] = packet{}
	} else if heard {
		w.net[n][k].awaited = false
	}
	return p
}

// unawait ends the wait of n: what still comes, comes late.
func (w *world) unawait(n node) {
	w.nodes[n].waits, w.answers[n] = nothing, answer{}
	for k := range w.net[n] {
		if p := &w.net[n][k]; p.kind == batch {
			p.awaited = false
		} else if p.awaited {
			*p = packet{}
		}
	}
}
