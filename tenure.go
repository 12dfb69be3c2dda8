package steward

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/tenure"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/process"
)

// nameRoad is the connection as the holder of the name sees it.
type nameRoad struct{ *transport.Conn }

// Listen is tenure.Road's.
func (r nameRoad) Listen(s string, f func([]byte, func([]byte) error)) (func(), error) {
	return r.Subscribe(s, func(m transport.Received) { f(m.Data, m.Respond) })
}

// Ask is tenure.Road's.
func (r nameRoad) Ask(ctx context.Context, s string, data []byte) ([]byte, error) {
	b, err := r.Conn.Ask(ctx, s, data)
	switch {
	case errors.Is(err, transport.ErrNobody):
		return nil, tenure.ErrNobody
	case errors.Is(err, transport.ErrOffline):
		return nil, fmt.Errorf("%w: %w", tenure.ErrOffline, err)
	}
	return b, err
}

// Publish is tenure.Road's.
func (r nameRoad) Publish(ctx context.Context, s string, data []byte) error {
	return r.Conn.Publish(ctx, s, nil, data)
}

// newHolder is who asks for this node's name on c.
func (n *Node) newHolder(c *transport.Conn) *tenure.Holder {
	self := tenure.Claim{Journal: n.db.ID(), Data: n.cfg.Dir, Version: n.cfg.Version, Started: n.opened.Round(0)}
	self.Host, _ = os.Hostname() // for the operator; without one the folder has to do
	if abs, err := filepath.Abs(n.cfg.Dir); err == nil {
		self.Data = abs
	}
	return tenure.NewHolder(&tenure.Holder{
		Prefix: n.cfg.Prefix, Node: n.cfg.Name, Self: self, Road: nameRoad{c}, Log: n.log,
		Change: n.tenureChanged, Met: n.metTwin, Renounce: n.renounce,
	})
}

// tenureChanged begins to serve, or stops. What the node had accepted before it
// knew is worked on in any case: custody does not end with the name.
func (n *Node) tenureChanged(p tenure.Phase, by tenure.Claim) {
	switch p {
	case tenure.Serving:
		if err := n.listen(); err != nil {
			n.report(errorkernel.Failure{Class: errorkernel.Transport, Severity: errorkernel.Critical, Cause: err.Error()})
		}
		n.begin()
		n.wakeAll("", uuid.Nil, false)
		n.greet()
	case tenure.Standby:
		n.unlisten()
		n.report(errorkernel.Failure{Class: errorkernel.Identity, Severity: errorkernel.Critical, Process: "name", Cause: standsBy(n.cfg.Name, by)})
	case tenure.Offline:
		n.unlisten()
	}
	n.begin()
}

// standsBy is what the operator of a node has to know while by serves.
func standsBy(name string, by tenure.Claim) string {
	verb := "serves"
	if by.Since.IsZero() {
		verb = "was started at the same time"
	}
	return fmt.Sprintf("another node %s as %s: %s. This one stands by: it accepts messages, but sends and takes none until that one is gone. Stop one of them, or give it another name",
		verb, name, describe(by))
}

func describe(c tenure.Claim) string {
	since := ""
	if !c.Since.IsZero() {
		since = ", serving since " + c.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("on host %s, data folder %s, version %s, started %s%s, instance %s, journal %s",
		c.Host, c.Data, c.Version, c.Started.UTC().Format(time.RFC3339), since, c.Instance, c.Journal)
}

// metTwin tells, once for each, of a node that asked for this one's name.
func (n *Node) metTwin(c tenure.Claim) {
	key := twinKey{c.Journal, c.Started.UnixNano()}
	n.mu.Lock()
	known := slices.Contains(n.twins, key)
	if !known {
		n.twins = append(n.twins[max(0, len(n.twins)-twinsKept):], key)
	}
	n.mu.Unlock()
	if known {
		return
	}
	n.report(errorkernel.Failure{
		Class: errorkernel.Identity, Severity: errorkernel.Critical, Process: "name",
		Cause: fmt.Sprintf("another node was started as %s: %s. It stands by, and this one goes on. Stop it, or give it another name", n.cfg.Name, describe(c)),
	})
}

const twinsKept = 16

// twinKey tells twins apart whose instances change.
type twinKey struct {
	journal uuid.UUID
	started int64
}

// renounce gives the journal another identity, because twin has the same one.
func (n *Node) renounce(twin tenure.Claim) (uuid.UUID, error) {
	if err := n.db.Renounce(); err != nil {
		return uuid.Nil, err
	}
	n.report(errorkernel.Failure{
		Class: errorkernel.Identity, Severity: errorkernel.Critical, Process: "name",
		Cause: fmt.Sprintf("this journal was cloned: another node has it too (%s). It takes a new identity, %s; what waits in its inbox may have run there, and ends as unknown", describe(twin), n.db.ID()),
	})
	return n.db.ID(), nil
}

// serving reports whether this node may take and send messages.
func (n *Node) serving() bool {
	h := n.name.Load()
	return h != nil && h.Serving()
}

// errStandby says why a node that stands by sends nothing. For a publisher it is
// offline: what it wanted to send was certainly not sent.
type errStandby struct{}

func (errStandby) Error() string {
	return "this node stands by: another one serves under its name (steward status)"
}

// Is makes it process.ErrOffline.
func (errStandby) Is(target error) bool { return target == process.ErrOffline }

// mute is why nothing is sent on c now.
func (n *Node) mute(c *transport.Conn) error {
	if h := n.name.Load(); h != nil && c.Connected() {
		if _, standby := h.Twin(); standby {
			return errStandby{}
		}
	}
	return process.ErrOffline
}

// twinStatus is who serves instead of this node, or nil.
func (n *Node) twinStatus() *api.Twin {
	h := n.name.Load()
	if h == nil {
		return nil
	}
	c, standby := h.Twin()
	if !standby {
		return nil
	}
	return &api.Twin{Host: c.Host, Data: c.Data, Version: c.Version, Instance: c.Instance.String(), Journal: c.Journal.String(), Started: c.Started, Since: c.Since}
}

// alone is for how long certainly nobody else listened for this node's name.
func (n *Node) alone(ctx context.Context) time.Duration {
	h := n.name.Load()
	if h == nil {
		return 0
	}
	return h.Alone(ctx)
}
