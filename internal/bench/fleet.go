package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// ship is a light receiver: a node's journal, the subscriber of one command and
// the publisher of its results, without all else that a node has.
type ship struct {
	db         *store.DB
	subscriber *process.Subscriber
	publisher  *process.Publisher
}

// fleetOf is the role: so many ships on one connection, their journals in
// memory, for each would have a disk of its own.
func fleetOf(args []string, say func(string)) (stop func() error, err error) {
	first, err1 := strconv.Atoi(args[2])
	count, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/dev/shm", "bench-fleet-")
	if err != nil {
		dir = args[0]
	}
	online := make(chan struct{})
	conn, err := transport.Dial(transport.Config{URLs: args[1], Name: "fleet", Changed: func(on bool, _ error) {
		if on {
			close(online) // it is not lost within a run
		}
	}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var ships []*ship
	stop = func() (err error) {
		cancel()
		group.Wait()
		conn.Close()
		for _, s := range ships {
			err = errors.Join(err, s.db.Close())
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	<-online
	for i := range count {
		s, err := newShip(ctx, shipName(first+i), dir, conn)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		ships = append(ships, s)
		for _, run := range []func(context.Context) error{s.subscriber.Run, s.publisher.Run} {
			group.Go(func() {
				if err := run(ctx); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "bench: fleet:", err)
				}
			})
		}
		_, err = conn.Subscribe(s.subscriber.Subject.String(), func(r transport.Received) {
			s.subscriber.Offer(process.Request{Subject: s.subscriber.Subject, Header: r.Header, Data: r.Data, Respond: r.Respond})
		})
		if err != nil {
			return nil, errors.Join(err, stop())
		}
	}
	soon, enough := context.WithTimeout(ctx, 10*time.Second)
	defer enough()
	if err := conn.Flush(soon); err != nil {
		return nil, errors.Join(err, stop())
	}
	say("ready")
	return stop, nil
}

const fleetSize = 2500 // of one process: a journal is two open files

func shipName(i int) string { return fmt.Sprintf("ship%d", i) }

func newShip(ctx context.Context, name, dir string, conn *transport.Conn) (*ship, error) {
	db, err := store.Open(filepath.Join(dir, name+".db"), store.Options{Node: name})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	s := &ship{db: db}
	s.publisher = process.NewPublisher(&process.Publisher{
		Subject: subject.Subject{Prefix: subject.Prefix, Node: "central", Kind: subject.EventACK, Method: message.MethodResult}, Node: name,
		Store: db, Conn: wire{conn}, Idle: time.Hour, Log: log,
		First: func([]store.Entry) error { return nil }, Sent: func(int, bool) {}, Settled: func([]store.Settled) {},
		Trouble: func(t process.Trouble) { fmt.Fprintln(os.Stderr, "bench: fleet:", t.Cause) },
	})
	method := echoAs("Echo")
	s.subscriber = process.NewSubscriber(&process.Subscriber{
		Subject: subject.Subject{Prefix: subject.Prefix, Node: name, Kind: subject.CommandACK, Method: "Echo"}, Node: name,
		Store: db, Method: &method, Log: log, Stop: ctx,
		Work:    func(store.Lane) {}, // nothing waits: the method is instant
		Queued:  func([]*message.Message) { s.publisher.Wake() },
		Handled: func(store.Work, message.Result) {},
	})
	return s, nil
}

// wire is the connection in the words of the processes.
type wire struct{ *transport.Conn }

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

func (w wire) Publish(ctx context.Context, s subject.Subject, h process.Header, data []byte) error {
	return w.Conn.Publish(ctx, s.String(), h, data)
}

// fanOut sends one command to so many ships at once; it returns when the first,
// the middle and the last result was durable at the sender, and what memory each
// ship costs on both sides.
func fanOut(dir string, count int) (f fanned, err error) {
	b, err := startRole("broker")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	var fleets []*role
	defer func() {
		for _, r := range fleets {
			err = errors.Join(err, r.stop())
		}
	}()
	for first := 0; first < count; first += fleetSize {
		r, err := startRole("fleet", dir, b.said, strconv.Itoa(first), strconv.Itoa(min(fleetSize, count-first)))
		if err != nil {
			return f, err
		}
		fleets = append(fleets, r)
	}
	central, stop, err := runNode("central", dir, b.said, 0)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	before := heapInUse()
	list := make([]*message.Message, count)
	for i := range list {
		list[i] = &message.Message{ToNode: shipName(i), Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
	}
	began := time.Now()
	if err := central.Submit(ctx, list...); err != nil {
		return f, err
	}
	took := make([]float64, count)
	err = clients(count, func(i int) (bool, error) {
		r, err := central.Wait(ctx, list[i].ID.String())
		took[i] = float64(time.Since(began)) / float64(time.Millisecond)
		if err == nil && r.Outcome != ack.Done {
			err = fmt.Errorf("%s is %s: %s", r.ID, r.Outcome, r.Reason)
		}
		return false, err
	})
	if err != nil {
		return f, err
	}
	f.took, f.here = took, (heapInUse()-before)/float64(count)
	for _, r := range fleets {
		mb, err := memoryOf(r.cmd.Process.Pid, "RssAnon")
		if err != nil {
			return f, err
		}
		f.there += mb * 1000 / float64(count)
	}
	return f, nil
}
