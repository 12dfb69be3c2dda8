package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// errAttempt is an attempt without an answer: pause, and try again.
var errAttempt = errors.New("no answer")

func (p *Publisher) send(ctx context.Context, out store.Outgoing) error {
	if out.Entries[0].NoAck {
		return p.publish(ctx, out)
	}
	road, payload := p.Store.RoadOf(p.Subject), out.Payload
	probe := out.Shut || p.stranger(road.Store) // ask who is there first: a batch must say who it is for
	if probe {
		p.Store.Unsent(p.Subject, out)
		payload = nil
	}
	if ctx.Err() != nil {
		p.Store.Unsent(p.Subject, out)
		return errAttempt
	}
	failpoint.Hit(failpoint.Sending)
	began := time.Now()
	h := headerOf(p.Node, p.Store, road, out.ContentType)
	if p.loss != uuid.Nil {
		h[headHeard] = []string{p.loss.String()}
	}
	reply, err := p.request(ctx, out, h, payload)
	p.unsent(out, err)
	if err == nil && !probe && (reply.Store == road.Store) == (reply.Refused == store.RefusedStore) {
		err = p.missed(out.Entries, fmt.Errorf("%w: journal %s answers what journal %s was asked", errAnswer, reply.Store, road.Store))
	}
	if err != nil {
		return p.puzzled(err)
	}
	if reply.untouched(began) {
		p.Store.Unsent(p.Subject, out)
	}
	failpoint.Hit(failpoint.Answered)
	return p.take(out.Entries, reply, probe)
}

// puzzled tells of an answer that is none, and returns err.
func (p *Publisher) puzzled(err error) error {
	if errors.Is(err, errAnswer) {
		p.trouble(true, uuid.Nil, "%s: what was asked counts as unanswered: %v", p.Subject, err)
	}
	return err
}

// unsent takes back what certainly did not leave, or found nobody: then the road is
// shut, so that the next life of the node knows what was never sent.
func (p *Publisher) unsent(out store.Outgoing, err error) {
	if errors.Is(err, ErrNobody) || errors.Is(err, ErrOffline) {
		p.Store.Unsent(p.Subject, out)
		p.Store.Shut(p.Subject)
	}
}

// stranger reports whether journal is not the one that will answer, as far as is
// known. What is sent to a wrong one may end as unknown; a question costs nothing.
func (p *Publisher) stranger(journal uuid.UUID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return journal == uuid.Nil || p.heard != uuid.Nil && p.heard != journal
}

// publish is for kinds that want no ack: what the broker has, was sent. On a shut
// road it is asked with nothing first whether it is there.
func (p *Publisher) publish(ctx context.Context, out store.Outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, p.Policy.AckTimeout())
	defer cancel()
	probe, payload := out.Shut, out.Payload
	if probe {
		p.Store.Unsent(p.Subject, out)
		payload = nil
	}
	err := p.Conn.Publish(ctx, p.Subject, headerOf(p.Node, p.Store, store.Road{}, out.ContentType), payload)
	p.unsent(out, err)
	if err != nil {
		return p.missed(out.Entries, err)
	}
	if probe {
		return p.meet(uuid.Nil)
	}
	acks := make([]ack.Ack, len(out.Entries))
	for i := range acks {
		acks[i].Verdict = ack.SentOut
	}
	return p.keep(out.Entries, acks)
}

func (p *Publisher) request(ctx context.Context, out store.Outgoing, h Header, payload []byte) (a answer, err error) {
	pol, entries := p.Policy, out.Entries
	for _, e := range entries {
		pol.Timeout = max(pol.Timeout, e.AckTimeout)
	}
	rctx, cancel := context.WithTimeout(ctx, pol.AckTimeout())
	defer cancel()
	p.mu.Lock()
	p.abort = cancel
	p.mu.Unlock()
	items := len(entries)
	if len(payload) == 0 {
		items = 0
	}
	data, err := p.Conn.Request(rctx, p.Subject, h, payload)
	if err == nil {
		a, err = readAnswer(data, items)
	}
	if err == nil && a.Error != "" {
		a.Error = ack.Short(a.Error)
		err = errors.New(a.Error)
		if len(payload) > 0 {
			p.Store.Unsent(p.Subject, out) // nothing of it was taken, this time
			if p.limit == 1 {              // nothing else can be at fault
				return a, errors.Join(errAttempt, p.unreadable(entries[0], a.Error))
			}
		}
		p.limit = max(1, min(p.limit, len(entries))/2)
	}
	if ctx.Err() != nil && err != nil {
		return a, errAttempt
	}
	if err != nil {
		return a, p.missed(entries, err)
	}
	return a, nil
}

// unreadable ends e, which its receiver cannot read: as rejected where no other attempt
// can have been accepted, else as what is given up. A void can tell no more.
func (p *Publisher) unreadable(e store.Entry, why string) (err error) {
	places := []message.Place{e.Place}
	var ended []store.Settled
	if e.Void {
		ended, err = p.Store.Lost(p.Subject, places, "it was given up after an attempt, and the receiver cannot read the question: "+why)
	} else {
		ended, err = p.Store.GiveUp(p.Subject, places, ack.RejectedEnd, why, p.Attempts)
	}
	p.forget(places)
	p.settled(ended)
	p.limit = batchCount
	return err
}

// missed counts an attempt that had no answer.
func (p *Publisher) missed(entries []store.Entry, err error) error {
	p.failures++
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastErr = err.Error()
	if !errors.Is(err, ErrOffline) {
		for _, e := range entries {
			p.attempts[e.Place]++
			if !errors.Is(err, ErrNobody) {
				p.silent[e.Place]++
			}
		}
	}
	if p.Sent != nil {
		p.Sent(len(entries), true)
	}
	p.Log.Debug("no answer", "subject", p.Subject, "messages", len(entries), "attempt", p.failures, "err", err)
	return fmt.Errorf("%w: %w", errAttempt, err)
}

