package model

// maxReruns is process.maxReruns, made small.
const maxReruns = 2

// sortOut is Worker.sortOut: what must not run ends, here for one message.
func (m *Model) sortOut(w *world, i int8) {
	o := m.verdict(w, i)
	m.say("ship1 does not run message %d: %v", i, o)
	m.finish(w, i, o)
}

// verdict is Worker.verdict, and what Worker.lasting finds; none lets it run.
func (m *Model) verdict(w *world, i int8) outcome {
	e := &w.nodes[ship1]
	p := e.inbox[i]
	switch {
	case m.Rerun && i == 0 && p.runs < maxReruns:
	case p.started && (p.runs == 0 || e.runner != i+1):
		return unknown
	}
	if w.truth.over.has(i) && m.Kind != EventACK && (!p.started || !m.has(ExpiredNotStarted)) {
		return expired
	}
	return none
}

// head is the message that is next in the inbox, or -1.
func (e *end) head() int8 {
	first := int8(-1)
	for i, p := range e.inbox {
		if p.at != 0 && (first < 0 || p.at < e.inbox[first].at) {
			first = int8(i)
		}
	}
	return first
}

// started is store.Started, and the beginning of the run; or the run that an
// earlier life began is taken up.
func (m *Model) started(w *world, i int8) {
	e := &w.nodes[ship1]
	e.running = i + 1
	if e.runner == i+1 && m.has(RunTakenUp) {
		m.say("ship1 takes up the run of message %d", i)
		return
	}
	if m.has(StartedFirst) {
		e.inbox[i].started = true
		e.inbox[i].runs++
	}
	if m.Lasting {
		e.runner = i + 1
	}
	if w.truth.starts[i]++; w.truth.starts[i] > 1 && !m.mayRerun(central, i) && !w.truth.again.has(i) {
		w.fail(twice)
	}
	m.say("ship1 starts message %d", i)
}

// ran is the end of a run, and store.Finish.
func (m *Model) ran(w *world, i int8) {
	w.truth.ends[i]++
	m.say("message %d has run", i)
	m.finish(w, i, done)
}

// finish is store.Finish: out of the inbox, the result queued.
func (m *Model) finish(w *world, i int8, o outcome) {
	e := &w.nodes[ship1]
	e.running, e.runner = 0, 0
	e.inbox[i], e.history[i] = pending{}, o
	if m.Kind != CommandACK {
		return
	}
	if m.has(FinishWithResult) {
		e.putOut(m, i, o)
	} else { // a crash in between forgets it
		e.history[i] = none
		e.limbo.add(i)
	}
}

// queue is the second half of a finish that a mutant does in two.
func (m *Model) queue(w *world, i int8) {
	e := &w.nodes[ship1]
	e.limbo.remove(i)
	e.history[i] = done
	e.putOut(m, i, done)
}
