package model

// open is store.Open, after whatever happened to the journal.
func (m *Model) open(w *world, n node, why string) {
	e, t := &w.nodes[n], &w.truth
	e.life = life{}
	if m.has(EpochPerOpening) {
		t.opens[n]++
		e.epoch = t.opens[n]
	}
	e.epoch = max(e.epoch, 1)
	if e.shut, e.found = e.road.shutBy != 0 && (e.road.shutBy == e.id || !m.has(ShutByJournal)), e.road.shutAt; !e.shut {
		e.found = placeOf(e.epoch, 0)
	}
	if !m.has(OpeningCountsAsAttempt) {
		e.found = 0
	}
	if n == central {
		w.finds()
	}
	w.unawait(n)
	if s := &w.nodes[central]; n == central && s.road.store != 0 && s.road.store != w.nodes[ship1].id {
		w.gone(t.left)
	}
	m.say("%s %s, and opens journal %d for the %dth time", n, why, e.id, t.opens[n])
}

// crash is kill -9; with power the runs that outlive a node end too.
func (m *Model) crash(w *world, n node, power bool) {
	if power {
		w.nodes[n].runner = 0
	}
	m.open(w, n, "crashes")
}

// stop is a clean end of a node, which is opened again.
func (m *Model) stop(w *world, n node) {
	m.acked(w, n)
	e := &w.nodes[n]
	if e.read.n > 0 {
		m.unsent(e)
	}
	if m.has(StopShuts) {
		m.shut(e)
	}
	m.shutDone(w, n)
	m.open(w, n, "stops")
}

// lose opens an empty journal.
func (m *Model) lose(w *world, n node) {
	w.forgets(n, journal{}, true)
	m.identify(w, n)
	m.open(w, n, "loses its journal")
}

// restore opens a backup. That it is another file than the one that the journal
// was made in is noticed: it is another journal from now on, and what waits in its
// inbox may have been run by the one that it is a copy of.
func (m *Model) restore(w *world, n node) {
	w.forgets(n, w.backup[n], true)
	e := &w.nodes[n]
	if m.has(CopyNoticed) {
		m.identify(w, n)
	}
	if m.has(CopyDoesNotRun) {
		for i := range e.inbox {
			e.inbox[i].started, e.inbox[i].runs = e.inbox[i].at != 0, 0
		}
	}
	m.open(w, n, "is restored from a backup")
}

// rewind opens what was in the same file before.
func (m *Model) rewind(w *world, n node) {
	if n == ship1 {
		w.setBack(w.backup[n])
	}
	w.forgets(n, w.backup[n], false)
	m.open(w, n, "is set back in place")
}

// identify gives the journal an identity of its own.
func (m *Model) identify(w *world, n node) {
	if n == ship1 && m.Kind == CommandNACK { // it is for no journal: whoever is there takes it
		w.truth.again |= w.truth.took
	}
	w.truth.ids[n]++
	w.nodes[n].id = w.truth.ids[n]
}
