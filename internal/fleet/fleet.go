// Package fleet has receivers that are light, so that there can be thousands of them
// in one process: each has a node's journal, the subscriber of one command and the
// publisher of its results, without all else that a node has.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Ship is a receiver.
type Ship struct {
	db    *store.DB
	stop  context.CancelFunc
	group sync.WaitGroup
}

// Start begins a ship that has a method, which must be instant; its results go to
// central. It listens when conn was flushed. Trouble hears what it has to complain of.
func Start(name, dir string, conn *transport.Conn, method process.Method, trouble func(error)) (*Ship, error) {
	db, err := store.Open(filepath.Join(dir, name+".db"), store.Options{Node: name})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, log := &Ship{db: db, stop: cancel}, slog.New(slog.DiscardHandler)
	publisher := process.NewPublisher(&process.Publisher{
		Subject: subject.Subject{Prefix: subject.Prefix, Node: "central", Kind: subject.EventACK, Method: message.MethodResult}, Node: name,
		Store: db, Conn: wire{conn}, Idle: time.Hour, Log: log,
		First: func([]store.Entry) error { return nil }, Sent: func(int, bool) {}, Settled: func([]store.Settled) {},
		Trouble: func(t process.Trouble) { trouble(errors.New(t.Cause)) },
	})
	subscriber := process.NewSubscriber(&process.Subscriber{
		Subject: subject.Subject{Prefix: subject.Prefix, Node: name, Kind: subject.CommandACK, Method: method.Name}, Node: name,
		Store: db, Method: &method, Log: log, Stop: ctx,
		Work:    func(store.Lane) {}, // nothing waits: the method is instant
		Queued:  func([]*message.Message) { publisher.Wake() },
		Handled: func(store.Work, message.Result) {},
	})
	for _, run := range []func(context.Context) error{subscriber.Run, publisher.Run} {
		s.group.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				trouble(err)
			}
		})
	}
	_, err = conn.Subscribe(subscriber.Subject.String(), func(r transport.Received) {
		subscriber.Offer(process.Request{Subject: subscriber.Subject, Header: r.Header, Data: r.Data, Respond: r.Respond})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe for %s: %w", name, err), s.Close())
	}
	return s, nil
}

// Close ends it; its connection stays.
func (s *Ship) Close() error {
	s.stop()
	s.group.Wait()
	return s.db.Close()
}

// wire is the connection in the words of the processes.
type wire struct{ *transport.Conn }

// Request implements process.Conn.
func (w wire) Request(ctx context.Context, s subject.Subject, h process.Header, data []byte) ([]byte, error) {
	b, err := w.Conn.Request(ctx, s.String(), h, data)
	switch {
	case errors.Is(err, transport.ErrNobody):
		return nil, process.ErrNobody
	case errors.Is(err, transport.ErrOffline):
		return nil, process.ErrOffline
	}
	return b, err
}

// Publish implements process.Conn.
func (w wire) Publish(ctx context.Context, s subject.Subject, h process.Header, data []byte) error {
	return w.Conn.Publish(ctx, s.String(), h, data)
}
