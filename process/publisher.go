// Package process moves messages: a Publisher sends what waits for one subject,
// a Subscriber takes what comes on one, a Worker handles what one sender sent to
// it. Each is run by one goroutine, and the journal is the only queue.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Limits of one request.
const (
	batchCount  = 512
	batchBytes  = 512 << 10
	headerRoom  = 4 << 10 // of the broker's limit, for the head
	askLimit    = 256     // ids in one question
	firstAsk    = 30 * time.Second
	longestAsk  = 10 * time.Minute
	resultGrace = 7 * 24 * time.Hour // after expiry, until a missing result is given up
)

// Trouble is something that a process noticed and the error kernel must know.
type Trouble struct {
	Identity bool // a journal was lost or replaced, or two nodes bear one name
	ID       uuid.UUID
	Subject  subject.Subject
	Cause    string
}

// Publisher delivers the messages of one subject, oldest first, one request at
// a time: it sends what waits as a batch, keeps what the receiver answers, and
// goes on. Set the fields, then Run; Wake and Hello may be called concurrently.
type Publisher struct {
	Subject subject.Subject
	Node    string // sender
	Store   *store.DB
	Conn    Conn
	Policy  ack.Policy
	Idle    time.Duration // Run returns when nothing came for so long
	Log     *slog.Logger
	First   func([]store.Entry) error // before messages are sent for the first time
	Sent    func(messages int, repeat bool)
	Settled func([]store.Settled)
	Trouble func(Trouble)

	wake, hello chan struct{}

	after    message.Place // answered; the commit may be on its way
	logged   message.Place // given to First
	limit    int           // messages in the next request
	failures int           // requests without an answer, in a row
	lastAsk  time.Time
	askPause time.Duration
	refused  int // by another store than expected, in a row

	mu       sync.Mutex
	attempts map[message.Place]int
	lastErr  string
	heard    uuid.UUID          // the receiver's journal, by its last hello; Nil: as far as is known it is the one that was met
	abort    context.CancelFunc // of the request under way
}

// NewPublisher makes p, whose fields are set, ready to Run.
func NewPublisher(p *Publisher) *Publisher {
	p.wake, p.hello = make(chan struct{}, 1), make(chan struct{}, 1)
	p.limit, p.askPause, p.attempts = batchCount, firstAsk, map[message.Place]int{}
	return p
}

// Wake tells that the outbox has grown. It never blocks.
func (p *Publisher) Wake() { signal(p.wake) }

// Hello tells that the receiver was heard of, and which journal it has (Nil: it
// did not say): there is no need to wait. It never blocks.
func (p *Publisher) Hello(journal uuid.UUID) {
	if journal != uuid.Nil {
		p.mu.Lock()
		p.heard = journal
		p.mu.Unlock()
	}
	signal(p.hello)
}

// Reborn tells that the receiver began a new life: what its last one was asked is
// asked again, and not waited for. It never blocks.
func (p *Publisher) Reborn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.abort != nil {
		p.abort()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Attempts is how often the message at place was tried since the receiver last
// answered.
func (p *Publisher) Attempts(at message.Place) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attempts[at]
}

// LastError is what the last attempt met with.
func (p *Publisher) LastError() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastErr
}

