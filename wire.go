package steward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
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
	b, err := c.Request(ctx, s.String(), h, data)
	return b, lost(err)
}

// Publish is process.Conn's.
func (w wire) Publish(ctx context.Context, s subject.Subject, h process.Header, data []byte) error {
	c := w.n.conn.Load()
	if c == nil {
		return process.ErrOffline
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
		URLs: urls, Name: "steward/" + n.cfg.Name + "/" + n.cfg.Version, Changed: n.connected, Options: opts,
	})
	if err != nil {
		n.disconnect()
		return err
	}
	n.conn.Store(c)
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

// connected is told when the broker comes and goes.
func (n *Node) connected(on bool, err error) {
	if !on {
		if err != nil {
			n.log.Warn("broker lost; messages are accepted and wait", "err", err)
			n.report(errorkernel.Failure{Class: errorkernel.Transport, Severity: errorkernel.Warning, Cause: "broker lost: " + err.Error()})
		}
		return
	}
	n.log.Info("connected to broker")
	n.wakeAll("", uuid.Nil, false)
	n.greet()
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

const (
	maxSubjects = 1024 // subjects that a node serves; beyond, strangers' inventions are not answered
	helloEvery  = time.Minute
	onlineFor   = 150 * time.Second
)

// listen takes whatever comes for this node, and hears central's hello.
func (n *Node) listen(context.Context) error {
	c := n.conn.Load()
	if c == nil {
		return nil
	}
	if err := c.Subscribe(subject.Inbound(n.cfg.Prefix, n.cfg.Name), n.offer); err != nil {
		return err
	}
	return c.Subscribe(n.cfg.Prefix+".hello.*", n.hear)
}

// unlisten ends that, so that senders need not wait for an answer of a node that stops.
func (n *Node) unlisten() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c := n.conn.Load(); c != nil {
		if err := c.Unsubscribe(ctx); err != nil {
			n.log.Debug("the broker did not hear that this node stops", "err", err)
		}
	}
}

// offer hands a request to the subscriber of its subject. It must not block.
func (n *Node) offer(r transport.Received) {
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
	if !sub.Offer(process.Request{Subject: s, Header: r.Header, Data: r.Data, Respond: r.Respond}) {
		n.report(errorkernel.Failure{Class: errorkernel.Transport, Severity: errorkernel.Warning, Subject: r.Subject, Cause: "more requests than can wait: some were not answered, their senders come again"})
	}
}

func (n *Node) subscriber(s subject.Subject) *process.Subscriber {
	name := s.String()
	n.mu.Lock()
	sub := n.subscribers[name]
	if sub == nil && len(n.subscribers) < maxSubjects {
		sub = process.NewSubscriber(&process.Subscriber{
			Subject: s, Node: n.cfg.Name, Store: n.db, Method: n.methods[s.Method], Allow: n.allow(s.Method), Log: n.log,
			Stop: n.stop, Work: n.work, Queued: n.queued, Handled: n.handled, Settled: n.settled, Refused: n.refused(s), Requeue: n.requeue, Received: func(k int) { n.received.Add(uint64(k)) },
		})
		n.subscribers[name] = sub
		defer n.ensure("receive:"+name, sub.Run)
	}
	n.mu.Unlock()
	return sub
}

// allow decides from whom this node takes a method; nil means from everybody.
func (n *Node) allow(name string) func(string) error {
	list, limited := n.cfg.Allow[name]
	if !limited || slices.Contains(list, "*") {
		return nil
	}
	return func(from string) error {
		if slices.Contains(list, from) {
			return nil
		}
		return fmt.Errorf("%s does not take %s from %s: its configuration allows %v", n.cfg.Name, name, from, list)
	}
}

// requeue sends results once more, as new messages: their first journey is over.
func (n *Node) requeue(ms ...*message.Message) error {
	now := time.Now()
	for _, m := range ms {
		expires := m.Expires
		n.db.Fresh(m, now)
		m.Expires = expires
	}
	if err := n.db.Accept(context.Background(), ms, false); err != nil {
		return err
	}
	n.queued(ms)
	return nil
}

