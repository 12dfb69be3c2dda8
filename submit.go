package steward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Submit accepts messages: it fills in what the node knows and returns nil when
// they are durable here. All of them are accepted, in order, or none. Errors wrap
// message.ErrInvalid, or store.ErrFull.
func (n *Node) Submit(ctx context.Context, ms ...*message.Message) error {
	return n.accept(ctx, ms, false)
}

func (n *Node) accept(ctx context.Context, ms []*message.Message, byFile bool, notes ...store.Note) error {
	if err := n.prepare(ms...); err != nil {
		return err
	}
	return n.commit(ctx, ms, byFile, notes...)
}

// SubmitOnce is Submit for what may be a repeat: if s stands for a submission
// already nothing is accepted, and earlier are its messages. Errors wrap also
// store.ErrKey or store.ErrKeyUsed.
func (n *Node) SubmitOnce(ctx context.Context, s store.Submission, ms ...*message.Message) (earlier []uuid.UUID, err error) {
	if err := n.prepare(ms...); err != nil {
		return nil, err
	}
	earlier, err = n.db.AcceptOnce(ctx, s, ms)
	if err == nil && earlier == nil {
		n.took(ctx, ms, false)
	}
	return earlier, err
}

// prepare checks messages and fills in what the node knows.
func (n *Node) prepare(ms ...*message.Message) error {
	now := time.Now()
	for i, m := range ms {
		if err := n.check(m); err != nil {
			return fmt.Errorf("message %d: %w", i+1, err)
		}
		n.db.Fresh(m, now)
	}
	return nil
}

// commit makes prepared messages durable, and wakes who sends them.
func (n *Node) commit(ctx context.Context, ms []*message.Message, byFile bool, notes ...store.Note) error {
	if err := n.db.Accept(ctx, ms, byFile, notes...); err != nil {
		return err
	}
	n.took(ctx, ms, byFile)
	return nil
}

// took counts what was accepted, and wakes who sends it.
func (n *Node) took(ctx context.Context, ms []*message.Message, byFile bool) {
	n.accepted.Add(uint64(len(ms)))
	n.metrics.Accepted(len(ms))
	n.queued(ms)
	for _, m := range ms {
		if level := levelOf(m.Method); n.log.Enabled(ctx, level) {
			n.log.Log(ctx, level, "accepted", "id", m.ID, "to", m.ToNode, "method", m.Method)
		}
		if byFile {
			n.changed([]store.Change{{ID: m.ID, ByFile: true}})
		}
	}
}

// check refuses what can be known here never to succeed.
func (n *Node) check(m *message.Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Method == message.MethodResult {
		return fmt.Errorf("%w: method Result is the road's own: nobody submits it", message.ErrInvalid)
	}
	size := 1024
	for _, d := range m.Data {
		size += len(d) + 3
	}
	limit := message.MaxBodyBytes
	if c := n.conn.Load(); c != nil && c.MaxPayload() > 0 {
		limit = min(limit, c.MaxPayload())
	}
	if size > limit {
		return fmt.Errorf("%w: data has about %d bytes: the broker takes %d at most", message.ErrInvalid, size, limit)
	}
	known := n.methods[m.Method]
	if known == nil {
		return nil // the receiver may have what we have not
	}
	if !known.Takes(m.Kind) {
		return fmt.Errorf("%w: commandOrEvent is %s: method %s takes %v", message.ErrInvalid, m.Kind, m.Method, known.Kinds)
	}
	err := known.Refuses(m)
	if p, ok := errors.AsType[*process.Panicked](err); ok {
		n.checkPanicked(m.Subject(n.cfg.Prefix).String(), p)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", message.ErrInvalid, err)
	}
	return nil
}

// vet is check for what operators submit, by file or by the API: they are told at
// once where the receiver is known not to have the method.
func (n *Node) vet(m *message.Message) error {
	if err := n.check(m); err != nil {
		return err
	}
	if m.ToNode == n.cfg.Name {
		if n.methods[m.Method] == nil {
			return fmt.Errorf("%w: method is %q: this node has no such method", message.ErrInvalid, m.Method)
		}
		return nil
	}
	n.mu.Lock()
	p, known := n.peers[m.ToNode]
	n.mu.Unlock()
	if !known || !n.isOnline(p) || len(p.Methods) == 0 || len(p.Methods) >= method.MaxHelloMethods || slices.Contains(p.Methods, m.Method) {
		return nil
	}
	return fmt.Errorf("%w: method is %q: %s has %s", message.ErrInvalid, m.Method, p.Name, strings.Join(p.Methods, ", "))
}

// isOnline: heard of lately, and not gone since.
func (n *Node) isOnline(p store.Peer) bool {
	return n.online() && p.LeftAt.IsZero() && time.Since(p.LastSeen) < onlineFor
}

// queued wakes the publishers of messages that entered the outbox.
func (n *Node) queued(ms []*message.Message) {
	var last subject.Subject
	for _, m := range ms {
		if s := m.Subject(n.cfg.Prefix); s != last {
			last = s
			n.publish(s)
		}
	}
}