// take does what the receiver's reply asks for.
func (p *Publisher) take(entries []store.Entry, a answer, probe bool) error {
	p.failures = 0
	switch a.Refused {
	case store.RefusedFenced:
		return p.outlive(a.Fence)
	case store.RefusedStore:
		return p.meet(a.Store)
	}
	p.hearOf(a.Loss)
	if probe {
		return p.meet(a.Store)
	}
	p.refused = 0
	acks := a.acks()
	if n := len(acks); n > 0 && acks[n-1].Verdict == ack.Busy {
		p.mu.Lock()
		p.lastErr = acks[n-1].Reason
		p.mu.Unlock()
		if err := p.keep(entries[:n-1], acks[:n-1]); err != nil {
			return err
		}
		p.failures = 1
		return errAttempt
	}
	if len(acks) == 0 {
		return errAttempt
	}
	return p.keep(entries[:len(acks)], acks)
}

// outlive goes on with a life above the one that the receiver has met, and tells of
// each of those once.
func (p *Publisher) outlive(fence uuid.UUID) error {
	err := p.Store.Outlive(fence)
	if err != nil && !errors.Is(err, store.ErrEpoch) {
		return fmt.Errorf("%w: %w", errAttempt, err)
	}
	then := "this one goes on with a life that is later still"
	if p.failures = 1; err != nil {
		p.failures = 8
		then = "this one cannot have a later one, and nothing reaches " + p.Subject.Node + " from here until its steward is a newer one, which forgets such epochs: " + err.Error()
		p.mu.Lock()
		p.lastErr = err.Error()
		p.mu.Unlock()
	}
	if p.fence != fence {
		p.fence = fence
		p.trouble(true, uuid.Nil, "%s has met a later life of this node (%s): another node served as %s, or this one was restored from an old copy; %s", p.Subject.Node, fence, p.Node, then)
	}
	return errAttempt
}

// hearOf tells of a loss of history, once: the receiver says it until the next
// request says that it was heard.
func (p *Publisher) hearOf(loss uuid.UUID) {
	if loss != uuid.Nil && loss != p.loss {
		p.trouble(true, uuid.Nil, "%s had lost the history of %s: its journal was restored from an old copy", p.Subject.Node, p.Subject)
		p.lastAsk = time.Time{}
	}
	p.loss = loss
}

// meet keeps who answers. A store that is not the one that was met before ends
// what may have been sent there.
func (p *Publisher) meet(id uuid.UUID) error {
	known := p.Store.RoadOf(p.Subject).Store
	ended, err := p.Store.Met(p.Subject, id)
	if err != nil {
		return fmt.Errorf("meet %s: %w", p.Subject.Node, err)
	}
	p.after = message.Place{}
	p.mu.Lock()
	p.heard = uuid.Nil
	p.mu.Unlock()
	p.settled(ended)
	if known == uuid.Nil || known == id {
		return nil
	}
	p.trouble(true, uuid.Nil, "%s answers with another journal than before (%s, was %s): it was lost, replaced, or two nodes bear that name; %d messages ended as unknown", p.Subject.Node, id, known, len(ended))
	if p.refused++; p.refused > 2 {
		p.failures = 8
		return errAttempt
	}
	return nil
}

// keep makes the acks durable. Those that are no outcome yet may wait for the
// next commit: the receiver repeats its word if they are lost.
func (p *Publisher) keep(entries []store.Entry, acks []ack.Ack) error {
	if len(entries) == 0 {
		return nil
	}
	answers, now := make([]store.Answer, len(entries)), time.Now()
	patient := true
	p.mu.Lock()
	for i, e := range entries {
		answers[i] = store.Answer{ID: e.ID, Place: e.Place, Ack: acks[i], Void: e.Void, Attempts: p.attempts[e.Place] + 1, At: now}
		p.taken = p.taken || e.Command && acks[i].Verdict == ack.Accepted
		patient = patient && !e.Void && acks[i].Verdict == ack.Accepted && (e.Command || p.Subject.Method == message.MethodResult)
	}
	clear(p.attempts)
	clear(p.silent)
	p.lastErr = ""
	p.mu.Unlock()
	p.logDelivered(entries, answers)
	if p.Sent != nil {
		p.Sent(len(entries), false)
	}
	if err := p.Store.Acked(p.Subject, answers, patient, p.settled); err != nil {
		return fmt.Errorf("keep acks of %s: %w", p.Subject, err)
	}
	if last := entries[len(entries)-1].Place; last.Compare(p.after) > 0 {
		p.after = last
	}
	p.limit = min(batchCount, p.limit*2)
	return nil
}

// logDelivered has a line for each command that its receiver took. An event ends
// with that, and the line of its end says it.
func (p *Publisher) logDelivered(entries []store.Entry, answers []store.Answer) {
	ctx := context.Background()
	if !entries[0].Command || !p.Log.Enabled(ctx, slog.LevelInfo) { // else it would cost what nobody reads
		return
	}
	for i, a := range answers {
		if a.Ack.Verdict == ack.Accepted && !entries[i].Void {
			p.Log.LogAttrs(ctx, slog.LevelInfo, "delivered", slog.Any("id", a.ID), slog.String("to", p.Subject.Node), slog.String("method", p.Subject.Method), slog.Int("attempts", a.Attempts))
		}
	}
}