// refused tells of a message to s that was rejected here.
func (n *Node) refused(s subject.Subject) func(store.Item, string) {
	return func(item store.Item, reason string) {
		n.report(errorkernel.Failure{
			Class: errorkernel.Rejection, Severity: errorkernel.Warning, Subject: s.String(), Message: item.ID.String(),
			Cause: fmt.Sprintf("refused a message of %s: %s", item.From, reason),
		})
	}
}

// sayHello tells central that this node is there: at once, and every minute, with
// jitter so that a fleet does not come in step.
func (n *Node) sayHello(ctx context.Context) error {
	for {
		n.greet()
		select {
		case <-time.After(jitter(helloEvery)):
		case <-ctx.Done():
			return nil
		}
	}
}

// greet publishes a hello. It is presence, not news: nothing keeps it.
func (n *Node) greet() {
	c := n.conn.Load()
	if c == nil || !c.Connected() {
		return
	}
	m := &message.Message{ToNode: n.central(), Kind: subject.EventNACK, Method: message.MethodSayHello, Data: n.hello().Data(), FromNode: n.cfg.Name, ID: uuid.Must(uuid.NewV7()), Time: time.Now()}
	m.Expires, m.Place = m.Time.Add(2*helloEvery), message.Place{Epoch: n.db.Epoch(), Seq: 1}
	event, err := m.Encode(n.cfg.Prefix)
	if err != nil {
		return
	}
	to := m.Subject(n.cfg.Prefix).String()
	if n.central() == n.cfg.Name { // everybody waits for central
		to = n.cfg.Prefix + ".hello." + n.cfg.Name
	}
	ctx, cancel := context.WithTimeout(n.stop, 2*time.Second)
	defer cancel()
	if err := c.Publish(ctx, to, process.Header{"Content-Type": {message.ContentEvent}}, event); err != nil {
		n.log.Debug("hello was not sent", "err", err)
	}
}

func (n *Node) central() string {
	if n.cfg.Central == "" {
		return n.cfg.Name
	}
	return n.cfg.Central
}

func (n *Node) hello() method.Hello {
	names := make([]string, 0, len(n.methods))
	for name := range n.methods {
		names = append(names, name)
	}
	slices.Sort(names)
	return newHello(n.cfg.Version, n.opened, names, n.db.ID().String(), n.db.Epoch().String())
}

// hear takes a hello from the wire.
func (n *Node) hear(r transport.Received) {
	e, err := message.DecodeStored(r.Data)
	if err != nil {
		n.log.Debug("a hello that cannot be read", "subject", r.Subject, "err", err)
		return
	}
	n.helloMessage(e)
}

// helloMessage notes who is there, and wakes what waits for it.
func (n *Node) helloMessage(m *message.Message) {
	h, err := method.DecodeHello(m.Data)
	if err != nil {
		n.log.Debug("a hello that cannot be read", "from", m.FromNode, "err", err)
	}
	if err != nil || m.FromNode == n.cfg.Name {
		n.log.Debug("a hello that is not heard", "from", m.FromNode, "err", err)
		return
	}
	n.mu.Lock()
	p, known := n.peers[m.FromNode]
	was := p
	p.Name, p.Version, p.OS, p.Arch, p.StartedAt, p.Methods = m.FromNode, h.Version, h.OS, h.Arch, h.StartedAt, h.Methods
	p.LastSeen = time.Now()
	if id, err := uuid.Parse(h.StoreID); err == nil {
		p.StoreID = id
	}
	if epoch, err := uuid.Parse(h.Epoch); err == nil {
		p.Epoch = epoch
	}
	if known || len(n.peers) < maxPeers {
		n.peers[p.Name] = p
	}
	n.mu.Unlock()
	if !known || was.Epoch != p.Epoch {
		n.log.Info("hello", "from", p.Name, "version", p.Version, "os", p.OS, "arch", p.Arch)
		n.greetBack(p.Name, known)
	}
	if err := n.db.PutPeer(p); err != nil {
		n.log.Warn("a peer was not kept", "peer", p.Name, "err", err)
	}
	n.wakeAll(p.Name, p.StoreID, was.Epoch != p.Epoch)
}

const maxPeers = 100_000
