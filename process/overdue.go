package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// Limits of the questions about results that are overdue.
const (
	askLimit    = 256         // ids in one question
	ackDelay    = time.Second // until acks are on disk that could wait
	firstAsk    = 30 * time.Second
	longestAsk  = 10 * time.Minute
	resultGrace = 7 * 24 * time.Hour // after expiry, until a missing result is given up
)

// rest waits for something to do: new messages, or a result that is overdue. It
// reports true when there is nothing to wait for any more.
func (p *Publisher) rest(ctx context.Context) (idle bool, err error) {
	overdue, err := p.Store.AwaitingResults(p.Subject, askLimit)
	if err != nil {
		return false, fmt.Errorf("read outbox of %s: %w", p.Subject, err)
	}
	if len(overdue) == 0 {
		p.lastAsk, p.askPause = time.Now(), firstAsk
	}
	d := p.Idle
	switch {
	case len(overdue) > 0:
		p.taken = false
		if d = time.Until(p.lastAsk.Add(p.askPause)); d <= 0 {
			return false, p.ask(ctx, overdue)
		}
	case p.taken: // what was taken just now may wait for its result a moment later
		d = ackDelay
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.wake:
	case <-p.hello:
		p.lastAsk = time.Time{}
	case <-timer.C:
		if p.taken {
			p.taken = false
			return false, nil
		}
		if len(overdue) == 0 { // on a full disk acks may be longer on their way
			overdue, err = p.Store.AwaitingResults(p.Subject, 1)
		}
		return err == nil && len(overdue) == 0, err
	case <-ctx.Done():
	}
	return false, nil
}

// ask finds out about commands whose result is overdue.
func (p *Publisher) ask(ctx context.Context, overdue []store.Overdue) error {
	p.lastAsk, p.askPause = time.Now(), min(2*p.askPause, longestAsk)
	ids := make([]uuid.UUID, len(overdue))
	for i, o := range overdue {
		ids[i] = o.ID
	}
	payload, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	h := headerOf(p.Node, p.Store, p.Store.RoadOf(p.Subject), "application/json")
	h[headAsk] = []string{"1"}
	rctx, cancel := context.WithTimeout(ctx, p.Policy.AckTimeout())
	defer cancel()
	var a answer
	data, err := p.Conn.Request(rctx, p.Subject, h, payload)
	if err == nil {
		a, err = readAnswer(data, len(ids))
	}
	_ = p.puzzled(err) // it is asked again
	if err == nil && a.Error == "" && a.Store != p.Store.RoadOf(p.Subject).Store {
		if err := p.meet(a.Store); !errors.Is(err, errAttempt) { // that it has no trace of them is no news
			return err
		}
		return nil
	}
	var gone, late []message.Place
	var cancelled []store.Answer
	for i, o := range overdue {
		trace := store.TraceWaiting
		if err == nil && i < len(a.Traces) {
			trace = a.Traces[i]
		}
		switch {
		case trace == store.TraceGone:
			gone = append(gone, o.Place)
		case trace == store.TraceCancelled:
			cancelled = append(cancelled, store.Answer{ID: o.ID, Place: o.Place, Ack: ack.Ack{Verdict: ack.Voided}})
		case time.Since(o.Expires) > resultGrace:
			late = append(late, o.Place)
		}
	}
	if len(cancelled) > 0 {
		if err := p.Store.Acked(p.Subject, cancelled, false, p.settled); err != nil {
			return fmt.Errorf("end cancelled messages of %s: %w", p.Subject, err)
		}
	}
	for _, l := range []struct {
		places []message.Place
		reason string
	}{{gone, "the receiver had accepted it and has no trace of it now: its journal was lost or restored"}, {late, "no result came in all its time"}} {
		if len(l.places) > 0 {
			ended, err := p.Store.Lost(p.Subject, l.places, l.reason)
			if err != nil {
				return fmt.Errorf("end lost messages of %s: %w", p.Subject, err)
			}
			p.settled(ended)
		}
	}
	return nil
}
