package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

const (
	shutdownLimit = 5 * time.Second
	maxRequests   = 2000 // at once; more are refused
	maxWaits      = 1000 // of them, so that waiting shuts out no command
	maxSubmits    = 8    // of them, because each may hold MaxDocument in memory; more wait
)

// Server answers on a unix socket that only this user can open.
type Server struct {
	Bus     Bus
	Socket  string // see SocketPath
	Version string // of steward, for the Server header
	Log     *slog.Logger

	mu   sync.Mutex
	ln   *net.UnixListener
	info os.FileInfo // of the socket that ln made
}

// Listen makes the socket, so that clients can connect before Run serves them.
// The socket of a dead process is replaced; that of a live one is left alone,
// and the error wraps ErrInUse. Run must follow: it takes the socket away.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return nil
	}
	ln, info, err := listen(ctx, s.Socket)
	if err != nil {
		return fmt.Errorf("local API: %w", err)
	}
	s.ln, s.info = ln, info
	return nil
}

// Run serves until ctx ends; waits are cut short then, and other requests have
// five seconds to finish. It listens if Listen has not been called, and returns
// with the socket removed and no handler running.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	ln, info := s.ln, s.info
	s.mu.Unlock()
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	h := &guard{next: newMux(ctx, s.Bus, log), version: s.Version, log: log}
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      MaxWait + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
		defer cancel()
		if srv.Shutdown(bound) != nil {
			cut()
		}
	})
	log.Debug("local API listens", "socket", s.Socket)
	err := srv.Serve(ln)
	if stop() {
		err = fmt.Errorf("local API on %s: %w", s.Socket, err)
	} else {
		<-stopped
		err = nil
	}
	cut()
	closed := srv.Close()
	h.running.Lock() // for ever: the last handler has returned, and no other begins
	s.mu.Lock()
	s.ln, s.info = nil, nil
	s.mu.Unlock()
	return errors.Join(err, closed, remove(s.Socket, info))
}

// guard stands before every request: it bounds their number, and keeps a
// handler's panic from being more than that request's.
type guard struct {
	next    http.Handler
	version string
	log     *slog.Logger
	running sync.RWMutex // held for reading by each handler

	mu  sync.Mutex
	now int
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "steward/"+g.version)
	if !g.running.TryRLock() {
		writeProblem(w, http.StatusServiceUnavailable, ErrStopping.Error())
		return
	}
	defer g.running.RUnlock()
	if !g.enter() {
		w.Header().Set("Retry-After", "1")
		writeProblem(w, http.StatusServiceUnavailable, fmt.Sprintf("the node is answering %d requests already: try again", maxRequests))
		return
	}
	defer g.leave()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		// The handlers' own panics were answered; this is an answer that could not be
		// written, as a rule because the client left.
		if r.Context().Err() == nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, not an error
			g.log.Error("answer a request", "method", r.Method, "path", r.URL.Path, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		panic(http.ErrAbortHandler)
	}()
	g.next.ServeHTTP(w, r)
}

func (g *guard) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now >= maxRequests {
		return false
	}
	g.now++
	return true
}

func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
}
