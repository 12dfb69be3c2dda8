package transport_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/internal/transport"
)

func TestListenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for addr, want := range map[string]string{
		"":                       "listen address",
		"127.0.0.1":              "listen address",
		"127.0.0.1:x":            "the port is a number from 0 to 65535",
		"127.0.0.1:65536":        "the port is a number from 0 to 65535",
		":4222":                  "loopback only",
		"0.0.0.0:4222":           "loopback only",
		"[::]:4222":              "loopback only",
		"example.com:4222":       "loopback only",
		taken.Addr().String():    "join it by --broker nats://127.0.0.1:",
		"192.0.2.1:4222":         "loopback only",
		"127.0.0.1:-1":           "the port is a number from 0 to 65535",
		"localhost:not-a-port":   "the port is a number from 0 to 65535",
		"localhost.evil:4222":    "loopback only",
		"127.0.0.1.evil:4222":    "loopback only",
		"127.0.0.1:4222:4222":    "listen address",
		"127.0.0.1:00000000000x": "the port is a number from 0 to 65535",
	} {
		b, err := transport.Listen(addr, "central", false)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(want, "loopback") != errors.Is(err, transport.ErrExposed) {
			t.Errorf("%q: %v, want %q", addr, err, want)
		}
	}
}

// A broker takes connections from the moment that Listen returns until Close
// does; then its port is free, for the next one too.
func TestBrokerStartsAndStops(t *testing.T) {
	addr := stewardtest.FreePort(t)
	for range 3 {
		b, err := transport.Listen(addr, "central", false)
		if err != nil {
			t.Fatal(err)
		}
		if b.URL() != "nats://"+addr {
			t.Errorf("it listens on %s, want %s", b.URL(), addr)
		}
		inside, err := transport.Dial(transport.Config{URLs: b.URL(), Options: []nats.Option{b.Option()}})
		if err != nil || !inside.Connected() || inside.MaxPayload() != 1<<20 {
			t.Fatalf("in process: %v", err)
		}
		outside, err := transport.Dial(transport.Config{URLs: b.URL()})
		if err != nil || !outside.Connected() || outside.URL() != b.URL() {
			t.Fatalf("over the network: %v", err)
		}
		if _, err := inside.Subscribe(here, func(r transport.Received) {
			if err := r.Respond(r.Data); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := inside.Flush(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if got, err := outside.Request(within(t, time.Minute), here, nil, []byte("x")); string(got) != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		inside.Close()
		b.Close()
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			t.Error("it still listens after Close", c.Close())
		}
		outside.Close()
	}
}

// A broker that comes back on its port, as another process would, is found
// again, over the network too.
func TestBrokerComesBack(t *testing.T) {
	stewardtest.ForgetTimers()
	addr := stewardtest.FreePort(t)
	changed := make(chan bool, 16)
	conn, err := transport.Dial(transport.Config{URLs: "nats://" + addr, Changed: func(on bool, _ error) { changed <- on }})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wait := func(want bool) {
		t.Helper()
		select {
		case on := <-changed:
			if on != want {
				t.Fatalf("connected: %t, want %t", on, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("connected: %t after half a minute, want %t (%s)", conn.Connected(), want, conn.LastError())
		}
	}
	for range 2 {
		b, err := transport.Listen(addr, "central", false)
		if err != nil {
			t.Fatal(err)
		}
		wait(true)
		if _, err := conn.Request(within(t, time.Minute), here, nil, nil); !errors.Is(err, transport.ErrNobody) {
			t.Error(err)
		}
		b.Close()
		wait(false)
	}
}

func TestListenOffLoopbackIfToldTo(t *testing.T) {
	b, err := transport.Listen("0.0.0.0:0", "central", true)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

func TestDialRefusesWhatNoBrokerCanBe(t *testing.T) {
	if c, err := transport.Dial(transport.Config{URLs: "nats://[::1"}); err == nil {
		c.Close()
		t.Error("a URL that cannot be read was dialed")
	}
}
