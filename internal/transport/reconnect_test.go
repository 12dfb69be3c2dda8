package transport_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/internal/transport"
)

// While the broker is away a connection says so at once, and hides nothing to
// send it later; when it is back, so are the connection and its subscriptions.
func TestReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		var told changes
		a, b := dial(t, c, "a", &told), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		told.want(t, true)
		var lost int
		listen(t, a, "lost", func(transport.Received) { lost++ })
		echo(t, a, here)
		check(t, b, "headbody", nil)
		for _, away := range []time.Duration{time.Second, time.Hour, day} {
			c.Link("a").Cut()
			told.want(t, false)
			time.Sleep(away)
			check(t, a, "", transport.ErrOffline)
			if err := a.Publish(within(t, time.Minute), "lost", nil, nil); !errors.Is(err, transport.ErrOffline) {
				t.Errorf("published without a broker: %v", err)
			}
			if a.Connected() || a.LastError() == "" {
				t.Errorf("connected: %t, last error %q", a.Connected(), a.LastError())
			}
			check(t, b, "", transport.ErrNobody)
			c.Link("a").Heal()
			time.Sleep(15 * time.Second)
			told.want(t, true)
			check(t, b, "headbody", nil)
		}
		if lost > 0 {
			t.Errorf("%d messages came that could not be sent", lost)
		}
	})
}

// The first connection comes when the broker does.
func TestDialBeforeTheBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Link("a").Cut()
		var told changes
		a := dial(t, c, "a", &told)
		defer a.Close()
		told.want(t)
		if a.Connected() || a.MaxPayload() != 0 || a.URL() != "" {
			t.Errorf("connected: %t to %q, payload %d", a.Connected(), a.URL(), a.MaxPayload())
		}
		check(t, a, "", transport.ErrOffline)
		echoed := make(chan struct{}, 1)
		listen(t, a, here, func(transport.Received) { echoed <- struct{}{} }) // it may be done before
		time.Sleep(day)
		c.Link("a").Heal()
		time.Sleep(15 * time.Second)
		told.want(t, true)
		if !a.Connected() || a.MaxPayload() != 1<<20 {
			t.Errorf("connected: %t, payload %d", a.Connected(), a.MaxPayload())
		}
		if err := a.Publish(within(t, time.Minute), here, nil, nil); err != nil {
			t.Error(err)
		}
		<-echoed
	})
}

// A connection that is closed while there is no broker leaves nothing, and is offline.
func TestCloseWithoutABroker(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Link("a").Cut()
		a := dial(t, c, "a", nil)
		stop := echo(t, a, here)
		began := time.Now()
		stop()
		a.Close()
		stop()
		if time.Since(began) > 0 {
			t.Errorf("it took %s", time.Since(began))
		}
		check(t, a, "", transport.ErrOffline)
	})
}

// attempts counts how often a broker that does not answer is dialed.
type attempts struct{ at []time.Time }

func (a *attempts) InProcessConn() (net.Conn, error) {
	a.at = append(a.at, time.Now())
	return nil, errors.New("nobody there")
}

// Attempts to connect come after pauses that double up to a quarter of a minute.
func TestPausesBetweenAttempts(t *testing.T) {
	stewardtest.ForgetTimers()
	synctest.Test(t, func(t *testing.T) {
		var a attempts
		conn := connect(t, &a, nil)
		time.Sleep(time.Hour)
		conn.Close()
		synctest.Wait()
		limit := time.Second
		for i := 1; i < len(a.at); i++ {
			if d := a.at[i].Sub(a.at[i-1]); d < limit/2-time.Millisecond || d > limit+time.Millisecond {
				t.Errorf("pause %d was %s, want %s to %s", i, d, limit/2, limit)
			}
			limit = min(2*limit, 15*time.Second)
		}
		if len(a.at) < 240 {
			t.Errorf("%d attempts in an hour", len(a.at))
		}
		if conn.LastError() == "" {
			t.Error("it does not say what it met with")
		}
	})
}

// hole is a wire that can fall silent without a word, as a mobile link does.
type hole struct {
	broker *server.Server

	mu    sync.Mutex
	conns []*silent
}

type silent struct {
	net.Conn
	gone chan struct{}
	once sync.Once
	mute sync.Mutex
	off  bool
}

func (h *hole) InProcessConn() (net.Conn, error) {
	c, err := h.broker.InProcessConn()
	if err != nil {
		return nil, err
	}
	s := &silent{Conn: c, gone: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, s)
	return s, nil
}

// swallow lets nothing more through, either way, on what is connected now.
func (h *hole) swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.conns {
		s.mute.Lock()
		s.off = true
		s.mute.Unlock()
	}
}

func (s *silent) muted() bool {
	s.mute.Lock()
	defer s.mute.Unlock()
	return s.off
}

func (s *silent) Write(b []byte) (int, error) {
	if s.muted() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

func (s *silent) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.muted() {
		<-s.gone
		return 0, net.ErrClosed
	}
	return n, err
}

func (s *silent) Close() error {
	s.once.Do(func() { close(s.gone) })
	return s.Conn.Close()
}

// A link that fell silent is given up within a minute, and connected anew.
func TestHalfOpenLink(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		var told changes
		h := &hole{broker: c.Broker}
		a, b := connect(t, h, &told), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		told.want(t, true)
		echo(t, a, here)
		time.Sleep(time.Hour)
		told.want(t)
		h.swallow()
		time.Sleep(time.Minute)
		told.want(t, false, true)
		check(t, b, "headbody", nil)
	})
}

// A request whose link is cut under way ends with its time, not later.
func TestRequestWhoseLinkIsCut(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		a, b := dial(t, c, "a", nil), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		listen(t, b, here, func(transport.Received) {})
		time.AfterFunc(time.Second, c.Link("a").Cut)
		began := time.Now()
		_, err := a.Request(within(t, 5*time.Second), here, nil, nil)
		if err == nil || errors.Is(err, transport.ErrNobody) || errors.Is(err, transport.ErrOffline) || time.Since(began) > 5*time.Second {
			t.Errorf("after %s: %v; it may have been received", time.Since(began), err)
		}
	})
}
