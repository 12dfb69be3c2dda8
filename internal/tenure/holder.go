package tenure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Errors of a Road.
var (
	ErrNobody  = errors.New("nobody listens there")
	ErrOffline = errors.New("not connected to a broker")
)

// errSilent: somebody listens, and does not answer.
var errSilent = errors.New("no answer")

const (
	patience   = 3 * time.Second        // for an answer, where somebody listens and is silent: a connection that died unseen
	firstPause = time.Second            // of a node that stands by, until it asks again
	longPause  = 15 * time.Second       // the same, after a while
	goneFor    = 3 * time.Second        // who served may be starting again: so long must nobody answer
	overlap    = 200 * time.Millisecond // what was listened to is heard for longer: the broker looks up who listens, and then delivers
	sayAgain   = time.Minute            // who serves says so, for twins that were apart
	ownKept    = 16                     // own instances that are known again, in late copies
)

// Road is the connection to the broker.
type Road interface {
	Connected() bool
	// Listen calls f, which must not block, for what comes on a subject, until stop
	// is called. Respond is nil if nobody waits.
	Listen(subject string, f func(data []byte, respond func([]byte) error)) (stop func(), err error)
	// Ask asks again and again until somebody answers. ErrNobody: it is certain
	// that nobody listens. ErrOffline: it was not sent.
	Ask(ctx context.Context, subject string, data []byte) ([]byte, error)
	Publish(ctx context.Context, subject string, data []byte) error
}

// Phase is how a node stands to its name.
type Phase string

// The phases; before the first there is none.
const (
	Offline Phase = "offline" // there is nobody to ask
	Serving Phase = "serving"
	Standby Phase = "standby" // another one serves
)

// Holder asks for the node's name, and holds it: see NewHolder. All methods but Run
// may be called concurrently.
type Holder struct {
	Prefix, Node string
	Self         Claim // Instance, Since and At are the Holder's own
	Road         Road
	Log          *slog.Logger
	// Change is told, on Run's goroutine, when the phase changes; again when it was
	// interrupted. by is who serves instead, with Standby.
	Change func(p Phase, by Claim)
	// Met is told, by who serves, of another node that asked for the name. It must
	// not block.
	Met func(Claim)
	// Renounce gives the journal another identity, which it returns, because another
	// node has the same one.
	Renounce func(twin Claim) (uuid.UUID, error)

	wake  chan struct{}
	alone chan chan time.Duration

	// Run's own.
	phase Phase
	stops []func()      // end what is listened to
	pause time.Duration // of a node that stands by
	gone  time.Time     // since then nobody answers it

	mu    sync.Mutex
	claim Claim
	own   []uuid.UUID // earlier instances
	open  bool        // this node may take and send messages
	heard bool        // it listens to what others ask
	twin  Claim       // that serves instead
	sure  time.Time   // since then nobody else can have listened for the name; zero: not certain
	events
}

// events are what Run has to see to.
type events struct {
	broken bool   // the connection was lost since the name was asked for
	doubt  bool   // somebody says that it comes first
	shared *Claim // somebody has this node's journal, and served with it
}

// NewHolder makes h, whose fields are set, ready to Run.
func NewHolder(h *Holder) *Holder {
	h.wake, h.alone = make(chan struct{}, 1), make(chan chan time.Duration)
	h.claim, h.broken = h.Self, true
	return h
}

// Serving reports whether the node holds its name: only then may it take
// messages, or send them.
func (h *Holder) Serving() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// Twin is the node that serves instead of this one, if it stands by.
func (h *Holder) Twin() (c Claim, standby bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.twin, h.claim.Standby
}

// Link is told when the connection comes and goes. It never blocks.
func (h *Holder) Link(up bool) {
	h.mu.Lock()
	if !up {
		h.open, h.broken, h.sure = false, true, time.Time{}
	}
	h.mu.Unlock()
	h.nudge()
}

// Alone asks whether anybody else listens for the name, and says for how long it
// is certain that nobody did. Zero: it is not.
func (h *Holder) Alone(ctx context.Context) time.Duration {
	if !h.Serving() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer := make(chan time.Duration, 1)
	select {
	case h.alone <- answer:
	case <-ctx.Done():
		return 0
	}
	select {
	case d := <-answer:
		return d
	case <-ctx.Done():
		return 0
	}
}