// Run delivers until ctx ends, or nothing is left to do for Idle: then it
// returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	p.lastAsk = time.Now()
	for ctx.Err() == nil {
		out, err := p.Store.Next(p.Subject, p.after, p.limit, p.room())
		if err != nil {
			return fmt.Errorf("read outbox of %s: %w", p.Subject, err)
		}
		if dropped, err := p.drop(out); err != nil {
			return err
		} else if dropped {
			continue
		}
		if len(out.Entries) == 0 {
			p.failures = 0 // what comes next has not failed yet
			if idle, err := p.rest(ctx); idle || err != nil {
				return err
			}
			continue
		}
		if err = p.first(out.Entries); err != nil {
			p.Store.Unsent(p.Subject, out)
		} else {
			err = p.send(ctx, out)
		}
		if errors.Is(err, errAttempt) {
			p.pause(ctx, out.Entries)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) room() int {
	if n := p.Conn.MaxPayload(); n > 0 {
		return min(batchBytes, n-headerRoom)
	}
	return batchBytes
}

// drop gives up what may not be sent any more, and refuses what cannot be.
func (p *Publisher) drop(out store.Outgoing) (dropped bool, err error) {
	entries := out.Entries
	var expired, exhausted []message.Place
	ranOut := "its retries ran out"
	now := time.Now()
	for _, e := range entries {
		n := p.Attempts(e.Place)
		pol := p.Policy
		if e.Retries > 0 {
			pol.Retries = e.Retries
		}
		switch {
		case e.Void:
		case now.After(e.Expires):
			expired = append(expired, e.Place)
		case n > 0 && pol.Exhausted(n):
			exhausted = append(exhausted, e.Place)
			if last := p.LastError(); last != "" {
				ranOut = "its retries ran out: " + last
			}
		}
	}
	for _, g := range []struct {
		places  []message.Place
		outcome ack.Outcome
		reason  string
	}{{expired, ack.Expired, "its lifetime ended"}, {exhausted, ack.Undelivered, ranOut}} {
		if len(g.places) == 0 {
			continue
		}
		p.Store.Unsent(p.Subject, out)
		ended, err := p.Store.GiveUp(p.Subject, g.places, g.outcome, g.reason, p.Attempts)
		if err != nil {
			return false, fmt.Errorf("give up on %s: %w", p.Subject, err)
		}
		p.settled(ended)
		dropped = true
	}
	if n := p.Conn.MaxPayload(); n > 0 && len(entries) > 0 && len(entries[0].Event)+headerRoom > n && !dropped {
		ended, err := p.Store.Refuse(p.Subject, entries[0], fmt.Sprintf("it has %d bytes, the broker takes %d at most", len(entries[0].Event), n-headerRoom))
		if err != nil {
			return false, err
		}
		p.settled(ended)
		return true, nil
	}
	return dropped, nil
}

func (p *Publisher) settled(ended []store.Settled) {
	if p.Settled != nil && len(ended) > 0 {
		p.Settled(ended)
	}
}

func (p *Publisher) trouble(identity bool, id uuid.UUID, format string, args ...any) {
	if p.Trouble != nil {
		p.Trouble(Trouble{identity, id, p.Subject, fmt.Sprintf(format, args...)})
	}
}

// first hands over what was never sent in this life. What cannot be handed over,
// because a disk is full for a while, is not sent yet.
func (p *Publisher) first(entries []store.Entry) error {
	fresh := entries
	for len(fresh) > 0 && fresh[0].Place.Compare(p.logged) <= 0 {
		fresh = fresh[1:]
	}
	if len(fresh) == 0 || p.First == nil {
		return nil
	}
	if err := p.First(fresh); err != nil {
		p.failures++
		p.mu.Lock()
		p.lastErr = err.Error()
		p.mu.Unlock()
		p.trouble(false, uuid.Nil, "%v", err)
		return fmt.Errorf("%w: %w", errAttempt, err)
	}
	p.logged = fresh[len(fresh)-1].Place
	return nil
}

// errAttempt is an attempt without an answer: pause, and try again.
var errAttempt = errors.New("no answer")

func (p *Publisher) send(ctx context.Context, out store.Outgoing) error {
	if out.Entries[0].NoAck {
		return p.publish(ctx, out)
	}
	road, payload := p.Store.RoadOf(p.Subject), out.Payload
	probe := p.stranger(road.Store) // ask who is there first: a batch must say who it is for
	if probe {
		payload = nil
	}
	failpoint.Hit(failpoint.Sending)
	reply, err := p.request(ctx, out.Entries, headerOf(p.Node, p.Store, road, out.ContentType), payload)
	if probe || errors.Is(err, ErrNobody) || errors.Is(err, ErrOffline) || err == nil && reply.untouched() {
		p.Store.Unsent(p.Subject, out)
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.Answered)
	return p.take(out.Entries, reply, probe)
}

// stranger reports whether journal is not the one that will answer, as far as is
// known. What is sent to a wrong one may end as unknown; a question costs nothing.
func (p *Publisher) stranger(journal uuid.UUID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return journal == uuid.Nil || p.heard != uuid.Nil && p.heard != journal
}

// publish is for kinds that want no ack: what the broker has, was sent.
func (p *Publisher) publish(ctx context.Context, out store.Outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, p.Policy.AckTimeout())
	defer cancel()
	err := p.Conn.Publish(ctx, p.Subject, headerOf(p.Node, p.Store, store.Road{}, out.ContentType), out.Payload)
	if errors.Is(err, ErrOffline) {
		p.Store.Unsent(p.Subject, out)
	}
	if err != nil {
		return p.missed(out.Entries, err)
	}
	acks := make([]ack.Ack, len(out.Entries))
	for i := range acks {
		acks[i].Verdict = ack.SentOut
	}
	return p.keep(out.Entries, acks)
}

