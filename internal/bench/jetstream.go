package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jetStream does the same work in one process with two streams, which sync each
// message if always, and else every two minutes.
func jetStream(always bool) func(dir string, s shape) (*session, error) {
	return func(dir string, s shape) (*session, error) {
		b, err := broker(server.Options{JetStream: true, SyncAlways: always, StoreDir: dir})
		if err != nil {
			return nil, err
		}
		x, err := jetStreamClients(b.ClientURL(), s)
		if err != nil {
			b.Shutdown()
			return nil, err
		}
		return x.and(func() error { b.Shutdown(); return nil }), nil
	}
}

// jetStreamApart has the broker in a process of its own; it syncs "always", or as "shipped".
func jetStreamApart(syncs string) func(dir string, s shape) (*session, error) {
	return func(dir string, s shape) (*session, error) {
		b, err := startRole("jetstream", dir, syncs)
		if err != nil {
			return nil, err
		}
		x, err := jetStreamClients(b.said, s)
		if err != nil {
			return nil, errors.Join(err, b.stop())
		}
		return x.and(b.stop), nil
	}
}

func jetStreamClients(url string, s shape) (x *session, err error) {
	ctx := context.Background()
	ends := make([]jetstream.JetStream, 2)
	consumers := make([]jetstream.Consumer, 2)
	var conns []*nats.Conn
	disconnect := func() error {
		for _, nc := range conns {
			nc.Close()
		}
		return nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, disconnect())
		}
	}()
	for i, name := range []string{"COMMANDS", "RESULTS"} {
		nc, err := nats.Connect(url)
		if err != nil {
			return nil, err
		}
		conns = append(conns, nc)
		if ends[i], err = jetstream.New(nc); err != nil {
			return nil, err
		}
		stream, err := ends[i].CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Retention: jetstream.WorkQueuePolicy})
		if err != nil {
			return nil, err
		}
		if consumers[i], err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10000}); err != nil {
			return nil, err
		}
	}
	receiver, err := consumers[0].Consume(func(m jetstream.Msg) {
		f, err := ends[1].PublishAsync("RESULTS.x", m.Data())
		if err != nil {
			return
		}
		go func() {
			<-f.Ok()
			_ = m.Ack()
		}()
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return nil, err
	}
	var waiting calls
	sender, err := consumers[1].Consume(func(m jetstream.Msg) {
		_ = m.Ack()
		waiting.answered(m.Data())
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return nil, err
	}
	return &session{
		call: func(n int) error {
			return waiting.call(n, s, func(m []byte) error {
				_, err := ends[0].Publish(ctx, "COMMANDS.x", m)
				return err
			})
		},
		close: func() error {
			receiver.Stop()
			sender.Stop()
			return disconnect()
		},
	}, nil
}

// calls finds who waits for an answer, which begins as its request did.
type calls struct{ waiting sync.Map }

const callID = 16 // bytes

// call sends a message of the shape's size, and waits for its answer.
func (c *calls) call(n int, s shape, send func(m []byte) error) error {
	m := fmt.Appendf(make([]byte, 0, max(s.Bytes, callID)), "%0*d", callID, n)
	done := make(chan struct{})
	c.waiting.Store(string(m), done)
	if err := send(m[:max(s.Bytes, callID)]); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("no answer within 30s")
	}
}

func (c *calls) answered(m []byte) {
	if len(m) < callID {
		return
	}
	if done, ok := c.waiting.LoadAndDelete(string(m[:callID])); ok {
		close(done.(chan struct{}))
	}
}
