package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

const foldRequests = 64 // requests decided in one transaction

// Subscriber takes what comes on one subject into the inbox and answers it. Set
// the fields, then Run; Offer may be called concurrently.
type Subscriber struct {
	Subject  subject.Subject
	Node     string
	Store    *store.DB
	Method   *Method                 // nil: this node has no such method, and says so
	Allow    func(from string) error // nil: everybody
	Log      *slog.Logger
	Stop     context.Context          // ends handlers
	Work     func(store.Lane)         // a lane has something new
	Queued   func([]*message.Message) // replies are in the outbox
	Handled  func(store.Work, message.Result)
	Settled  func([]store.Settled)           // own commands whose result came
	Requeue  func(...*message.Message) error // results to be sent once more
	Received func(n int)                     // messages were accepted
	Running  func(store.Lane, []uuid.UUID)   // a sender asks for messages that run
	Panicked func(*Panicked)                 // the method's Check did, and its message was refused
	Crowded  func()                          // a request found no room, and its sender was told

	// Alone is for how long certainly nobody else listened for this node's name; 0:
	// it is not certain; nil: never.
	Alone func(context.Context) time.Duration

	Room *Room // for requests that wait, shared by the node's Subscribers; nil: one of its own

	in *queue
}

// NewSubscriber makes s, whose fields are set, ready to Run.
func NewSubscriber(s *Subscriber) *Subscriber {
	if s.Room == nil {
		s.Room = &Room{}
	}
	s.in = &queue{room: s.Room, wake: make(chan struct{}, 1)}
	return s
}

// Offer hands over a request, and reports whether it is going to be decided on. It
// never blocks. Where there is no room its sender is told to come again; while
// Run has ended nobody answers it.
func (s *Subscriber) Offer(r Request) bool {
	waits, full := s.in.add(r)
	if full {
		s.respond(r, answer{Store: s.Store.ID(), Acks: runsOf([]ack.Ack{{Verdict: ack.Busy, Reason: "more requests came to the receiver than it has room for"}})})
		if s.Crowded != nil {
			s.Crowded()
		}
	}
	return waits
}

// Run takes requests until ctx ends.
func (s *Subscriber) Run(ctx context.Context) error {
	s.in.open()
	defer s.in.end()
	for ctx.Err() == nil {
		group := s.in.first(foldRequests)
		if len(group) == 0 {
			select {
			case <-s.in.wake:
			case <-ctx.Done():
			}
			continue
		}
		err := s.take(ctx, group)
		if s.in.done(group); err != nil {
			return err
		}
	}
	return nil
}

