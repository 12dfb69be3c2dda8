package steward

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// find is the one message that key stands for: see store.DB.Find.
func (n *Node) find(key string) (uuid.UUID, error) {
	ids, err := n.db.Find(key)
	if err != nil {
		return uuid.Nil, told(err)
	}
	if len(ids) > 1 {
		return uuid.Nil, fmt.Errorf("%w: %q stands for %v", api.ErrAmbiguous, key, ids)
	}
	return ids[0], nil
}

// told says an error of the journal in the words of the API.
func told(err error) error {
	for from, to := range map[error]error{
		store.ErrNotFound: api.ErrNotFound, store.ErrTooLate: api.ErrTooLate, store.ErrFull: api.ErrFull, store.ErrClosed: api.ErrStopping,
		store.ErrKey: message.ErrInvalid, store.ErrKeyUsed: api.ErrConflict,
		errorkernel.ErrNoProcess: api.ErrNotFound, errorkernel.ErrLives: api.ErrConflict, errorkernel.ErrStopped: api.ErrStopping,
	} {
		if errors.Is(err, from) {
			return fmt.Errorf("%w: %w", to, err)
		}
	}
	return err
}

// Messages lists what this node sent and received, newest first.
func (n *Node) Messages(_ context.Context, f store.Filter) ([]store.Record, error) {
	f.Live = n.live
	list, err := n.db.Records(f)
	return list, told(err)
}

// live adds what the journal does not know: what a publisher knows of a message
// that it is trying to deliver, and what a receiver said of one that runs.
func (n *Node) live(r *store.Record) {
	n.showRunning(r)
	if r.State != store.Waiting || r.Message == nil {
		return
	}
	if p := n.publisherOf(r.Message.Subject(n.cfg.Prefix)); p != nil && r.FromNode == n.cfg.Name {
		r.Attempts = max(r.Attempts, p.Attempts(r.Message.Place))
		r.LastError = p.LastError()
	}
}

// publisherOf is nil where nothing was sent on s since the node started.
func (n *Node) publisherOf(s subject.Subject) *process.Publisher {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.publishers[s.String()]
}

// attempts says how often messages of s were tried in this life of the node.
func (n *Node) attempts(s subject.Subject) func(message.Place) int {
	if p := n.publisherOf(s); p != nil {
		return p.Attempts
	}
	return func(message.Place) int { return 0 }
}

// Message is what is known of a message: a whole id, a beginning or an end of
// one, or "last". Errors wrap api.ErrNotFound or api.ErrAmbiguous.
func (n *Node) Message(_ context.Context, key string) (store.Record, error) {
	id, err := n.find(key)
	if err != nil {
		return store.Record{}, err
	}
	return n.record(id)
}

func (n *Node) record(id uuid.UUID) (store.Record, error) {
	r, err := n.db.Record(id)
	n.live(&r)
	return r, told(err)
}

// Do submits m and returns it when it has ended; if ctx ends first, its record
// so far and ctx's error: m goes on. Errors of Submit mean that it was not
// accepted.
func (n *Node) Do(ctx context.Context, m *message.Message) (store.Record, error) {
	if err := n.prepare(m); err != nil {
		return store.Record{}, err
	}
	ended := n.await(m.ID) // before it can end
	if err := n.commit(ctx, []*message.Message{m}, false); err != nil {
		n.unwait(m.ID, ended)
		return store.Record{}, err
	}
	select {
	case c := <-ended:
		return c.Record(m), nil
	case <-ctx.Done():
		n.unwait(m.ID, ended)
		r, err := n.record(m.ID)
		return r, errors.Join(ctx.Err(), err)
	}
}

// Wait returns the message when it has ended; if ctx ends first, ctx's error.
func (n *Node) Wait(ctx context.Context, key string) (store.Record, error) {
	id, err := n.find(key)
	if err != nil {
		return store.Record{}, err
	}
	changed := n.await(id)
	defer n.unwait(id, changed)
	ended, err := n.db.HasEnded(id) // after the waiter stands: no change slips between
	if err != nil {
		return store.Record{}, told(err)
	}
	if !ended {
		select {
		case <-changed:
		case <-ctx.Done():
			r, err := n.record(id)
			return r, errors.Join(ctx.Err(), err)
		}
	}
	return n.record(id)
}

