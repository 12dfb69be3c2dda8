package steward

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// wire is the connection as processes see it: it may not be there yet.
type wire struct{ n *Node }

// Request is process.Conn's.
func (w wire) Request(ctx context.Context, s subject.Subject, h process.Header, data []byte) ([]byte, error) {
	c := w.n.conn.Load()
	if c == nil {
		return nil, process.ErrOffline
	}
	if !w.n.serving() {
		return nil, w.n.mute(c)
	}
	b, err := c.Request(ctx, s.String(), h, data)
	return b, lost(err)
}

// Publish is process.Conn's.
func (w wire) Publish(ctx context.Context, s subject.Subject, h process.Header, data []byte) error {
	c := w.n.conn.Load()
	if c == nil {
		return process.ErrOffline
	}
	if !w.n.serving() {
		return w.n.mute(c)
	}
	return lost(c.Publish(ctx, s.String(), h, data))
}

// MaxPayload is process.Conn's.
func (w wire) MaxPayload() int {
	if c := w.n.conn.Load(); c != nil {
		return c.MaxPayload()
	}
	return 0
}

// lost says an error of the transport in the words of the processes.
func lost(err error) error {
	switch {
	case errors.Is(err, transport.ErrNobody):
		return process.ErrNobody
	case errors.Is(err, transport.ErrOffline):
		return process.ErrOffline
	}
	return err
}

// connect starts the embedded broker, if there is one, and the connection.
func (n *Node) connect() error {
	opts := n.cfg.Options
	urls := strings.Join(n.cfg.Brokers, ",")
	if n.cfg.Listen != "" {
		b, err := transport.Listen(n.cfg.Listen, n.cfg.Name, n.cfg.Insecure)
		if err != nil {
			return err
		}
		n.broker = b
		opts = append([]nats.Option{b.Option()}, opts...)
		urls = b.URL()
	}
	if urls == "" && len(opts) == 0 {
		return nil // messages are accepted, and wait
	}
	c, err := transport.Dial(transport.Config{
		URLs: urls, Name: "steward/" + n.cfg.Name + "/" + n.cfg.Version, Changed: n.connected, Unmet: n.unmet, Options: opts,
	})
	if err != nil {
		n.disconnect()
		return err
	}
	n.conn.Store(c)
	n.name.Store(n.newHolder(c))
	return nil
}

func (n *Node) disconnect() {
	if c := n.conn.Load(); c != nil {
		c.Close()
	}
	if n.broker != nil {
		n.broker.Close()
	}
}

func (n *Node) brokerURL() string {
	if n.broker != nil {
		return n.broker.URL()
	}
	if len(n.cfg.Brokers) > 0 {
		urls := make([]string, len(n.cfg.Brokers))
		for i, u := range n.cfg.Brokers {
			urls[i] = transport.Redacted(u)
		}
		return strings.Join(urls, ",")
	}
	return "none"
}

// connected is told when the broker comes and goes.
func (n *Node) connected(on bool, err error) {
	if !on {
		n.unlisten() // or the next connection would bring messages before the node has asked for its name
	}
	if h := n.name.Load(); h != nil {
		h.Link(on)
	}
	if !on {
		if err != nil {
			n.log.Warn("broker lost; messages are accepted and wait", "err", err)
			n.report(errorkernel.Failure{Class: errorkernel.Transport, Severity: errorkernel.Warning, Cause: "broker lost: " + err.Error()})
		}
		return
	}
	n.log.Info("connected to broker")
}

// unmet is told when the broker could not be reached at the start. That is no
// failure, but it may be a mistake.
func (n *Node) unmet(err error) {
	n.log.Warn("no broker yet; messages are accepted and wait", "broker", n.brokerURL(), "err", err)
}

// wakeAll ends the pauses of publishers to node, whose journal is known if it is
// not Nil, or to all; reborn says that node began a new life.
func (n *Node) wakeAll(node string, journal uuid.UUID, reborn bool) {
	var found []*process.Publisher
	n.mu.Lock()
	for name, p := range n.publishers {
		if node == "" || strings.HasPrefix(name, n.cfg.Prefix+"."+node+".") {
			found = append(found, p)
		}
	}
	n.mu.Unlock()
	for _, p := range found {
		p.Hello(journal)
		if reborn {
			p.Reborn()
		}
	}
}

// listen takes whatever comes for this node, and hears central's hello and which
// commands run.
func (n *Node) listen() error {
	n.unlisten()
	c := n.conn.Load()
	var stops []func()
	for s, f := range map[string]func(transport.Received){
		subject.Inbound(n.cfg.Prefix, n.cfg.Name): n.offer,
		n.cfg.Prefix + ".hello.*":                 n.hear,
		n.hintSubject(n.cfg.Name):                 n.hearBegun,
	} {
		stop, err := c.Subscribe(s, f)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
	}
	n.mu.Lock()
	n.inbound = stops
	n.mu.Unlock()
	return nil
}

// unlisten ends that.
func (n *Node) unlisten() {
	n.mu.Lock()
	stops := n.inbound
	n.inbound = nil
	n.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// fallSilent ends it for good, so that senders need not wait for an answer of a
// node that stops. Where the broker cannot be told in time it learns it from the
// connection's end.
func (n *Node) fallSilent() {
	n.unlisten()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c := n.conn.Load(); c != nil && c.Connected() {
		if err := c.Flush(ctx); err != nil {
			n.log.Debug("the broker did not hear that this node stops", "err", err)
		}
	}
}

// offer hands a request to the subscriber of its subject. It must not block.
func (n *Node) offer(r transport.Received) {
	if !n.serving() {
		return // it came with a connection on which nobody asked for the name yet
	}
	s, err := subject.Parse(r.Subject)
	if err != nil {
		return // nothing that steward sends
	}
	if s.Method == message.MethodSayHello && s.Kind == subject.EventNACK && r.Respond == nil {
		n.hear(r)
		return
	}
	sub := n.subscriber(s)
	if sub == nil {
		return
	}
	sub.Offer(process.Request{Subject: s, Header: r.Header, Data: r.Data, Respond: r.Respond})
}
