package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// Limits of what a client that is no steward asks in one request.
const (
	maxPlain     = 1000     // events
	plainReasons = 96 << 10 // bytes of all reasons in the answer, which has to fit into a message of the broker
)

// errPlain is a request of a client that is no steward.
var errPlain = errors.New("plain CloudEvent")

// plain takes the CloudEvents of another client: durable, acked and handled like
// any other message, if the policy lets their source in. Once ctx has ended it
// takes nothing, and its client comes again.
func (s *Subscriber) plain(ctx context.Context, r Request) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end is no error
	}
	events, err := message.Split(r.Data)
	if err == nil && len(events) > maxPlain {
		err = fmt.Errorf("a request has %d events and may have %d: none of them is taken", len(events), maxPlain)
	}
	if err != nil {
		s.Log.Warn("a request that cannot be read", "subject", s.Subject, "err", err)
		s.respond(r, answer{Store: s.Store.ID(), Error: err.Error()})
		return nil //nolint:nilerr // who asked is told
	}
	items := make([]store.Item, len(events))
	for i, e := range events {
		items[i] = s.plainItem(e)
	}
	got, err := s.Store.Plain(s.Subject, items)
	if errors.Is(err, store.ErrFull) { // nothing was decided
		busy := ack.Ack{Verdict: ack.Busy, Reason: err.Error()}
		s.respond(r, answer{Store: s.Store.ID(), Acks: plainRuns(slices.Repeat([]ack.Ack{busy}, len(items)))})
		return nil
	}
	if err != nil {
		return fmt.Errorf("receive on %s: %w", s.Subject, err)
	}
	s.respond(r, answer{Store: got.Replies[0].Store, Acks: plainRuns(got.Replies[0].Acks)})
	if s.Received != nil && got.New > 0 {
		s.Received(got.New)
	}
	for _, l := range got.Lanes {
		s.Work(l)
	}
	return nil
}

// plainItem reads an event and decides what can be decided without the journal.
func (s *Subscriber) plainItem(event []byte) store.Item {
	d, err := message.Decode(event, s.Subject)
	item := store.Item{Decoded: d, Event: event}
	reject := func(reason string) { item.Ack = ack.Reject(reason) }
	switch {
	case err != nil:
		reject(err.Error())
	case s.Method == nil || !s.Method.Takes(s.Subject.Kind):
		reject(fmt.Sprintf("%s does not take %s of method %s", s.Node, s.Subject.Kind, s.Subject.Method))
	default:
		s.permit(d.Message, d.From, reject)
	}
	return item
}

// plainRuns has one ack for each event: a stranger need not know of counts.
func plainRuns(acks []ack.Ack) (runs []ackRun) {
	limit := plainReasons / max(len(acks), 1)
	for _, a := range acks {
		if len(a.Reason) > limit {
			a.Reason = strings.ToValidUTF8(a.Reason[:limit], "") + "…"
		}
		runs = append(runs, ackRun{Ack: a})
	}
	return runs
}