// await is told when message id ends.
func (n *Node) await(id uuid.UUID) chan store.Change {
	c := make(chan store.Change, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiters[id] = append(n.waiters[id], c)
	return c
}

func (n *Node) unwait(id uuid.UUID, c chan store.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiters[id] = slices.DeleteFunc(n.waiters[id], func(x chan store.Change) bool { return x == c }); len(n.waiters[id]) == 0 {
		delete(n.waiters, id)
	}
}

// changed is told after each commit which records changed. It must not block.
func (n *Node) changed(list []store.Change) {
	files := false
	n.mu.Lock()
	for _, c := range list {
		if c.Ended() {
			for _, w := range n.waiters[c.ID] {
				w <- c // it has room for the one that it gets
			}
			delete(n.waiters, c.ID)
			delete(n.running, c.ID)
		}
		if c.ByFile {
			n.queueResult(c.ID)
			files = true
		}
	}
	n.mu.Unlock()
	if files {
		select {
		case n.filesWake <- struct{}{}:
		default:
		}
	}
}

// Cancel withdraws a message. Where no attempt of it can have been accepted it
// ends at once; else the receiver is asked, and its answer decides. The error
// wraps api.ErrTooLate if the message has ended.
func (n *Node) Cancel(_ context.Context, key string) (store.Record, error) {
	id, err := n.find(key)
	if err != nil {
		return store.Record{}, err
	}
	name, place, incoming, err := n.db.PlaceOf(id)
	if err != nil {
		return store.Record{}, told(err)
	}
	r, err := n.record(id)
	if err != nil {
		return r, err
	}
	if incoming || r.State == store.Ended {
		return r, fmt.Errorf("%w: message %s is %s (%s)", api.ErrTooLate, id, r.State, r.Outcome)
	}
	s, err := subject.Parse(name)
	if err != nil {
		return r, err
	}
	ended, err := n.db.GiveUp(s, []message.Place{place}, ack.Cancelled, "cancelled by the operator", n.attempts(s))
	if err != nil {
		return r, told(err)
	}
	n.settled(ended)
	n.publish(s)
	return n.record(id)
}

// Resend submits a message again, as a new one that names the old.
func (n *Node) Resend(ctx context.Context, key string) (store.Record, error) {
	old, err := n.Message(ctx, key)
	if err != nil {
		return old, err
	}
	if old.FromNode != n.cfg.Name {
		return old, fmt.Errorf("%w: message %s came from %s: resend it there; to ask the same of another node, submit a message of your own", api.ErrConflict, old.ID, old.FromNode)
	}
	if old.Message.RoadsOwn() {
		return old, fmt.Errorf("%w: message %s is a %s, the road's own: nobody submits it again", message.ErrInvalid, old.ID, old.Method)
	}
	m := old.Message.Repeat(time.Now())
	if err := n.Submit(ctx, m); err != nil {
		return old, told(err)
	}
	return n.record(m.ID)
}

// Nodes lists the nodes that this one has heard of, and itself, by name.
func (n *Node) Nodes(context.Context) ([]store.Peer, error) {
	waiting := map[string]int{}
	for name, k := range n.db.WaitingFor() {
		if s, err := subject.Parse(name); err == nil {
			waiting[s.Node] += k
		}
	}
	h := n.hello()
	self := store.Peer{
		Name: n.cfg.Name, StoreID: n.db.ID(), Epoch: n.db.Epoch(), Version: h.Version, OS: h.OS, Arch: h.Arch,
		StartedAt: n.opened, Methods: h.Methods, LastSeen: time.Now(), Online: true,
	}
	list := []store.Peer{self}
	n.mu.Lock()
	for _, p := range n.peers {
		p.Online = n.isOnline(p)
		list = append(list, p)
	}
	n.mu.Unlock()
	for name := range waiting {
		if !slices.ContainsFunc(list, func(p store.Peer) bool { return p.Name == name }) {
			list = append(list, store.Peer{Name: name})
		}
	}
	for i := range list {
		list[i].Waiting = waiting[list[i].Name]
	}
	slices.SortFunc(list, func(a, b store.Peer) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Processes lists the node's processes.
func (n *Node) Processes() []errorkernel.ProcessStatus { return n.kernel.Processes() }

// RestartProcess starts a process that the error kernel had terminated.
func (n *Node) RestartProcess(name string) error { return told(n.kernel.RestartProcess(name)) }

// Failures lists what the error kernel kept, newest first.
func (n *Node) Failures(_ context.Context, f api.FailureFilter) (list []errorkernel.Failure, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	var bad error
	err = n.db.Failures(func(_ string, record []byte) bool {
		x, err := decodeFailure(record)
		if err != nil {
			bad = err
			return false
		}
		if (f.Class == "" || f.Class == x.Class) && (f.Severity == "" || f.Severity == x.Severity) && (f.Node == "" || f.Node == x.Node) &&
			(f.Since.IsZero() || !x.Last.Before(f.Since)) && (!f.Unresolved || x.Resolved.IsZero()) {
			list = append(list, x)
		}
		return len(list) < limit
	})
	return list, told(errors.Join(err, bad))
}

// ResolveFailure marks a failure as seen to; "all" marks all.
func (n *Node) ResolveFailure(_ context.Context, id string) error {
	var found []errorkernel.Failure
	err := n.db.Failures(func(key string, record []byte) bool {
		f, err := decodeFailure(record)
		if err == nil && f.Resolved.IsZero() && (id == "all" || key == id || len(id) >= 8 && strings.HasPrefix(key, id)) {
			found = append(found, f)
		}
		return true
	})
	if err != nil {
		return told(err)
	}
	if len(found) == 0 && id != "all" {
		return fmt.Errorf("%w: no unresolved failure %q", api.ErrNotFound, id)
	}
	for _, f := range found {
		f.Resolved = time.Now()
		if err := n.db.PutFailure(f.ID, f.Encode()); err != nil {
			return told(err)
		}
	}
	return nil
}

// Status is the node at a glance.
func (n *Node) Status(context.Context) (api.Status, error) {
	c := n.db.Counts()
	s := api.Status{
		Node: n.cfg.Name, Version: n.cfg.Version, StoreID: n.db.ID().String(), Epoch: n.db.Epoch().String(), Since: n.opened,
		Data: n.cfg.Dir, Central: n.cfg.Central, Broker: api.Broker{Connected: n.online(), Embedded: n.broker != nil, URL: n.brokerURL()},
		Backlog: api.Backlog{Waiting: c.Waiting, AwaitingResult: c.Awaiting, Cancelling: c.Voids, Inbox: c.Inbox},
		Counters: api.Counters{
			Since: n.opened, Accepted: n.accepted.Load(), Received: n.received.Load(), Retries: n.retries.Load(), Failures: n.failures.Load(), Outcomes: map[ack.Outcome]uint64{},
		},
	}
	s.Twin = n.twinStatus()
	if d := n.db.Disk(); d.Full == "" {
		s.Disk = api.Disk{Free: d.Free, Reserve: d.Reserve}
	} else {
		s.Disk = api.Disk{Free: d.Free, Reserve: d.Reserve, Full: diskFull(d), Since: d.Since}
	}
	if conn := n.conn.Load(); conn != nil {
		s.Broker.LastError = conn.LastError()
	}
	if abs, err := filepath.Abs(n.cfg.Dir); err == nil {
		s.Data = abs
	}
	if n.cfg.Insecure {
		s.Insecure = "whoever reaches the broker can run commands on this node"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.Backlog.Started = len(n.running)
	for o, k := range n.outcomes {
		s.Counters.Outcomes[o] = k
	}
	return s, nil
}
