package store

import (
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// run is a row of places in a lane, with none left out, that got the same ack.
type run struct {
	from, to message.Place
	ack      ack.Ack
}

// takes reports whether p with ack a goes on with r.
func (r run) takes(p message.Place, a ack.Ack) bool {
	return r.ack == a && r.to.Epoch == p.Epoch && r.to.Seq+1 == p.Seq
}

// lane is what a receiver keeps of a sender's subject: the highest place that it
// decided on, and the acks that the sender may not hold yet.
type lane struct {
	mark message.Place
	loss uuid.UUID // of history, of which the sender may not have heard; Nil: there is none
	runs []run
	said int // bytes of the reasons in runs
}

// add remembers x, and forgets the oldest for it where there is no room.
func (l *lane) add(x run) {
	l.runs, l.said = append(l.runs, x), l.said+len(x.ack.Reason)
	for len(l.runs) > maxRuns || l.said > maxSaid && len(l.runs) > 1 {
		l.forget()
	}
}

// forget the oldest run.
func (l *lane) forget() {
	l.said -= len(l.runs[0].ack.Reason)
	l.runs = l.runs[1:]
}

// laneVersion begins a lane; in the first version an epoch did.
const laneVersion = 0xff

// What a run has in common with the one before it is not written again: a batch of
// single places takes three bytes for each.
const (
	sameAck = 1 << iota
	sameEpoch
)

func (l lane) encode(key []byte) []byte {
	b := append(appendPlace([]byte{laneVersion}, l.mark), l.loss[:]...)
	b = binary.AppendUvarint(b, uint64(len(l.runs)))
	var last run
	for _, r := range l.runs {
		var flags byte
		if r.ack == last.ack {
			flags |= sameAck
		}
		if r.from.Epoch == last.to.Epoch {
			flags |= sameEpoch
		}
		if b = append(b, flags); flags&sameAck == 0 {
			b = appendString(appendString(b, string(r.ack.Verdict)), r.ack.Reason)
		}
		if flags&sameEpoch == 0 {
			b, last.to.Seq = append(b, r.from.Epoch[:]...), 0
		}
		b = binary.AppendUvarint(b, r.from.Seq-last.to.Seq)
		b = binary.AppendUvarint(b, r.to.Seq-r.from.Seq)
		last = r
	}
	return seal(key, b)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeLane(key, v []byte) (l lane, err error) {
	p, err := unseal(bucketLanes, key, v)
	if err != nil {
		return l, err
	}
	r := reader{b: p}
	if len(p) == 0 || p[0] != laneVersion {
		l = r.firstLane()
	} else {
		r.byte()
		l = r.lane()
	}
	for _, x := range l.runs {
		l.said += len(x.ack.Reason)
	}
	if r.short {
		return l, fmt.Errorf("%w: lane %q is too short", ErrCorrupt, key)
	}
	return l, nil
}

func (r *reader) lane() (l lane) {
	l.mark, l.loss = r.place(), uuid.UUID(r.take(16))
	n := r.uvarint()
	l.runs = make([]run, 0, min(n, uint64(len(r.b)/3)))
	var x run
	for ; n > 0 && !r.short; n-- {
		flags := r.byte()
		if flags&sameAck == 0 {
			x.ack = ack.Ack{Verdict: ack.Verdict(r.string()), Reason: r.string()}
		}
		x.from = x.to
		if flags&sameEpoch == 0 {
			x.from = message.Place{Epoch: uuid.UUID(r.take(16))}
		}
		x.from.Seq += r.uvarint()
		x.to = message.Place{Epoch: x.from.Epoch, Seq: x.from.Seq + r.uvarint()}
		l.runs = append(l.runs, x)
	}
	return l
}

// firstLane reads one as schema 1 had it, in which a run was the first place and the
// last one of those that got an ack: what lies between was not known to have it.
func (r *reader) firstLane() (l lane) {
	l.mark = r.place()
	for n := r.uvarint(); n > 0 && !r.short; n-- {
		x := run{r.place(), r.place(), ack.Ack{Verdict: ack.Verdict(r.string()), Reason: r.string()}}
		l.runs = append(l.runs, run{x.from, x.from, x.ack}, run{x.to, x.to, x.ack})
	}
	return l
}
