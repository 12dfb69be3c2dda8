// Package transport carries requests over NATS: a connection that never gives
// up, and a broker for whoever has none.
package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Errors of Request and Publish that tell what certainly did not happen.
var (
	ErrNobody  = errors.New("nobody listens on the subject")
	ErrOffline = errors.New("not connected to a broker")
)

// Conn is a connection to a broker, or the wish for one: it connects when it
// can, and again whenever it was lost. All methods may be called concurrently.
type Conn struct {
	nc      *nats.Conn
	payload atomic.Int64
	lastErr atomic.Value // string
}

// Config says where to connect and whom to tell.
type Config struct {
	URLs    string // comma-separated
	Name    string // shown by the broker's monitoring
	Changed func(connected bool, err error)
	Unmet   func(err error) // called once, if the first connection does not come about at once; may be nil
	Options []nats.Option   // the last word: credentials, or an in-process server
}

// Dial returns at once; the connection comes when the broker does. It fails only
// on options that no broker could satisfy.
func Dial(cfg Config) (*Conn, error) {
	c := &Conn{}
	var met, told atomic.Bool
	changed := func(on bool, err error) {
		if on {
			met.Store(true)
			c.payload.Store(c.nc.MaxPayload())
		}
		if err != nil {
			c.lastErr.Store(err.Error())
		}
		if cfg.Changed != nil {
			cfg.Changed(on, err)
		}
	}
	ready := make(chan struct{}) // callbacks wait until nc is set
	opts := append([]nats.Option{
		nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectBufSize(-1), // a publish while disconnected fails instead of hiding in memory
		nats.PingInterval(15 * time.Second), nats.MaxPingsOutstanding(2),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ConnectHandler(func(*nats.Conn) { <-ready; changed(true, nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { <-ready; changed(true, nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { <-ready; changed(false, err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if <-ready; errors.Is(err, nats.ErrNoServers) {
				return // the error of a server says more
			}
			c.lastErr.Store(err.Error())
			if cfg.Unmet != nil && !met.Load() && !told.Swap(true) {
				cfg.Unmet(err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { <-ready; c.lastErr.Store(err.Error()) }),
	}, cfg.Options...)
	nc, err := nats.Connect(cfg.URLs, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.URLs, err)
	}
	c.nc = nc
	if nc.IsConnected() {
		c.payload.Store(nc.MaxPayload())
	}
	close(ready)
	return c, nil
}

// Redacted is a broker's URL as it may be shown: without a password or a token.
func Redacted(broker string) string {
	scheme, rest, found := strings.Cut(broker, "://")
	if !found {
		scheme, rest = "", broker
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "xxxxx" + rest[at:]
	}
	return scheme + rest
}

// reconnectDelay doubles up to a quarter of a minute, half of it random, so that
// a fleet does not come back in step.
func reconnectDelay(attempts int) time.Duration {
	d := min(500*time.Millisecond<<min(attempts, 6), 15*time.Second)
	return d/2 + rand.N(d/2+1)
}

// Connected reports whether a broker answers.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// URL is the broker's, while connected.
func (c *Conn) URL() string { return c.nc.ConnectedUrlRedacted() }

// LastError is what the connection met with last, or "".
func (c *Conn) LastError() string {
	s, _ := c.lastErr.Load().(string)
	return s
}

// MaxPayload is the broker's limit for one message in bytes, head included; 0
// until the first connection.
func (c *Conn) MaxPayload() int { return int(c.payload.Load()) }

// Request sends data to s and waits for the answer until ctx ends.
func (c *Conn) Request(ctx context.Context, s string, header map[string][]string, data []byte) ([]byte, error) {
	if !c.nc.IsConnected() {
		return nil, ErrOffline
	}
	m, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: s, Header: header, Data: data})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNobody
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting):
		return nil, ErrOffline
	case err != nil:
		return nil, fmt.Errorf("request on %s: %w", s, err)
	}
	return m.Data, nil
}

const firstPause = 20 * time.Millisecond // of Ask; each is twice as long as the one before

// Ask sends data to s again and again, until somebody answers or ctx ends.
// ErrNobody: nobody listened when one of the questions came.
func (c *Conn) Ask(ctx context.Context, s string, data []byte) ([]byte, error) {
	if !c.nc.IsConnected() {
		return nil, ErrOffline
	}
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask on %s: %w", s, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // it fails only where the connection is closed
	for pause := firstPause; ; pause *= 2 {
		if err := c.nc.PublishRequest(s, inbox, data); err != nil {
			return nil, fmt.Errorf("ask on %s: %w: %w", s, ErrOffline, err)
		}
		step, cancel := context.WithTimeout(ctx, pause)
		m, err := sub.NextMsgWithContext(step)
		cancel()
		switch {
		case err == nil:
			return m.Data, nil
		case errors.Is(err, nats.ErrNoResponders):
			return nil, ErrNobody
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, fmt.Errorf("ask on %s: %w", s, err)
		}
	}
}

// Publish sends data to s and returns when the broker has it.
func (c *Conn) Publish(ctx context.Context, s string, header map[string][]string, data []byte) error {
	if !c.nc.IsConnected() {
		return ErrOffline
	}
	if err := c.nc.PublishMsg(&nats.Msg{Subject: s, Header: header, Data: data}); err != nil {
		return fmt.Errorf("publish on %s: %w", s, err)
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("publish on %s: %w", s, err)
	}
	return nil
}

// Post hands data for s to the connection and does not wait. It may be lost.
func (c *Conn) Post(s string, data []byte) error {
	if !c.nc.IsConnected() {
		return ErrOffline
	}
	return c.nc.Publish(s, data)
}

// Received is a message that came in. Respond is nil if nobody waits.
type Received struct {
	Subject string
	Header  map[string][]string
	Data    []byte
	Respond func([]byte) error
}

// Subscribe calls f, one message at a time and in order, for what comes on s,
// until stop is called, or the connection is closed. f must not block.
func (c *Conn) Subscribe(s string, f func(Received)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(s, func(m *nats.Msg) {
		r := Received{Subject: m.Subject, Header: m.Header, Data: m.Data}
		if m.Reply != "" {
			r.Respond = func(b []byte) error { return c.nc.Publish(m.Reply, b) }
		}
		f(r)
	})
	if err == nil {
		err = sub.SetPendingLimits(8192, 256<<20)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // it fails only where the connection is closed
}

// Flush returns when the broker has handled all that was sent before.
func (c *Conn) Flush(ctx context.Context) error { return c.nc.FlushWithContext(ctx) }

// Close ends the connection.
func (c *Conn) Close() { c.nc.Close() }
