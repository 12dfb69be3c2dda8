package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitMQ: two durable quorum queues; each message is persistent and confirmed,
// and acked once its answer is confirmed.
func rabbitMQ(dir string, s shape) (*session, error) {
	url, stop, err := rabbitServer(dir)
	if err != nil {
		return nil, err
	}
	x, err := rabbitClients(url, s)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return x.and(stop), nil
}

// rabbitServer starts one with a port mapper of its own, so that it meets no
// other and leaves nothing.
func rabbitServer(dir string) (url string, stop func() error, err error) {
	var ports [3]string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return "", nil, err
		}
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.WriteFile(plugins, []byte("[].\n"), 0o600); err != nil {
		return "", nil, err
	}
	env := []string{
		"HOME=" + dir, "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + ports[0],
		"RABBITMQ_NODENAME=bench@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + ports[1],
		"RABBITMQ_DIST_PORT=" + ports[2], "RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins, "RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "none"), "RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "none.conf"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
	}
	mapper, err := startProgram("erlang-base", "epmd", env, "-address", "127.0.0.1", "-port", ports[0])
	if err != nil {
		return "", nil, err
	}
	// The one in the PATH changes its user, who may not write below dir.
	server, err := startProgram("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server", env)
	if err != nil {
		return "", nil, errors.Join(err, mapper.stop())
	}
	stop = func() error { return errors.Join(server.stop(), mapper.stop()) }
	url = "amqp://guest:guest@127.0.0.1:" + ports[1]
	err = server.ready(func() error {
		c, err := amqp.Dial(url)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return url, stop, nil
}

const rabbitChannels = 4 // of the sender: one serializes what it publishes

func rabbitClients(url string, s shape) (x *session, err error) {
	var conns []*amqp.Connection
	var group sync.WaitGroup
	end := func() (err error) {
		for _, c := range conns {
			err = errors.Join(err, c.Close())
		}
		group.Wait()
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	for range 2 {
		c, err := amqp.Dial(url)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	commands, err := rabbitQueue(conns[1], "commands")
	if err != nil {
		return nil, err
	}
	results, err := rabbitQueue(conns[0], "results")
	if err != nil {
		return nil, err
	}
	publishers := make([]*amqp.Channel, 1+rabbitChannels)
	for i := range publishers {
		if publishers[i], err = conns[min(i, 1)^1].Channel(); err != nil { // the first is the receiver's
			return nil, err
		}
		if err := publishers[i].Confirm(false); err != nil {
			return nil, err
		}
	}
	group.Go(func() {
		for m := range commands {
			confirmed, err := rabbitPublish(publishers[0], "results", m.Body)
			if err != nil {
				return // the connection's end
			}
			group.Go(func() {
				if confirmed.Wait() {
					_ = m.Ack(false)
				}
			})
		}
	})
	var waiting calls
	group.Go(func() {
		for m := range results {
			_ = m.Ack(false)
			waiting.answered(m.Body)
		}
	})
	return &session{close: end, call: func(n int) error {
		return waiting.call(n, s, func(m []byte) error {
			confirmed, err := rabbitPublish(publishers[1+n%rabbitChannels], "commands", m)
			if err == nil && !confirmed.Wait() {
				err = errors.New("the broker does not confirm a message")
			}
			return err
		})
	}}, nil
}

func rabbitQueue(c *amqp.Connection, name string) (<-chan amqp.Delivery, error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, err
	}
	if _, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		return nil, err
	}
	if err := ch.Qos(2000, 0, false); err != nil {
		return nil, err
	}
	return ch.Consume(name, "", false, false, false, false, nil)
}

func rabbitPublish(ch *amqp.Channel, queue string, m []byte) (*amqp.DeferredConfirmation, error) {
	return ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: m})
}
