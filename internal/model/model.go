// Package model checks the protocol of the road by trying everything: one sender,
// one receiver, a few messages of one subject, and a network that loses, repeats,
// delays and reorders. Each durable step of the real code is one step here, under
// the same name, and a crash may fall between any two. Explore visits every state
// that can be reached within a budget of faults; what it finds comes as a shortest
// trace, in words.
//
//	here                             in the code
//	sender.go                        process: publisher.go, deliver.go, overdue.go; store: accept.go, outbox.go, acks.go, giveup.go
//	receiver.go                      process: subscriber.go; store: receive.go, settle.go, ask.go
//	worker.go                        process: worker.go, lasting.go; store: inbox.go
//	open.go                          store: open.go, identity.go; and what happens to journals
//	steps.go, check.go, explore.go   the checker
//
// A promise that the model cannot keep is a limit in docs/reliability.md.
package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what a world can hold.
const (
	most  = 3 // messages
	slots = 3 // different requests of one node that may still arrive
)

// Model is what to check: what is sent, which faults may strike, which rule is off.
type Model struct {
	Name     string
	Kind     Kind
	Messages int
	Rerun    bool // the first message says onUnknown: rerun
	Lasting  bool // runs outlive the node
	Late     int  // requests of each node that the network keeps; 1 if zero
	Faults   Faults
	Without  Rule // a mutant: the road without this rule

	told func(format string, args ...any) // the words of a trace
}

// Kind is what the messages are.
type Kind int8

// The kinds; CommandNACK stands for both without ack.
const (
	CommandACK Kind = iota
	EventACK
	CommandNACK
)

// Faults is how often what may happen, in one life of a world. The network's are
// without number.
type Faults struct {
	Crash   Each // kill -9, and opened again
	Power   int8 // the same at the receiver, with the runs that outlive it
	Lose    Each // the journal is lost
	Restore Each // it is replaced by a backup: another file, which an opening notices
	Rewind  Each // it is set back in place: nobody notices
	Cancel  int8 // by the operator
	Expire  int8 // lifetimes that end
	Reject  int8 // refused for good, by policy or method
	Busy    int8 // no room now
	Away    int8 // requests that find nobody, and are known not to have arrived
	Stop    Each // clean stops, and opened again
	Alien   int8 // answers of a journal that was not asked
	Mute    int8 // batches that are sent before the hello of a new journal is heard
}

// Each is a number for the sender and one for the receiver.
type Each [2]int8

func (m *Model) say(format string, args ...any) {
	if m.told != nil {
		m.told(format, args...)
	}
}

// node is one of the two.
type node int8

const (
	central node = iota // sends commands
	ship1               // runs them, and sends results
)

func (n node) String() string { return [...]string{"central", "ship1"}[n] }

func (n node) peer() node { return 1 - n }

// place is message.Place: the epoch in the upper half.
type place uint8

func placeOf(epoch, seq int8) place {
	if epoch > 15 || seq > 15 {
		panic("a place of the model has four bits for each")
	}
	return place(epoch)<<4 | place(seq)
}

func (p place) String() string { return fmt.Sprintf("%d/%d", p>>4, p&15) }

// set is a set of messages.
type set uint8

func (s set) has(i int8) bool { return s>>i&1 == 1 }
func (s *set) add(i int8)     { *s |= 1 << i }
func (s *set) remove(i int8)  { *s &^= 1 << i }

func (s set) String() string {
	var list []string
	for i := range int8(most) {
		if s.has(i) {
			list = append(list, strconv.Itoa(int(i)))
		}
	}
	return strings.Join(list, ", ")
}

// outcome is ack.Outcome. Undelivered goes the way of expired.
type outcome int8

const (
	none outcome = iota
	done
	unknown
	expired
	cancelled
	rejected
	delivered
	sent
)

func (o outcome) String() string {
	return [...]string{"no outcome", "done", "unknown", "expired", "cancelled", "rejected", "delivered", "sent"}[o]
}

// verdict is ack.Verdict.
type verdict int8

const (
	undecided verdict = iota
	vAccepted
	vRejected
	vVoided
	vStale
	vBusy
	vSentOut
)

func (v verdict) String() string {
	return [...]string{"", "accepted", "rejected", "voided", "stale", "busy", "sent"}[v]
}

// state is store.State of a message at its sender.
type state int8

const (
	absent state = iota
	waiting
	taken
	cancelling
	ended
)

