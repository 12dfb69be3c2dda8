package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// broker is one on loopback, at a port of its own.
func broker(opts server.Options) (*server.Server, error) {
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&opts)
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("the broker is not ready")
	}
	return s, nil
}

// oneProcess: two nodes, two journals on this disk, an embedded broker; a call is
// Submit of an Echo until its outcome is durable at the sender.
func oneProcess(dir string, s shape) (*session, error) {
	b, err := broker(server.Options{})
	if err != nil {
		return nil, err
	}
	_, stop, err := runNode("ship1", dir, b.ClientURL(), s.Subjects)
	if err != nil {
		b.Shutdown()
		return nil, err
	}
	x, err := sender(dir, b.ClientURL(), s)
	if err != nil {
		b.Shutdown()
		return nil, errors.Join(err, stop())
	}
	return x.and(stop, func() error { b.Shutdown(); return nil }), nil
}

// threeProcesses is oneProcess with the broker and the receiver in processes of
// their own.
func threeProcesses(dir string, s shape) (*session, error) {
	b, err := startRole("broker")
	if err != nil {
		return nil, err
	}
	r, err := startRole("receiver", dir, b.said, fmt.Sprint(s.Subjects))
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	x, err := sender(dir, b.said, s)
	if err != nil {
		return nil, errors.Join(err, r.stop(), b.stop())
	}
	return x.and(r.stop, b.stop), nil
}

// and ends more, one after the other, after the session's own end.
func (x *session) and(more ...func() error) *session {
	return &session{call: x.call, close: func() error {
		err := x.close()
		for _, f := range more {
			err = errors.Join(err, f())
		}
		return err
	}}
}

func sender(dir, url string, s shape) (*session, error) {
	central, stop, err := runNode("central", dir, url, 0)
	if err != nil {
		return nil, err
	}
	data := []string{strings.Repeat("x", s.Bytes)}
	return &session{close: stop, call: func(n int) error {
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: methodOf(n % s.Subjects), Data: data}
		r, err := central.Do(context.Background(), m)
		if err == nil && r.Outcome != ack.Done {
			err = fmt.Errorf("message %s is %s: %s", r.ID, r.Outcome, r.Reason)
		}
		return err
	}}, nil
}

// runNode runs a node that answers on so many subjects, until stop.
func runNode(name, dir, url string, subjects int) (n *steward.Node, stop func() error, err error) {
	n, err = steward.New(steward.Config{Name: name, Dir: filepath.Join(dir, name), Brokers: []string{url}, Central: "central", Headless: true})
	if err != nil {
		return nil, nil, err
	}
	methods := []process.Method{heapMethod}
	for i := 1; i < subjects; i++ {
		methods = append(methods, echoAs(methodOf(i)))
	}
	for _, m := range methods {
		if err := n.Handle(m); err != nil {
			return nil, nil, errors.Join(err, n.Close())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() error { cancel(); return <-done }, nil
}

// methodOf is the node's own Echo, and for more subjects others that do the same.
func methodOf(i int) string {
	if i == 0 {
		return "Echo"
	}
	return fmt.Sprintf("Echo%d", i)
}

func echoAs(name string) process.Method {
	return process.Method{Name: name, Kinds: []subject.Kind{subject.CommandACK}, Repeatable: true, Instant: true,
		Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			now := time.Now()
			out := []byte(strings.Join(m.Data, "\n"))
			return message.Result{Outcome: ack.Done, Stdout: out, StdoutBytes: int64(len(out)), StartedAt: now, EndedAt: now}
		})}
}
