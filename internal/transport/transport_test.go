package transport_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	day  = 24 * time.Hour
	here = "steward.ship1.CommandACK.Echo"
)

// inBubble runs f with a broker, in virtual time; a goroutine that is left fails
// the test.
func inBubble(t *testing.T, f func(t *testing.T, c *stewardtest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := stewardtest.New(t)
		defer c.Close()
		f(t, c)
	})
}

// changes notes what a connection tells of itself.
type changes struct {
	mu   sync.Mutex
	list []bool
}

func (c *changes) add(on bool, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, on)
}

func (c *changes) want(t *testing.T, list ...bool) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.list, list) {
		t.Errorf("told of %v, want %v", c.list, list)
	}
	c.list = nil
}

// dial connects over the link of that name, and waits until it is done.
func dial(t *testing.T, c *stewardtest.Cluster, name string, told *changes) *transport.Conn {
	t.Helper()
	conn := connect(t, c.Link(name), told)
	synctest.Wait()
	return conn
}

func connect(t *testing.T, over nats.InProcessConnProvider, told *changes) *transport.Conn {
	t.Helper()
	if told == nil {
		told = &changes{}
	}
	conn, err := transport.Dial(transport.Config{Name: "test", Changed: told.add, Options: []nats.Option{nats.InProcessServer(over)}})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// within ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// listen calls f for what comes on s, from now on; the broker knows when it returns.
func listen(t *testing.T, conn *transport.Conn, s string, f func(transport.Received)) (stop func()) {
	t.Helper()
	stop, err := conn.Subscribe(s, f)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return stop
}

// echo answers what comes on s with what came.
func echo(t *testing.T, conn *transport.Conn, s string) (stop func()) {
	t.Helper()
	return listen(t, conn, s, func(r transport.Received) {
		if r.Respond != nil {
			if err := r.Respond(append([]byte(strings.Join(r.Header["A"], ",")), r.Data...)); err != nil {
				t.Error(err)
			}
		}
	})
}

// check makes a request on here and holds its answer to what is wanted.
func check(t *testing.T, conn *transport.Conn, want string, wantErr error) {
	t.Helper()
	began := time.Now()
	got, err := conn.Request(within(t, time.Minute), here, map[string][]string{"A": {"head"}}, []byte("body"))
	if string(got) != want || !errors.Is(err, wantErr) || time.Since(began) > 0 {
		t.Errorf("after %s: %q, %v; want %q, %v", time.Since(began), got, err, want, wantErr)
	}
}

func TestRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		a, b := dial(t, c, "a", nil), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		check(t, a, "", transport.ErrNobody)
		stop := echo(t, b, here)
		check(t, a, "headbody", nil)
		stop()
		if err := b.Flush(within(t, time.Minute)); err != nil {
			t.Error(err)
		}
		check(t, a, "", transport.ErrNobody)

		listen(t, b, here, func(transport.Received) {}) // and answers nothing
		began := time.Now()
		_, err := a.Request(within(t, time.Minute), here, nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("without an answer: after %s, %v", time.Since(began), err)
		}
	})
}

// Ask asks until somebody answers, however many questions or answers are lost.
func TestAsk(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		a, b := dial(t, c, "a", nil), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		ask := func(want string, wantErr error, limit time.Duration) {
			t.Helper()
			began := time.Now()
			got, err := a.Ask(within(t, limit), here, []byte("body"))
			if string(got) != want || !errors.Is(err, wantErr) {
				t.Errorf("after %s: %q, %v; want %q, %v", time.Since(began), got, err, want, wantErr)
			}
		}
		ask("", transport.ErrNobody, time.Minute)
		echo(t, b, here)
		ask("body", nil, time.Minute)
		lost := 0
		c.Link("b").SetFault(func(p stewardtest.Pub) []time.Duration {
			if lost++; lost < 5 {
				return nil
			}
			return stewardtest.Pass()
		})
		ask("body", nil, time.Minute)
		if lost < 5 {
			t.Errorf("%d answers", lost)
		}
		c.Link("a").SetFault(func(stewardtest.Pub) []time.Duration { return nil })
		ask("", context.DeadlineExceeded, time.Minute)
		c.Link("a").Cut()
		synctest.Wait()
		ask("", transport.ErrOffline, time.Minute)
	})
}

// What is too big for the broker is refused here, and costs no connection.
func TestPayloadLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		var told changes
		a, b := dial(t, c, "a", &told), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		echo(t, b, here)
		for n, ok := range map[int]bool{a.MaxPayload(): true, a.MaxPayload() + 1: false} {
			got, err := a.Request(within(t, time.Minute), here, nil, make([]byte, n))
			if ok != (err == nil && len(got) == n) || errors.Is(err, transport.ErrNobody) || errors.Is(err, transport.ErrOffline) {
				t.Errorf("a request of %d bytes: %d, %v", n, len(got), err)
			}
			if err := a.Publish(within(t, time.Minute), here, nil, make([]byte, n)); ok != (err == nil) {
				t.Errorf("%d bytes published: %v", n, err)
			}
		}
		told.want(t, true)
		check(t, a, "headbody", nil)
	})
}

// What comes on a subject is handed over one at a time, in order.
func TestOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		a, b := dial(t, c, "a", nil), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		var got []string
		listen(t, b, here, func(r transport.Received) {
			time.Sleep(time.Millisecond)
			if r.Respond != nil || r.Subject != here {
				t.Errorf("%+v", r)
			}
			got = append(got, string(r.Data))
		})
		var sent []string
		for i := range 100 {
			sent = append(sent, fmt.Sprint(i))
			if err := a.Publish(within(t, time.Minute), here, nil, []byte(sent[i])); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !slices.Equal(got, sent) {
			t.Errorf("got %v", got)
		}
	})
}

// Beyond the bound of what waits for a slow reader the rest is dropped and told;
// the connection lives, and goes on when the reader does.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		a, b := dial(t, c, "a", nil), dial(t, c, "b", nil)
		defer a.Close()
		defer b.Close()
		read, more := 0, make(chan struct{})
		listen(t, b, here, func(transport.Received) { <-more; read++ })
		const sent, bound = 10_000, 8192
		for range sent {
			if err := a.Publish(within(t, time.Minute), here, nil, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if !b.Connected() || !strings.Contains(b.LastError(), "slow consumer") {
			t.Errorf("connected: %t, last error %q", b.Connected(), b.LastError())
		}
		close(more)
		synctest.Wait()
		if read < bound || read > bound+1 {
			t.Errorf("%d of %d were read, want %d", read, sent, bound)
		}
		before := read
		if err := a.Publish(within(t, time.Minute), here, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if read != before+1 {
			t.Errorf("%d were read after that", read-before)
		}
	})
}
