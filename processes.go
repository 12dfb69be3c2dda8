package steward

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// ensure lets the kernel run a process that lives while it has work.
func (n *Node) ensure(name string, run func(context.Context) error) {
	if err := n.kernel.Ensure(name, run); err != nil && !errors.Is(err, errorkernel.ErrStopped) {
		n.log.Debug("a process stays down", "process", name, "err", err)
	}
}

// publish finds or starts the publisher of s, and wakes it. The goroutine ends
// when it is idle; what it knows stays, a few hundred bytes for a subject.
func (n *Node) publish(s subject.Subject) {
	name := s.String()
	n.mu.Lock()
	p := n.publishers[name]
	if p == nil {
		p = process.NewPublisher(&process.Publisher{
			Subject: s, Node: n.cfg.Name, Store: n.db, Conn: wire{n}, Policy: n.cfg.Policy, Idle: n.cfg.Idle, Log: n.log,
			First: func(list []store.Entry) error { return n.msgs.append(name, list) }, Sent: n.sent, Settled: n.settled, Trouble: n.trouble,
		})
		n.publishers[name] = p
	}
	n.mu.Unlock()
	p.Wake()
	n.ensure("publish:"+name, p.Run)
}

// maxUnknown is how many subjects a node refuses by name whose method it does not
// have. Beyond, strangers' inventions are not answered.
const maxUnknown = 1024

func (n *Node) subscriber(s subject.Subject) *process.Subscriber {
	name := s.String()
	n.mu.Lock()
	sub, known := n.subscribers[name], n.methods[s.Method] != nil || s.Method == message.MethodResult
	if sub == nil && (known || n.unknown < maxUnknown) {
		if !known {
			n.unknown++
		}
		sub = process.NewSubscriber(&process.Subscriber{
			Subject: s, Node: n.cfg.Name, Store: n.db, Method: n.methods[s.Method], Allow: n.allow(s.Method), Log: n.log,
			Stop: n.stop, Work: n.work, Queued: n.queued, Handled: n.handled, Settled: n.settled, Requeue: n.requeue, Running: n.tellAgain, Alone: n.alone, Room: &n.room, Crowded: func() { n.crowded(name) }, Panicked: func(p *process.Panicked) { n.checkPanicked(name, p) }, Received: func(k int) { n.received.Add(uint64(k)) },
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
	if err := n.db.Again(ms...); err != nil {
		return err
	}
	n.queued(ms)
	return nil
}

// work finds or starts the worker of a lane, and wakes it.
func (n *Node) work(l store.Lane) {
	key := l.Key()
	n.mu.Lock()
	w := n.workers[key]
	if w == nil {
		w = process.NewWorker(&process.Worker{
			Lane: l, Method: n.methods[l.Subject.Method], Node: n.cfg.Name, Store: n.db, Idle: n.cfg.Idle,
			Stop: n.stop, Log: n.log, Queued: n.queued, Trouble: n.handlerTrouble(l), Handled: n.handled, Begun: n.tellBegun,
		})
		n.workers[key] = w
	}
	n.mu.Unlock()
	w.Wake()
	n.ensure(processOf(l), func(ctx context.Context) error { return n.blame(l, w.Run(ctx)) })
}