func (p *Publisher) request(ctx context.Context, entries []store.Entry, h Header, payload []byte) (a answer, err error) {
	pol := p.Policy
	for _, e := range entries {
		pol.Timeout = max(pol.Timeout, e.AckTimeout)
	}
	rctx, cancel := context.WithTimeout(ctx, pol.AckTimeout())
	defer cancel()
	p.mu.Lock()
	p.abort = cancel
	p.mu.Unlock()
	data, err := p.Conn.Request(rctx, p.Subject, h, payload)
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
		if len(payload) > 0 && p.limit == 1 { // nothing else can be at fault
			ended, e := p.Store.Refuse(p.Subject, entries[0], a.Error)
			p.settled(ended)
			p.limit = batchCount
			return a, errors.Join(errAttempt, e)
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

// missed counts an attempt that had no answer.
func (p *Publisher) missed(entries []store.Entry, err error) error {
	p.failures++
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastErr = err.Error()
	if !errors.Is(err, ErrOffline) {
		for _, e := range entries {
			p.attempts[e.Place]++
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
	switch {
	case a.Refused == store.RefusedFenced:
		p.trouble(true, uuid.Nil, "%s has met a later life of this node (%s): another node served as %s, or this one was restored from an old copy; this one goes on with a life that is later still", p.Subject.Node, a.Fence, p.Node)
		if err := p.Store.Outlive(a.Fence); err != nil {
			return fmt.Errorf("%w: %w", errAttempt, err)
		}
		p.failures = 1
		return errAttempt
	case a.Refused == store.RefusedStore || probe:
		return p.meet(a.Store)
	}
	p.refused = 0
	if a.Lost {
		p.trouble(true, uuid.Nil, "%s had lost the history of %s: its journal was restored from an old copy", p.Subject.Node, p.Subject)
		p.lastAsk = time.Time{}
	}
	acks := a.acks(len(entries))
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
		patient = patient && !e.Void && acks[i].Verdict == ack.Accepted && (e.Command || p.Subject.Method == message.MethodResult)
	}
	clear(p.attempts)
	p.lastErr = ""
	p.mu.Unlock()
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

// pause waits for the next attempt: for its time, for a word of the receiver,
// or until something of the batch has expired.
func (p *Publisher) pause(ctx context.Context, entries []store.Entry) {
	d := p.Policy.Delay(max(p.failures, 1))
	for _, e := range entries {
		if !e.Void {
			d = min(d, max(time.Until(e.Expires)+time.Millisecond, time.Millisecond))
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.hello:
		p.failures, p.lastAsk = 0, time.Time{}
	case <-ctx.Done():
	}
}

// rest waits for something to do: new messages, or a result that is overdue. It
// reports true when there is nothing to wait for any more.
func (p *Publisher) rest(ctx context.Context) (idle bool, err error) {
	overdue, err := p.Store.AwaitingResults(p.Subject, askLimit)
	if err != nil {
		return false, fmt.Errorf("read outbox of %s: %w", p.Subject, err)
	}
	d := p.Idle
	if len(overdue) > 0 {
		if d = time.Until(p.lastAsk.Add(p.askPause)); d <= 0 {
			return false, p.ask(ctx, overdue)
		}
	} else {
		p.lastAsk, p.askPause = time.Now(), firstAsk
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.wake:
	case <-p.hello:
		if len(overdue) > 0 {
			p.lastAsk = time.Time{}
		}
	case <-timer.C:
		if len(overdue) == 0 { // an ack may have been on its way to the disk before
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
		err = json.Unmarshal(data, &a)
	}
	if err == nil && a.Store != uuid.Nil && a.Store != p.Store.RoadOf(p.Subject).Store {
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