// journal is store.DB: what is on disk at one node.
type journal struct {
	id, epoch int8
	seq       int8         // of the outbox
	road      road         // to the other node
	outbox    [most]slot   // by message; a result has the number of its command
	states    [most]status // of what was accepted here
	lane      lane         // from the other node
	fence     int8         // newest epoch met of the other node
	inbox     [most]pending
	history   [most]outcome // how what was received ended
}

type road struct {
	store          int8 // journal of the other node; 0: not met yet
	acked, settled place
	shutBy         int8  // journal that says that nothing above shutAt was ever sent; 0: the road is open
	shutAt         place //
}

type slot struct {
	at     place // 0: none
	void   bool
	result outcome
}

type status struct {
	state           state
	outcome, wanted outcome
}

type lane struct {
	mark place
	loss int8      // of history, of which the sender may not have heard
	runs [most]run // acks that the sender may not hold yet
}

type run struct {
	at  place
	ack verdict
}

type pending struct {
	at      place // 0: none
	started bool
	runs    int8
}

// life is what a node holds in memory only.
type life struct {
	attempted  place
	found      place // by the opening, and may have been sent
	shut       bool  // the road, or it will be with the next commit
	shutting   bool  // that commit is on its way
	shuttingAt place
	read       outgoing    // by Next, and not sent yet
	before     place       // what was attempted before it
	lives      int8        // journal of the receiver when it was sent, if no hello of it was heard
	after      place       // answered; the commit may be on its way
	patient    [most]place // accepted; the commit is on its way
	loss       int8        // that the other node told of
	waits      request     // for an answer
	running    int8        // message + 1
	limbo      set         // without FinishWithResult: out of the inbox, its result not queued
	mark       place       // without MarkWithInbox: not on disk yet
}

type request int8

const (
	nothing request = iota
	batch
	probe
	question
)

// outgoing is store.Outgoing.
type outgoing struct {
	n     int8
	items [most]item
}

// packet is a request on its way.
type packet struct {
	kind     request
	awaited  bool // its sender waits for the answer
	epoch    int8
	forStore int8
	settled  place
	heard    int8 // loss
	outgoing
	ids set // of a question
}

type item struct {
	message int8
	at      place
	void    bool
	result  outcome
}

func (it item) String() string {
	switch {
	case it.void:
		return fmt.Sprintf("a void for %d", it.message)
	case it.result != none:
		return fmt.Sprintf("the result of %d: %v", it.message, it.result)
	}
	return fmt.Sprintf("message %d", it.message)
}

// answer is on its way to who asked.
type answer struct {
	kind    request // that it answers; nothing: none is on its way
	store   int8
	refused bool // it was for another journal
	fenced  bool
	loss    int8
	owes    bool // in truth its history was lost, and nobody heard of it
	n       int8 // acks
	acks    [most]verdict
	items   [most]item
	ids     set
	gone    set
	voided  set
}

// end is one node.
type end struct {
	journal
	life
	runner int8 // message + 1 whose run outlives the node, or has left its result
}

// world is everything there is. It is plain memory, so that it can be its own key.
type world struct {
	nodes   [2]end
	net     [2][slots]packet // requests of each
	answers [2]answer        // to each
	backup  [2]journal
	has     [2]bool // a backup
	left    Faults
	truth   truth
}

// truth is what really happened, which no node can read.
type truth struct {
	born         int8 // messages accepted
	opens, ids   [2]int8
	starts, ends [most]int8
	places       [most]place
	took         set     // the receiver accepted it
	left         set     // a request that carried it left
	over         set     // its lifetime ended
	void         set     // a void for it was answered
	given        set     // it was given up
	may          set     // it may be unknown: see check.go
	forgot       set     // the receiver was set back in place, and lost what it knew of it, unnoticed
	again        set     // and may run it again
	blind        set     // its sender was set back to before it met anybody, and does not know that it was sent
	unaware      set     // it was set back in place to where it had not sent it, and says so
	open         bool    // the sender's road: from its meeting on, until its disk may say again what was never sent
	found        set     // waited when its sender opened on an open road
	closed       set     // its sender was set back to where it had ended as unknown
	last         int8    // message accepted last by the receiver's journal, + 1
	losses       int8    // of history
	unheard      [2]bool // its journal lost some, and the other node was not told
	wrong        violation
}

func (m *Model) start() world {
	w := world{left: m.Faults}
	for n := range w.nodes {
		w.truth.ids[n], w.truth.opens[n] = 1, 1
		w.nodes[n].id, w.nodes[n].epoch = 1, 1
	}
	return w
}