// certain notes whether the last question met nobody, and returns for how long
// that has been so without a doubt, by the shorter of two clocks.
func (h *Holder) certain(yes bool) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case !yes:
		h.sure = time.Time{}
	case h.sure.IsZero():
		h.sure = now
	default:
		return min(now.Sub(h.sure), now.Round(0).Sub(h.sure.Round(0)))
	}
	return 0
}

func (h *Holder) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run asks for the name, holds it while it may, and asks again, until ctx ends.
// What it listens to then ends with the connection: while the node finishes its
// work nobody else takes the name.
func (h *Holder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		rival, err := h.ask(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // that the node stops is no error
		}
		switch {
		case rival != nil:
			err = h.standBy(ctx, *rival)
		case errors.Is(err, ErrNobody), errors.Is(err, errSilent):
			err = h.free(ctx, err)
		default:
			h.gone = time.Time{}
			h.change(Offline, Claim{})
			h.rest(ctx, patience)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rest waits for d, or until something happened.
func (h *Holder) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-h.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ask looks for somebody who comes first. It listens before it asks, so that of
// two who ask at once the later one is heard by the other. ErrNobody: nobody else
// is there.
func (h *Holder) ask(ctx context.Context) (rival *Claim, err error) {
	if !h.Road.Connected() {
		return nil, ErrOffline
	}
	mine, serves := h.prepare()
	drop, err := h.listen(others(h.Prefix, h.Node, mine.Instance)...)
	if serves { // who asked must be heard
		select {
		case <-time.After(overlap):
		case <-ctx.Done():
		}
	}
	if drop(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, err := h.Road.Ask(limited, question(h.Prefix, h.Node, mine.Instance), mine.encode())
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, errSilent
	}
	if err != nil {
		return nil, err
	}
	c, ok := decode(reply)
	if !ok {
		return nil, errSilent // what answers is no steward
	}
	return &c, nil
}

// prepare is the claim to ask with, and whether this node serves meanwhile. After
// the connection was lost it has a new instance.
func (h *Holder) prepare() (c Claim, serves bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		h.broken = false
		h.own = append(h.own, h.claim.Instance)
		h.own = h.own[max(0, len(h.own)-ownKept):]
		h.claim.Instance = uuid.Must(uuid.NewV7())
	}
	h.heard, h.doubt = true, false
	return h.now(), h.open
}

// now is the claim as it is said at this moment; mu is held.
func (h *Holder) now() Claim {
	c := h.claim
	c.At = time.Now()
	return c
}

// listen goes over to subjects, and returns what ends the listening to what was
// heard before.
func (h *Holder) listen(subjects ...string) (drop func(), err error) {
	old := h.stops
	h.stops = nil
	for _, s := range subjects {
		stop, e := h.Road.Listen(s, h.hear)
		if err = errors.Join(err, e); e == nil {
			h.stops = append(h.stops, stop)
		}
	}
	return func() {
		for _, stop := range old {
			stop()
		}
	}, err
}

// listenToAll is how a node listens that holds the name, or is about to.
func (h *Holder) listenToAll() error {
	drop, err := h.listen(everybody(h.Prefix, h.Node))
	time.AfterFunc(overlap, drop)
	return err
}

// hear takes what another node says about the name. It answers a question of who
// comes behind; whether somebody comes first, only an answer to one's own
// question tells: what is heard may be a late copy.
func (h *Holder) hear(data []byte, respond func([]byte) error) {
	c, ok := decode(data)
	if !ok {
		return
	}
	h.mu.Lock()
	if !h.heard || c.Instance == h.claim.Instance || slices.Contains(h.own, c.Instance) {
		h.mu.Unlock()
		return
	}
	mine, met := h.now(), h.open
	if mine.Journal == c.Journal && !c.At.After(mine.Started) {
		met = false // an earlier life of this node
	} else if !c.Since.IsZero() {
		if h.sure = (time.Time{}); mine.Journal == c.Journal && mine.precedes(c) {
			h.shared, h.open = &c, false
		}
	}
	h.doubt = h.doubt || !mine.precedes(c)
	h.mu.Unlock()
	if mine.precedes(c) && respond != nil {
		if err := respond(mine.encode()); err != nil {
			h.Log.Debug("a question about the name was not answered", "err", err)
		}
	}
	if met && mine.precedes(c) {
		h.Met(c)
	}
	h.nudge()
}

func (h *Holder) change(p Phase, by Claim) {
	if p != h.phase || p == Serving { // that may have been interrupted
		h.phase = p
		h.Change(p, by)
	}
}

// standBy lets rival serve, for a while.
func (h *Holder) standBy(ctx context.Context, rival Claim) error {
	h.mu.Lock()
	h.open, h.heard, h.twin, h.claim.Since, h.claim.Standby, h.sure = false, false, rival, time.Time{}, true, time.Time{}
	same := rival.Journal == h.claim.Journal
	h.mu.Unlock()
	drop, err := h.listen()
	if drop(); err != nil { // who stands by is in nobody's way
		return err
	}
	if same { // before anything of it is taken up
		if err := h.renounce(rival); err != nil {
			return err
		}
	}
	if h.phase != Standby {
		h.pause = firstPause
	}
	h.gone = time.Time{}
	h.change(Standby, rival)
	h.rest(ctx, h.pause/2+rand.N(h.pause/2+1))
	h.pause = min(2*h.pause, longPause)
	return nil
}

func (h *Holder) renounce(twin Claim) error {
	id, err := h.Renounce(twin)
	if err != nil {
		return fmt.Errorf("give the journal another identity: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claim.Journal, h.shared = id, nil
	return nil
}

// free takes the name that nobody holds; a node that stands by only when nobody
// has for a while.
func (h *Holder) free(ctx context.Context, why error) error {
	if _, standby := h.Twin(); standby {
		if h.gone.IsZero() {
			h.gone = time.Now()
		}
		if left := time.Until(h.gone.Add(goneFor)); left > 0 {
			h.mu.Lock()
			h.heard = false
			h.mu.Unlock()
			drop, err := h.listen()
			drop()
			h.rest(ctx, left)
			return err
		}
	}
	if h.certain(errors.Is(why, ErrNobody)); errors.Is(why, errSilent) {
		h.Log.Warn("somebody listens where this node's name is asked for, and is silent: this node serves")
	}
	return h.hold(ctx)
}

// hold serves until the connection is lost, or somebody comes first.
func (h *Holder) hold(ctx context.Context) error {
	if err := h.listenToAll(); err != nil {
		return err
	}
	if held, err := h.begin(); !held || err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		case <-timer.C:
			h.announce(ctx)
			timer.Reset(sayAgain - sayAgain/10 + rand.N(sayAgain/5))
			continue
		case answer := <-h.alone:
			rival, err := h.ask(ctx)
			answer <- h.certain(errors.Is(err, ErrNobody))
			if rival != nil {
				return nil
			}
			if err := h.listenToAll(); err != nil {
				return err
			}
			continue
		}
		h.mu.Lock()
		e := h.events
		h.doubt = false
		h.mu.Unlock()
		if e.broken || e.doubt || e.shared != nil {
			return nil // Run asks
		}
	}
}

// begin opens the node for messages, unless the connection was lost meanwhile.
func (h *Holder) begin() (held bool, err error) {
	h.mu.Lock()
	shared := h.shared
	h.mu.Unlock()
	if shared != nil {
		if err := h.renounce(*shared); err != nil {
			return false, err
		}
	}
	h.mu.Lock()
	if h.broken {
		h.mu.Unlock()
		return false, nil
	}
	if h.claim.Since.IsZero() {
		h.claim.Since = time.Now().Round(0)
	}
	was := h.open
	h.open, h.claim.Standby, h.twin = true, false, Claim{}
	h.mu.Unlock()
	h.gone = time.Time{}
	if !was {
		h.change(Serving, Claim{})
	}
	return true, nil
}

// announce says that this node serves.
func (h *Holder) announce(ctx context.Context) {
	h.mu.Lock()
	c := h.now()
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := h.Road.Publish(ctx, question(h.Prefix, h.Node, c.Instance), c.encode()); err != nil {
		h.Log.Debug("the name was not announced", "err", err)
	}
}
