package main

import (
	"errors"
	"io"
	"log"

	nsq "github.com/nsqio/go-nsq"
	"github.com/nsqio/nsq/nsqd"
)

// nsqInMemory is NSQ as shipped, which keeps up to 10,000 messages in memory;
// nsqOnDisk writes each to a file and syncs it, but knows what is in flight from
// memory only.
func nsqInMemory(dir string, s shape) (*session, error) { return nsqClients(dir, "memory", s) }
func nsqOnDisk(dir string, s shape) (*session, error)   { return nsqClients(dir, "disk", s) }

// nsqServer is the role: it says where it listens.
func nsqServer(args []string, say func(string)) (stop func() error, err error) {
	o := nsqd.NewOptions()
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "", "127.0.0.1"
	o.DataPath, o.Logger = args[0], quiet()
	if args[1] == "disk" {
		o.MemQueueSize, o.SyncEvery = 0, 1
	}
	n, err := nsqd.New(o)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- n.Main() }()
	say(n.RealTCPAddr().String())
	return func() error { n.Exit(); return <-done }, nil
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func nsqClients(dir, where string, s shape) (x *session, err error) {
	server, err := startRole("nsqd", dir, where)
	if err != nil {
		return nil, err
	}
	var ends []func()
	end := func() error {
		for _, f := range ends {
			f()
		}
		return server.stop()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	producers := make([]*nsq.Producer, 2)
	for i := range producers {
		if producers[i], err = nsq.NewProducer(server.said, nsq.NewConfig()); err != nil {
			return nil, err
		}
		producers[i].SetLogger(quiet(), nsq.LogLevelError)
	}
	consume := func(topic string, handlers int, f nsq.HandlerFunc) error {
		c := nsq.NewConfig()
		c.MaxInFlight = 2048
		c.OutputBufferSize = -1 // else each message waits up to 250 ms for more
		consumer, err := nsq.NewConsumer(topic, "c", c)
		if err != nil {
			return err
		}
		consumer.SetLogger(quiet(), nsq.LogLevelError)
		consumer.AddConcurrentHandlers(f, handlers)
		ends = append(ends, func() { consumer.Stop(); <-consumer.StopChan })
		return consumer.ConnectToNSQD(server.said)
	}
	var waiting calls
	if err := consume("commands", min(s.InFlight, 256), func(m *nsq.Message) error { return producers[1].Publish("results", m.Body) }); err != nil {
		return nil, err
	}
	if err := consume("results", 4, func(m *nsq.Message) error { waiting.answered(m.Body); return nil }); err != nil {
		return nil, err
	}
	for _, p := range producers {
		ends = append(ends, p.Stop) // after the consumers
	}
	return &session{close: end, call: func(n int) error {
		return waiting.call(n, s, func(m []byte) error { return producers[0].Publish("commands", m) })
	}}, nil
}
