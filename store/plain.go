package store

import (
	"bytes"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// plainMark begins the sender of a lane of plain events. No node's name has it:
// whatever a stranger calls itself, it stands in nobody's way.
const plainMark = "plain:"

// Plain takes CloudEvents of a client that is no steward, in one transaction, with an
// ack for each in the one reply. They have no place and no id that anybody could go
// by: they get both here, and lanes of their own. A repeat is known by its source, id
// and subject, until its lifetime ends.
func (db *DB) Plain(s subject.Subject, items []Item) (got Received, err error) {
	now := time.Now()
	list := make([]plainEvent, len(items))
	for i, item := range items {
		list[i] = db.plainEvent(s, item, now)
	}
	var p plainTaker
	err = db.w.do(func(tx *bolt.Tx) error {
		got = Received{Replies: []Reply{{Store: db.id}}, Lanes: map[string]Lane{}}
		p = plainTaker{db: db, s: s, tx: tx, got: &got, taken: map[string]int{}, low: db.space.Low(), now: now}
		for _, e := range list {
			a, err := p.decide(e)
			if err != nil {
				return err
			}
			got.Replies[0].Acks = append(got.Replies[0].Acks, a)
		}
		return p.tell()
	}, func() {
		db.mu.Lock()
		for key, n := range p.taken {
			db.addInbox(key, n)
		}
		db.mu.Unlock()
		db.changed(p.t)
	})
	return got, err
}

// plainEvent is an Item as it is to be kept.
type plainEvent struct {
	Item
	known []byte    // source, id and subject, by which a repeat is known
	end   time.Time // until when
}

func (db *DB) plainEvent(s subject.Subject, item Item, now time.Time) plainEvent {
	e := plainEvent{Item: item, known: append(bytes.Clone(item.ID[:]), s.String()...)}
	if item.Ack.Verdict == ack.Rejected {
		return e
	}
	m := *item.Message
	m.ID = db.newID()
	if m.Time.IsZero() {
		m.Time = now
	}
	if last := now.Add(message.MaxLifetime); m.Expires.After(last) {
		m.Expires = last
	}
	if e.end = m.Expires; e.end.IsZero() {
		e.end = now.Add(message.DefaultLife)
	}
	var err error
	if e.Event, err = m.Encode(db.opts.Prefix); err != nil {
		e.Ack = ack.Ack{Verdict: ack.Rejected, Reason: err.Error()}
		return e
	}
	e.Message, e.ID, e.Plain = &m, m.ID, true
	return e
}

// plainTaker decides on plain events inside a transaction.
type plainTaker struct {
	db    *DB
	s     subject.Subject
	tx    *bolt.Tx
	got   *Received
	t     tally
	taken map[string]int
	low   bool
	now   time.Time

	refused      int
	first        Item // that was refused
	firstRefusal string
}

func (p *plainTaker) decide(e plainEvent) (ack.Ack, error) {
	if e.Ack.Verdict == ack.Rejected {
		if p.refused++; p.refused == 1 {
			p.first, p.firstRefusal = e.Item, e.Ack.Reason
		}
		return e.Ack, nil
	}
	accepted := ack.Ack{Verdict: ack.Accepted}
	plain := p.tx.Bucket(bucketPlain)
	if plain.Get(e.known) != nil || plain.Get(e.known[:16]) != nil { // once it was kept without its subject
		return accepted, nil
	}
	if p.low || p.db.inboxSize(p.taken) >= p.db.opts.InboxLimit {
		return ack.Ack{Verdict: ack.Busy, Reason: "the receiver has no room"}, nil
	}
	seq, err := plain.NextSequence()
	if err != nil {
		return accepted, err
	}
	e.Place = message.Place{Epoch: p.db.epoch, Seq: seq}
	message.Stamp(e.Event, e.Place)
	if err := plain.Put(e.known, seal(e.known, fmt.Appendf(nil, "%d", e.end.UnixNano()))); err != nil {
		return accepted, err
	}
	l := Lane{From: plainMark + e.From, Subject: p.s}
	r := receiver{db: p.db, tx: p.tx, b: Batch{Subject: p.s, From: l.From}, key: []byte(l.Key()), now: p.now, got: p.got, taken: p.taken}
	return accepted, r.take(e.Item)
}

// tell leaves one notice for all that was refused.
func (p *plainTaker) tell() error {
	if p.refused == 0 {
		return nil
	}
	why := p.firstRefusal
	if p.refused > 1 {
		why = fmt.Sprintf("%s (and %d more events of the same request)", why[:min(len(why), noticeReason/2)], p.refused-1)
	}
	return p.db.refused(p.tx, &p.t, p.s, p.first, why)
}
