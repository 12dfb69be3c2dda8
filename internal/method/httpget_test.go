package method_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
)

// site is a server with every kind of trouble.
func site(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("X-Ship", "one, two")
		fmt.Fprintf(w, "%s for %s", r.Method, r.UserAgent())
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no more", http.StatusGone) })
	mux.HandleFunc("/hop/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		if n == 0 {
			fmt.Fprint(w, "arrived")
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/hop/%d", n-1), http.StatusFound)
	})
	mux.HandleFunc("/to-file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3000000")
		fmt.Fprint(w, strings.Repeat("x", 3000000))
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprint(w, strings.Repeat("\x01", 10000))
		}
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begin")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "begin")
	})
	mux.HandleFunc("/heads", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 100 {
			w.Header().Set(fmt.Sprintf("A-%02d", i), strings.Repeat("\xffx", 300))
		}
		w.Header().Set("Zone", "north")
	})
	mux.HandleFunc("/many", func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			w.Header().Add("Link", "<>")
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestHTTPGet(t *testing.T) {
	url := site(t)
	for _, c := range []struct {
		path    string
		outcome ack.Outcome
		status  int
		body    string
		why     string
	}{
		{"/ok", ack.Done, 200, "GET for steward", ""},
		{"/gone", ack.Failed, 410, "no more\n", "status 410"},
		{"/hop/5", ack.Done, 200, "arrived", ""},
		{"/hop/6", ack.Failed, 302, "", "stopped after 5 redirects"},
		{"/to-file", ack.Failed, 302, "", "want http://host"},
		{"/short", ack.Failed, 200, "begin", "unexpected EOF"},
		{"/none", ack.Failed, 404, "404 page not found\n", "status 404"},
	} {
		r := handle(t, &method.Host{}, "HTTPGet", plenty, url+c.path)
		if r.Outcome != c.outcome || r.HTTP == nil || r.HTTP.Status != c.status || r.Stdout.String() != c.body || !strings.Contains(r.Error, c.why) {
			t.Errorf("%s: got %+v %+v", c.path, r, r.HTTP)
		}
	}
	r := handle(t, &method.Host{}, "HTTPGet", plenty, url+"/ok")
	if h := r.HTTP.Header; h["Content-Type"][0] != "text/plain; charset=utf-8" || !slices.Equal(h["Set-Cookie"], []string{"a=1", "b=2"}) ||
		!slices.Equal(h["X-Ship"], []string{"one, two"}) || h["Date"] == nil || r.HTTP.HeaderTruncated || r.Truncated || r.StdoutBytes != 15 {
		t.Errorf("got %+v %+v", r, r.HTTP)
	}
}

func TestHTTPGetIsBounded(t *testing.T) {
	url := site(t)
	r := handle(t, &method.Host{}, "HTTPGet", plenty, url+"/big")
	if r.Outcome != ack.Done || len(r.Stdout) != 256<<10 || r.StdoutBytes != 3000000 || !r.Truncated {
		t.Errorf("big: %s, kept %d of %d, cut %t", r.Outcome, len(r.Stdout), r.StdoutBytes, r.Truncated)
	}
	r = handle(t, &method.Host{}, "HTTPGet", plenty, url+"/endless")
	if r.Outcome != ack.Done || !r.Truncated || r.StdoutBytes != 0 || encodedSize(t, r) > 900<<10 || len(r.Stdout) < 70<<10 {
		t.Errorf("endless: %s, kept %d of %d, cut %t", r.Outcome, len(r.Stdout), r.StdoutBytes, r.Truncated)
	}
	r = handle(t, &method.Host{HTTP: method.HTTPConfig{MaxTime: 200 * time.Millisecond}}, "HTTPGet", plenty, url+"/slow")
	if r.Outcome != ack.Timeout || r.HTTP.Status != 200 || r.Stdout.String() != "begin" || !r.Truncated {
		t.Errorf("slow, by the node's limit: %+v", r)
	}
	r = handle(t, &method.Host{}, "HTTPGet", 200*time.Millisecond, url+"/slow")
	if r.Outcome != ack.Timeout {
		t.Errorf("slow, by the message's limit: %+v", r)
	}
	r = handle(t, &method.Host{}, "HTTPGet", plenty, url+"/heads")
	if h := r.HTTP.Header; r.Outcome != ack.Done || !r.HTTP.HeaderTruncated || len(h) < 50 || len(h) > 60 || h["A-00"] == nil || h["Zone"] == nil || encodedSize(t, r) > 64<<10 {
		t.Errorf("heads: %d, %d bytes", len(h), encodedSize(t, r))
	}
	r = handle(t, &method.Host{}, "HTTPGet", plenty, url+"/many")
	if h := r.HTTP.Header; r.Outcome != ack.Done || !r.HTTP.HeaderTruncated || len(h["Link"])+len(h) > 257+2 || len(h["Link"]) < 250 {
		t.Errorf("many: %d", len(h["Link"]))
	}
}

func TestHTTPGetEndsWithTheNode(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	stop(process.ErrStopping)
	r := find(t, &method.Host{}, "HTTPGet").Handler.Handle(ctx, &message.Message{Data: []string{site(t) + "/ok"}})
	if r.Outcome != ack.Unknown || !strings.Contains(r.Error, "stopping") {
		t.Errorf("got %+v", r)
	}
}

func TestHTTPGetAsksForEachAddress(t *testing.T) {
	url := site(t)
	var asked []netip.Addr
	h := &method.Host{HTTP: method.HTTPConfig{AllowAddr: func(a netip.Addr) bool {
		asked = append(asked, a)
		return len(asked) < 3
	}}}
	r := handle(t, h, "HTTPGet", plenty, url+"/hop/3")
	if r.Outcome != ack.Failed || !strings.Contains(r.Error, "does not allow HTTPGet to connect to 127.0.0.1") || len(asked) != 3 || asked[0] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("asked for %v, got %+v", asked, r)
	}
	r = handle(t, &method.Host{}, "HTTPGet", plenty, "http://127.0.0.1:1/")
	if r.Outcome != ack.Failed || r.HTTP != nil || !strings.Contains(r.Error, "refused") {
		t.Errorf("got %+v", r)
	}
}
