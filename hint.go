package steward

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

const (
	maxRunning = 10_000 // commands of which is known that they run
	maxHint    = 1 << 10
	hintToken  = "started"
)

// hint tells the sender of a command that it runs. It is presence, not news:
// nothing keeps it, and it may be lost.
type hint struct {
	Node      string    `json:"node"` // where it runs
	ID        uuid.UUID `json:"id"`
	StartedAt time.Time `json:"startedAt"`
}

// hintSubject is where node hears which of its commands run.
func (n *Node) hintSubject(node string) string {
	return n.cfg.Prefix + "." + hintToken + "." + node
}

// tellBegun tells the sender of m that it runs, again if that had asked.
func (n *Node) tellBegun(m *message.Message, since time.Time, again bool) {
	if !again {
		n.log.Info("started", "id", m.ID, "from", m.FromNode, "method", m.Method)
	}
	c := n.conn.Load()
	if c == nil || !n.serving() {
		return
	}
	b, err := json.Marshal(hint{n.cfg.Name, m.ID, since})
	if err == nil {
		err = c.Post(n.hintSubject(m.FromNode), b)
	}
	if err != nil {
		n.log.Debug("a hint was not sent", "id", m.ID, "err", err)
	}
}

// tellAgain is for a sender that asks for messages which run.
func (n *Node) tellAgain(l store.Lane, ids []uuid.UUID) {
	n.mu.Lock()
	w := n.workers[l.Key()]
	n.mu.Unlock()
	if w != nil {
		w.Again(ids)
	}
}

// hearBegun takes a hint from the wire. It keeps it if it is of a command of
// this node that went to who says it, and has not ended.
func (n *Node) hearBegun(r transport.Received) {
	var x hint
	if len(r.Data) > maxHint || json.Unmarshal(r.Data, &x) != nil || x.StartedAt.IsZero() {
		n.log.Debug("a hint that cannot be read", "subject", r.Subject)
		return
	}
	name, _, incoming, err := n.db.PlaceOf(x.ID)
	if err != nil || incoming {
		return // forgotten, or none of ours
	}
	if s, err := subject.Parse(name); err != nil || s.Node != x.Node || s.Kind != subject.CommandACK {
		return
	}
	n.mu.Lock()
	_, known := n.running[x.ID]
	if room := len(n.running) < maxRunning; known || room {
		n.running[x.ID] = x.StartedAt
	}
	n.mu.Unlock()
	// Only now: it may have ended while this was on its way.
	if ended, err := n.db.HasEnded(x.ID); err != nil || ended {
		n.mu.Lock()
		delete(n.running, x.ID)
		n.mu.Unlock()
		return
	}
	if !known {
		n.log.Info("started", "id", x.ID, "to", x.Node, "startedAt", x.StartedAt)
	}
}

// showRunning makes r started, if its receiver said so.
func (n *Node) showRunning(r *store.Record) {
	if r.State != store.Waiting && r.State != store.StateTaken || r.Message == nil || r.FromNode != n.cfg.Name {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, runs := n.running[r.Message.ID]; runs {
		r.State, r.StartedAt = store.Started, at
	}
}
