package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ErrExposed says that a broker without authentication may only listen on loopback.
var ErrExposed = errors.New("a broker without authentication and TLS may listen on loopback only")

// Broker is an embedded NATS server.
type Broker struct{ s *server.Server }

// Listen starts a broker on addr (host:port). Off loopback it needs insecure to
// be true. The broker keeps nothing: both ends of the road have a journal.
func Listen(addr, name string, insecure bool) (*Broker, error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); !insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w: %q is not; --insecure overrides", ErrExposed, addr)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("listen address %q: the port is a number from 0 to 65535", addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&server.Options{Host: host, Port: port, ServerName: name, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	// The server ends the process when its port is taken: look first.
	if port > 0 {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(host, p))
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("embedded broker: another program listens on %s: if that is a broker, join it by --broker nats://%s; else stop it, or choose another --listen", addr, addr)
		}
		if err != nil {
			return nil, fmt.Errorf("embedded broker: %w: choose another --listen; to join a broker use --broker", err)
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
	}
	go s.Start() // ended by Close
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("embedded broker: not ready on %s within 10s", addr)
	}
	return &Broker{s}, nil
}

// Option connects in process, without the loopback network.
func (b *Broker) Option() nats.Option { return nats.InProcessServer(b.s) }

// URL is where others connect.
func (b *Broker) URL() string { return b.s.ClientURL() }

// Close ends the broker and returns when it has ended.
func (b *Broker) Close() {
	b.s.Shutdown()
	b.s.WaitForShutdown()
}
