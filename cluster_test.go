package steward_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// cluster is a broker in process and nodes around it, in virtual time.
type cluster struct {
	t      *testing.T
	broker *server.Server
	links  map[string]*wireTo
	dirs   map[string]string
	nodes  map[string]*running
}

// inCluster runs f; the nodes that it leaves running are stopped after it.
func inCluster(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		if !s.ReadyForConnections(time.Second) {
			t.Fatal("broker not ready")
		}
		c := &cluster{t: t, broker: s, links: map[string]*wireTo{}, dirs: map[string]string{}, nodes: map[string]*running{}}
		defer func() {
			for name := range c.nodes {
				c.stop(name)
			}
			s.Shutdown()
			s.WaitForShutdown()
		}()
		f(t, c)
	})
}

// start runs the node cfg.Name with methods of its own; it keeps folder and link
// when it is started again.
func (c *cluster) start(cfg steward.Config, methods ...process.Method) *running {
	c.t.Helper()
	if c.dirs[cfg.Name] == "" {
		c.dirs[cfg.Name], c.links[cfg.Name] = c.t.TempDir(), &wireTo{s: c.broker}
	}
	cfg.Dir, cfg.Headless = c.dirs[cfg.Name], true
	if cfg.Central == "" {
		cfg.Central = "central"
	}
	cfg.Options = append(cfg.Options, nats.InProcessServer(c.links[cfg.Name]))
	cfg.Log = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelError + 1}))
	n, err := steward.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range methods {
		if err := n.Handle(m); err != nil {
			c.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	r := &running{n, cancel, make(chan error, 1)}
	go func() { r.done <- n.Run(ctx) }()
	c.nodes[cfg.Name] = r
	return r
}

func (c *cluster) stop(name string) {
	c.t.Helper()
	c.nodes[name].stop(c.t)
	delete(c.nodes, name)
}

// submit accepts at n one command of method to node for each of data, and returns their ids.
func submit(t *testing.T, n *running, to, method string, data ...string) []string {
	t.Helper()
	ms := make([]*message.Message, len(data))
	for i, d := range data {
		ms[i] = &message.Message{ToNode: to, Kind: subject.CommandACK, Method: method, Data: []string{d}}
	}
	if err := n.Submit(t.Context(), ms...); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(ms))
	for i, m := range ms {
		ids[i] = m.ID.String()
	}
	return ids
}

// ended waits for the outcome of a message.
func ended(t *testing.T, n *running, id string) store.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	r, err := n.Wait(ctx, id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return r
}
