package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ErrExposed says that the port could be reached from other machines.
var ErrExposed = errors.New("address is not loopback")

const shutdownLimit = 3 * time.Second

// Server serves /metrics, /healthz and /readyz, to whoever can reach Addr.
type Server struct {
	Addr      string       // host:port; port 0 takes a free one
	Insecure  bool         // allow an Addr that is not loopback
	Metrics   *Metrics     // nil or zero: /metrics is empty
	Ready     func() error // nil error: messages can be accepted; nil func: always
	Connected func() bool  // to the broker; told by /readyz, which does not depend on it
	Log       *slog.Logger

	mu sync.Mutex
	ln net.Listener
}

// Listen takes the port, so that Bound can tell it. Run must follow: it gives
// the port back.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return nil
	}
	a, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("metrics address %q: %w", s.Addr, err)
	}
	if !s.Insecure && !a.IP.IsLoopback() {
		return fmt.Errorf("metrics address %q: %w: use 127.0.0.1:PORT, or allow it explicitly", s.Addr, ErrExposed)
	}
	ln, err := net.ListenTCP("tcp", a)
	if err != nil {
		return fmt.Errorf("metrics address %q: %w: stop who listens there, or choose another --metrics", s.Addr, err)
	}
	s.ln = ln
	return nil
}

// Bound is the host:port that is listened on; empty before Listen and after Run.
func (s *Server) Bound() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return ""
	}
	return s.ln.Addr().String()
}

// Run serves until ctx ends, then returns nil and leaves nothing behind. It
// listens if Listen has not been called.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.mu.Lock()
	ln := s.ln
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.ln = nil
		s.mu.Unlock()
	}()
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
		defer cancel()
		if srv.Shutdown(bound) != nil {
			_ = srv.Close() // what it would not end is cut off
		}
	})
	log.Debug("metrics listen", "addr", ln.Addr().String())
	err := srv.Serve(ln)
	if stop() {
		return fmt.Errorf("serve metrics on %s: %w", ln.Addr(), err)
	}
	<-stopped
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	if !s.Metrics.off() {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics.registry, promhttp.HandlerOpts{
			MaxRequestsInFlight: 4,
			ErrorHandling:       promhttp.ContinueOnError,
		}))
	} else {
		mux.HandleFunc("GET /metrics", func(http.ResponseWriter, *http.Request) {})
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	return mux
}

// readyz does not ask for the broker: a node that is offline accepts messages
// and keeps them, and restarting it would help nobody.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "not ready: %v\n", err)
			return
		}
	}
	fmt.Fprint(w, "ok\n")
	switch {
	case s.Connected == nil:
	case s.Connected():
		fmt.Fprint(w, "broker: connected\n")
	default:
		fmt.Fprint(w, "broker: not connected; messages are kept until it is\n")
	}
}
