package steward

import (
	"bytes"
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

const (
	helloEvery  = time.Minute
	onlineFor   = 150 * time.Second
	greetSpread = 500 * time.Millisecond
	maxPeers    = 100_000
)

// sayHello tells central that this node is there: at once, and every minute, with
// jitter so that a fleet does not come in step; and in the end that it leaves.
func (n *Node) sayHello(ctx context.Context) error {
	for {
		n.greet()
		select {
		case <-time.After(jitter(helloEvery)):
		case <-ctx.Done():
			n.fallSilent() // first: who believes the goodbye finds nobody
			n.leaving.Store(true)
			n.greet()
			return nil
		}
	}
}

// greet publishes a hello. It is presence, not news: nothing keeps it.
func (n *Node) greet() {
	c := n.conn.Load()
	if c == nil || !c.Connected() || !n.serving() {
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
	return method.Hello{
		Version: n.cfg.Version, OS: runtime.GOOS, Arch: runtime.GOARCH, StartedAt: n.opened, Methods: names,
		StoreID: n.db.ID().String(), Epoch: n.db.Epoch().String(), Leaving: n.leaving.Load(),
	}
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
	if err != nil || m.FromNode == n.cfg.Name {
		n.log.Debug("a hello that is not heard", "from", m.FromNode, "err", err)
		return
	}
	n.mu.Lock()
	was, known := n.peers[m.FromNode]
	if !known && len(n.peers) >= maxPeers || isStale(h, was) {
		n.mu.Unlock()
		n.log.Debug("a hello that is not heard", "from", m.FromNode, "known", known)
		return
	}
	p := met(h, was)
	p.Name = m.FromNode
	n.peers[p.Name] = p
	n.mu.Unlock()
	if h.Leaving {
		n.log.Info("goodbye", "from", p.Name)
	} else if !known || was.Epoch != p.Epoch {
		n.log.Info("hello", "from", p.Name, "version", p.Version, "os", p.OS, "arch", p.Arch)
		n.greetBack(p.Name, known)
	}
	if err := n.db.PutPeer(p); err != nil {
		n.log.Warn("a peer was not kept", "peer", p.Name, "err", err)
	}
	if !h.Leaving {
		n.wakeAll(p.Name, p.StoreID, was.Epoch != p.Epoch)
	}
}

// isStale reports whether h tells nothing of p's present: the goodbye of a life
// before the one that p is in, or a late hello of the life that has left.
func isStale(h method.Hello, p store.Peer) bool {
	epoch, err := uuid.Parse(h.Epoch)
	if err != nil {
		return false // an operator's
	}
	if h.Leaving {
		return bytes.Compare(epoch[:], p.Epoch[:]) < 0
	}
	return !p.LeftAt.IsZero() && epoch == p.Epoch
}

// met is what h adds to what was known of its node.
func met(h method.Hello, p store.Peer) store.Peer {
	p.Version, p.OS, p.Arch, p.StartedAt, p.Methods = h.Version, h.OS, h.Arch, h.StartedAt, h.Methods
	p.LastSeen, p.LeftAt = time.Now(), time.Time{}
	if h.Leaving {
		p.LeftAt = p.LastSeen
	}
	if id, err := uuid.Parse(h.StoreID); err == nil {
		p.StoreID = id
	}
	if epoch, err := uuid.Parse(h.Epoch); err == nil {
		p.Epoch = epoch
	}
	return p
}

// greetBack answers the first hello of a life: central's by all nodes, a new
// node's by central. It may have been sent before the other side listened.
func (n *Node) greetBack(to string, known bool) {
	if to != n.central() && (known || n.central() != n.cfg.Name) {
		return
	}
	err := n.kernel.Ensure("greet", func(ctx context.Context) error {
		select {
		case <-time.After(rand.N(greetSpread)): // a fleet must not answer in step
			n.greet()
		case <-ctx.Done():
		}
		return nil
	})
	if err != nil {
		n.log.Debug("a greeting was not sent", "err", err)
	}
}

// jitter is d, give or take a tenth.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
