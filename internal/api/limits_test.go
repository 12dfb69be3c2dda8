package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

func TestWaitsAreBounded(t *testing.T) {
	rt := &routes{stopping: t.Context(), waits: make(chan struct{}, 1)}
	rt.waits <- struct{}{}
	_, err := rt.wait(t.Context(), &waitInput{ID: "last", Timeout: "1s"})
	if se, ok := errors.AsType[huma.StatusError](err); !ok || se.GetStatus() != http.StatusServiceUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	answered := 0
	g := &guard{
		log:  slog.New(slog.DiscardHandler),
		next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered++ }),
	}
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody))
		return w
	}
	g.now = maxRequests
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d %v", w.Code, w.Header())
	}
	g.leave()
	if w := ask(); w.Code != http.StatusOK || g.now != maxRequests-1 {
		t.Errorf("with room: %d, %d at once", w.Code, g.now)
	}
	g.running.Lock() // as Run does at its end
	if w := ask(); w.Code != http.StatusServiceUnavailable {
		t.Errorf("after the end: %d", w.Code)
	}
	if answered != 1 {
		t.Errorf("answered %d", answered)
	}
}
