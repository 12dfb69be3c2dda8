// Package process moves messages: a Publisher sends what waits for one subject,
// a Subscriber takes what comes on one, a Worker handles what one sender sent to
// it. Each is run by one goroutine, and the journal is the only queue.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Limits of one request.
const (
	batchCount = 512
	batchBytes = 512 << 10
	headerRoom = 4 << 10 // of the broker's limit, for the head

	// A life with another journal may have been asked, and not the last one. Its
	// refusal, which is on its way then, tells that nothing was taken.
	refusalGrace = 2 * time.Second
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
	taken    bool      // commands were, a moment ago: the acks may not be on disk yet
	refused  int       // by another store than expected, in a row
	loss     uuid.UUID // of the receiver's history, which it told of
	fence    uuid.UUID // a later life of this node, which it told of

	mu       sync.Mutex
	attempts map[message.Place]int // tries since the last answer
	silent   map[message.Place]int // of them, those that may have arrived
	lastErr  string
	heard    uuid.UUID          // the receiver's journal, by its last hello; Nil: as far as is known it is the one that was met
	abort    context.CancelFunc // of the request under way
}

// NewPublisher makes p, whose fields are set, ready to Run.
func NewPublisher(p *Publisher) *Publisher {
	p.wake, p.hello = make(chan struct{}, 1), make(chan struct{}, 1)
	p.limit, p.askPause = batchCount, firstAsk
	p.attempts, p.silent = map[message.Place]int{}, map[message.Place]int{}
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
	grace := time.Duration(0)
	if p.stranger(p.Store.RoadOf(p.Subject).Store) {
		grace = refusalGrace
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.abort == nil:
	case grace == 0:
		p.abort()
	default:
		time.AfterFunc(grace, p.abort)
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
	defer func() {
		if ctx.Err() != nil { // the node stops
			p.Store.Shut(p.Subject)
		}
	}()
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
		n := p.silent[e.Place] // that a node is not there is no failure: its messages wait
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
		p.forget(g.places)
		p.settled(ended)
		dropped = true
	}
	if n := p.Conn.MaxPayload(); n > 0 && len(entries) > 0 && len(entries[0].Event)+headerRoom > n && !dropped {
		if p.Subject.Method == message.MethodResult && !entries[0].Void { // its command's end is waited for: cut, it arrives
			p.Store.Unsent(p.Subject, out)
			if err := p.Store.Shrink(p.Subject, entries[0], n-headerRoom); !errors.Is(err, store.ErrNotFound) {
				return true, err
			}
		}
		ended, err := p.Store.Refuse(p.Subject, entries[0], fmt.Sprintf("it has %d bytes, the broker takes %d at most", len(entries[0].Event), n-headerRoom))
		if err != nil {
			return false, err
		}
		p.settled(ended)
		return true, nil
	}
	return dropped, nil
}

// forget what is known of messages that were given up.
func (p *Publisher) forget(places []message.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range places {
		delete(p.attempts, at)
		delete(p.silent, at)
	}
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