// take decides on requests of one or more senders, in one transaction, and then
// answers them.
func (s *Subscriber) take(ctx context.Context, group []Request) error {
	var batches []store.Batch
	var asked []Request
	for _, r := range group {
		switch b, err := s.read(r); {
		case errors.Is(err, errPlain):
			if err := s.plain(ctx, r); err != nil {
				return err
			}
		case err != nil:
			s.Log.Warn("a request that cannot be read", "subject", s.Subject, "err", err)
			s.respond(r, answer{Store: s.Store.ID(), Error: err.Error()})
		case !store.Believed(b.Epoch, time.Now()):
			s.respond(r, answer{Store: s.Store.ID(), Acks: runsOf([]ack.Ack{{Verdict: ack.Busy, Reason: fmt.Sprintf(
				"epoch %s of %s is not believed: it is more than a thousand years ahead of the clock of %s", b.Epoch, b.From, s.Node)}})})
		case r.get(headAsk) != "":
			if err := s.tell(r, b); err != nil {
				return err
			}
		default:
			batches, asked = append(batches, b), append(asked, r)
		}
	}
	if len(batches) == 0 {
		return nil
	}
	got, err := s.Store.Receive(batches...)
	if errors.Is(err, store.ErrFull) { // nothing was decided
		for _, r := range asked {
			s.respond(r, answer{Store: s.Store.ID(), Acks: runsOf([]ack.Ack{{Verdict: ack.Busy, Reason: "the receiver's disk is full"}})})
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("receive on %s: %w", s.Subject, err)
	}
	for i, r := range asked {
		a := answerOf(got.Replies[i])
		if a.Refused == store.RefusedStore && len(batches[i].Items) > 0 && s.Alone != nil {
			a.Alone = s.Alone(ctx)
		}
		s.respond(r, a)
	}
	failpoint.Hit(failpoint.Told)
	if s.Received != nil && got.New > 0 {
		s.Received(got.New)
	}
	for _, l := range got.Lanes {
		s.Work(l)
	}
	var replies []*message.Message
	for _, d := range got.Done {
		replies = append(replies, d.Replies...)
		s.Handled(d.Work, d.Result)
	}
	s.Queued(replies)
	if s.Settled != nil && len(got.Settled) > 0 {
		failpoint.Hit(failpoint.Settled)
		s.Settled(got.Settled)
	}
	return nil
}

func (s *Subscriber) respond(r Request, a answer) {
	if r.Respond == nil {
		return
	}
	if err := r.Respond(a.encode()); err != nil {
		s.Log.Debug("an answer was not sent", "subject", s.Subject, "err", err)
	}
}

func (s *Subscriber) read(r Request) (b store.Batch, err error) {
	if r.get(headFrom) == "" {
		return b, errPlain
	}
	if b, err = batchOf(r); err != nil || r.get(headAsk) != "" {
		return b, err
	}
	events, err := message.Split(r.Data)
	if err != nil {
		return b, err
	}
	var last message.Place
	for i, e := range events {
		item, err := s.item(e, b.From)
		if err != nil {
			return b, fmt.Errorf("event %d: %w", i+1, err)
		}
		if item.Place.Compare(last) <= 0 {
			return b, fmt.Errorf("event %d: places of a batch rise", i+1)
		}
		if last = item.Place; bytes.Compare(last.Epoch[:], b.Epoch[:]) > 0 {
			return b, fmt.Errorf("event %d: its place is of a later life than %s", i+1, headEpoch)
		}
		b.Items = append(b.Items, item)
	}
	if !last.IsZero() && b.Settled.Compare(last) >= 0 && !b.Items[len(b.Items)-1].Void {
		return b, errors.New("the sender claims to hold acks for what it sends")
	}
	return b, nil
}

// item reads an event and decides what can be decided without the journal.
func (s *Subscriber) item(event []byte, from string) (item store.Item, err error) {
	d, err := message.Decode(event, s.Subject)
	item = store.Item{Decoded: d, Event: event}
	reject := func(reason string) {
		item.Ack = ack.Reject(reason)
	}
	switch {
	case err != nil && errors.Is(err, message.ErrInvalid) && !d.Place.IsZero():
		reject(err.Error())
	case err != nil:
		return item, err
	case d.Plain:
		return item, errors.New("an event of a batch has a place")
	case d.From != from:
		reject(fmt.Sprintf("its source is %q, it came from %q", d.From, from))
	case d.Void:
	case s.Method == nil && s.Subject.Method != message.MethodResult:
		reject(fmt.Sprintf("%s has no method %s", s.Node, s.Subject.Method))
	case s.Method != nil && !s.Method.Takes(s.Subject.Kind):
		reject(fmt.Sprintf("method %s does not take kind %s, but %v", s.Subject.Method, s.Subject.Kind, s.Method.Kinds))
	case s.Method == nil && s.Subject.Kind != subject.EventACK:
		reject(fmt.Sprintf("method %s takes kind %s only", s.Subject.Method, subject.EventACK))
	default:
		s.permit(d.Message, from, reject)
	}
	if s.Method != nil && s.Method.Instant && d.Message != nil && item.Ack.Verdict == "" {
		item.Done = s.atOnce(d.Message)
	}
	return item, nil
}

// atOnce handles a message of an instant method, before anything of it is on
// disk: what it was is forgotten if it cannot be received now.
func (s *Subscriber) atOnce(m *message.Message) *store.Finished {
	now := time.Now()
	if !m.Expires.IsZero() && now.After(m.Expires) {
		return nil // a worker says so
	}
	r, panicked := run(s.Stop, s.Method, m, now, 0)
	if panicked != nil {
		return nil // a worker runs it again, and ends over it
	}
	return &store.Finished{Work: store.Work{ID: m.ID, Message: m, Received: now}, Result: r, Replies: replies(s.Store, s.Method, m, r)}
}

func (s *Subscriber) permit(m *message.Message, from string, reject func(string)) {
	if s.Allow != nil && s.Method != nil {
		if err := s.Allow(from); err != nil {
			reject(err.Error())
			return
		}
	}
	if s.Method == nil {
		return
	}
	if err := s.Method.Refuses(m); err != nil {
		reject(err.Error())
		if p, ok := errors.AsType[*Panicked](err); ok && s.Panicked != nil {
			s.Panicked(p)
		}
	}
}

// tell answers what became of messages.
func (s *Subscriber) tell(r Request, b store.Batch) error {
	a := answer{Store: s.Store.ID()}
	var ids []uuid.UUID
	if json.Unmarshal(r.Data, &ids) != nil || len(ids) > askLimit {
		a.Error = fmt.Sprintf("a question is a list of up to %d ids", askLimit)
		s.respond(r, a)
		return nil //nolint:nilerr // who asked is told
	}
	lane := store.Lane{From: b.From, Subject: s.Subject}
	traces, again, err := s.Store.Ask(lane, ids)
	if err != nil {
		return fmt.Errorf("tell about %s: %w", s.Subject, err)
	}
	if len(again) > 0 && s.Requeue != nil {
		err := s.Requeue(again...)
		if errors.Is(err, store.ErrFull) {
			return nil // who asked asks again
		}
		if err != nil {
			return fmt.Errorf("send results again: %w", err)
		}
	}
	a.Traces = traces
	s.respond(r, a)
	s.running(lane, ids, traces)
	return nil
}

// running tells of those of ids that run.
func (s *Subscriber) running(l store.Lane, ids []uuid.UUID, traces []store.Trace) {
	var run []uuid.UUID
	for i, t := range traces {
		if t == store.TraceStarted {
			run = append(run, ids[i])
		}
	}
	if s.Running != nil && len(run) > 0 {
		s.Running(l, run)
	}
}
