package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
)

func TestOnlyTheOwnerMayConnect(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	start(t, dir, &bus{})
	info, err := os.Lstat(api.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("more than the socket is there: %v", entries)
	}
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: api.SocketPath(dir)})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	// And one that died while it made its own.
	if err := os.MkdirAll(filepath.Join(api.SocketPath(dir)+".new", "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Dial(dir); !errors.Is(err, api.ErrNoNode) {
		t.Errorf("dial a dead socket: %v", err)
	}
	start(t, dir, &bus{})
	if _, err := dial(t, dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocketOfALiveNodeIsLeftAlone(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	start(t, dir, &bus{})
	second := &api.Server{Bus: &bus{}, Socket: api.SocketPath(dir)}
	if err := second.Run(t.Context()); !errors.Is(err, api.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	if _, err := dial(t, dir).Status(t.Context()); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	if err := os.WriteFile(api.SocketPath(dir), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&api.Server{Bus: &bus{}, Socket: api.SocketPath(dir)}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(api.SocketPath(dir)); string(b) != "mine" {
		t.Errorf("the file holds %q", b)
	}
}

func TestLongPaths(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems refuse them")
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 60))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Dial(dir); !errors.Is(err, api.ErrNoNode) {
		t.Errorf("before the start: %v", err)
	}
	start(t, dir, &bus{})
	c := dial(t, dir)
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := (&api.Server{Socket: api.SocketPath(dir)}).Run(t.Context()); !errors.Is(err, api.ErrInUse) {
		t.Errorf("second: %v, want ErrInUse", err)
	}
	t.Chdir(dir)
	if _, err := dial(t, ".").Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNoNodeThere(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	for _, d := range []string{dir, filepath.Join(dir, "none")} {
		_, err := api.Dial(d)
		if !errors.Is(err, api.ErrNoNode) || !strings.Contains(err.Error(), "steward run --data "+d) {
			t.Errorf("%s: %v", d, err)
		}
	}
	stop := start(t, dir, &bus{})
	c := dial(t, dir)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := c.Status(t.Context()); !errors.Is(err, api.ErrNoNode) {
		t.Errorf("after it stopped: %v", err)
	}
	start(t, dir, &bus{})
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestStopCutsWaitsAndLetsOthersFinish(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	slow := &slowBus{bus: bus{waiting: make(chan string, 1)}, entered: make(chan struct{}), leave: make(chan struct{})}
	stop := start(t, dir, slow)
	c := dial(t, dir)
	c.Patience = time.Nanosecond
	if _, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil {
		t.Fatal(err)
	}
	waited, resolved := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Wait(t.Context(), "last")
		waited <- err
	}()
	go func() { resolved <- c.ResolveFailure(t.Context(), "f1") }()
	<-slow.waiting
	<-slow.entered
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	if err := <-waited; !errors.Is(err, api.ErrStopping) {
		t.Errorf("wait: %v, want ErrStopping", err)
	}
	select {
	case <-stopped:
		t.Error("Run returned before the last request")
	default:
	}
	close(slow.leave)
	if err := <-resolved; err != nil {
		t.Errorf("the other request: %v", err)
	}
	<-stopped
}

// slowBus holds ResolveFailure until told otherwise.
type slowBus struct {
	bus
	entered, leave chan struct{}
}

func (s *slowBus) ResolveFailure(ctx context.Context, _ string) error {
	close(s.entered)
	select {
	case <-s.leave:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// raw asks over the socket in dir, without the Client.
func raw(t *testing.T, dir, method, target string) (status int, header http.Header, page string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", api.SocketPath(dir))
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://steward"+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestPlainHTTP(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	b := &bus{}
	start(t, dir, b)
	_, header, page := raw(t, dir, "GET", "/openapi.yaml")
	if spec, err := api.Spec(); err != nil || page != string(spec) {
		t.Errorf("/openapi.yaml is not the description (%v)", err)
	}
	if got := header.Get("Server"); got != "steward/1.2.3" {
		t.Errorf("Server: %q", got)
	}
	for target, status := range map[string]int{
		"/":                              404,
		"/v2/messages":                   404,
		"/v1/messages?sice=2030":         422,
		"/v1/messages?since=yesterday":   422,
		"/v1/messages?limit=-1":          422,
		"/v1/messages?label=oslo":        422,
		"/v1/messages/x/wait?timeout=1h": 422,
		"/v1/messages/x/wait?timeout=1":  422,
		"/v1/errors?severity=bad":        422,
		"/v1/processes":                  200,
	} {
		got, header, page := raw(t, dir, "GET", target)
		if got != status {
			t.Errorf("%s: status %d, want %d: %s", target, got, status, page)
		}
		if ct := header.Get("Content-Type"); status != 200 && ct != "application/problem+json" {
			t.Errorf("%s: %s", target, ct)
		}
	}
}

func TestWaitAnswersWhenTheTimeIsUp(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	b := &bus{}
	start(t, dir, b)
	made, err := dial(t, dir).SubmitDocument(t.Context(), []byte(echo))
	if err != nil {
		t.Fatal(err)
	}
	for _, timeout := range []string{"0s", "10ms"} {
		status, _, page := raw(t, dir, "GET", "/v1/messages/last/wait?timeout="+timeout)
		if status != 200 || !strings.Contains(page, `"state":"waiting"`) || !strings.Contains(page, made[0].ID) {
			t.Errorf("%s: %d %s", timeout, status, page)
		}
	}
	b.end(made[0].ID, ack.Done)
	if _, _, page := raw(t, dir, "GET", "/v1/messages/last/wait?timeout=0s"); !strings.Contains(page, `"outcome":"done"`) {
		t.Errorf("ended: %s", page)
	}
}

func TestClientThatLeavesInTheMiddle(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	start(t, dir, &bus{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", api.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST /v1/messages HTTP/1.1\r\nHost: steward\r\nContent-Length: 1000\r\n\r\n[{")
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, dir)
	if got, err := c.Messages(t.Context(), filterAll()); err != nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNodeThatLeavesInTheMiddle(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: api.SocketPath(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := conn.Read(make([]byte, 10)); err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	c := dial(t, dir)
	c.Patience = 300 * time.Millisecond
	_, err = c.SubmitDocument(t.Context(), []byte(echo))
	if !errors.Is(err, api.ErrNoAnswer) || !strings.Contains(err.Error(), "may or may not have been accepted") {
		t.Errorf("got %v", err)
	}
}

// A submission whose answer got lost is repeated, and accepted once; a wait
// outlasts a node that is started again.
func TestNodeComesBack(t *testing.T) {
	dir, real := stewardtest.ShortDir(t), stewardtest.ShortDir(t)
	b := &bus{}
	start(t, real, b)
	through := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "steward" },
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", api.SocketPath(real))
		}},
	}
	var heard, lose atomic.Int32
	lose.Store(2)
	nodeThat(t, dir, func(w http.ResponseWriter, r *http.Request) {
		heard.Add(1)
		if lose.Add(-1) >= 0 {
			through.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		through.ServeHTTP(w, r)
	})
	c := dial(t, dir)
	missed := 0
	c.Missed = func(error) { missed++ }
	got, err := c.SubmitDocument(t.Context(), []byte(echo))
	if err != nil || len(got) != 1 || len(b.records) != 1 || got[0].ID != b.records[0].ID || heard.Load() != 3 || missed != 1 {
		t.Errorf("got %+v, %v after %d requests; accepted %+v; missed %d times", got, err, heard.Load(), b.records, missed)
	}
	b.end(got[0].ID, ack.Done)
	lose.Store(2)
	if r, err := c.Wait(t.Context(), got[0].ID); err != nil || r.Outcome != ack.Done {
		t.Errorf("waited for %+v, %v", r, err)
	}
	lose.Store(1 << 30)
	c.Patience = time.Millisecond
	if _, err := c.Wait(t.Context(), got[0].ID); !api.Away(err) {
		t.Errorf("of a node that stays away: %v", err)
	}
}

// A connection that served before is no reason to believe that a submission did not
// come through: net/http repeats it by itself, and the repeat finds nobody.
func TestNodeDiesUnderAnOldConnection(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		testDies(t, func(string) error { return nil })
	})
	t.Run("a disk that fails", func(t *testing.T) {
		testDies(t, func(socket string) error { return os.Symlink(socket, socket) }) // ELOOP for whoever dials
	})
}

func testDies(t *testing.T, breakSocket func(string) error) {
	t.Helper()
	dir := stewardtest.ShortDir(t)
	var heard atomic.Int32
	nodeThat(t, dir, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "{}")
			return
		}
		heard.Add(1)
		if err := errors.Join(os.Remove(api.SocketPath(dir)), breakSocket(api.SocketPath(dir))); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	c := dial(t, dir)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Missed = func(error) {
		if err := os.RemoveAll(api.SocketPath(dir)); err != nil {
			t.Error(err)
		}
		nodeThat(t, dir, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"messages":[{"id":"m1"}]}`) })
	}
	if got, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil || len(got) != 1 || heard.Load() != 1 {
		t.Errorf("got %+v, %v after %d requests", got, err, heard.Load())
	}
}

// nodeThat answers on the socket in dir with h.
func nodeThat(t *testing.T, dir string, h http.HandlerFunc) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: api.SocketPath(dir)})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

func TestWaitAsksAgainForTheSameMessage(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	var asked []string
	nodeThat(t, dir, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		state := "waiting"
		if len(asked) == 3 {
			state = "ended"
		}
		fmt.Fprintf(w, `{"id":"m1","state":%q}`, state)
	})
	r, err := dial(t, dir).Wait(t.Context(), "last")
	if err != nil || r.State != "ended" {
		t.Errorf("got %+v, %v", r, err)
	}
	if want := "/v1/messages/last/wait /v1/messages/m1/wait /v1/messages/m1/wait"; strings.Join(asked, " ") != want {
		t.Errorf("asked for %s", asked)
	}
}

func TestAnswersThatAreNoneOfOurs(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	page := "<html>"
	status := http.StatusBadGateway
	nodeThat(t, dir, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, page)
	})
	c := dial(t, dir)
	_, err := c.Status(t.Context())
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != status || !strings.Contains(err.Error(), "<html>") {
		t.Errorf("got %v", err)
	}
	status, page = http.StatusOK, `{"node":"cen`
	if _, err := c.Status(t.Context()); !errors.Is(err, api.ErrNoAnswer) {
		t.Errorf("half an answer: %v", err)
	}
}
