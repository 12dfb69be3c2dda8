package method

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// HTTPConfig bounds what HTTPGet fetches; zero values are the defaults.
type HTTPConfig struct {
	BodyLimit int           // bytes kept of a body; 256 KiB
	MaxTime   time.Duration // longest fetch, whatever the message says; 30 s
	Redirects int           // followed at most; 5
	// AllowAddr decides which addresses may be connected to, also after a redirect
	// and whatever a name resolves to; nil allows all.
	AllowAddr func(netip.Addr) bool
}

const (
	concurrentGets  = 8
	defaultHTTPTime = 30 * time.Second
	defaultRedirect = 5
	maxURL          = 8 << 10
	headLimit       = 32 << 10 // bytes of headers that come back
	headCount       = 256      // and values
)

// httpGet fetches a URL and returns status, headers and body.
func httpGet(h *Host) process.Method {
	return process.Method{
		Name:       "HTTPGet",
		Replies:    true,
		Kinds:      []subject.Kind{subject.CommandACK, subject.EventACK},
		Repeatable: true,
		Concurrent: concurrentGets,
		Check: func(m *message.Message) error {
			_, err := target(m)
			return err
		},
		Handler: newGetter(h.HTTP),
	}
}

// target is the URL that m asks for.
func target(m *message.Message) (*url.URL, error) {
	if len(m.Data) != 1 {
		return nil, fmt.Errorf("data has %d strings: want one URL", len(m.Data))
	}
	if len(m.Data[0]) > maxURL {
		return nil, fmt.Errorf("the URL has %d bytes: want at most %d", len(m.Data[0]), maxURL)
	}
	u, err := url.Parse(m.Data[0])
	if err != nil {
		return nil, err
	}
	return u, checkURL(u)
}

func checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("the URL is %.80q: want http://host/… or https://host/…", u)
	}
	return nil
}

// getter fetches. It keeps no connection, so nothing of it lives between messages.
type getter struct {
	HTTPConfig
	client *http.Client
}

func newGetter(c HTTPConfig) *getter {
	c.BodyLimit = cmp.Or(c.BodyLimit, outputLimit)
	c.MaxTime = cmp.Or(c.MaxTime, defaultHTTPTime)
	c.Redirects = cmp.Or(c.Redirects, defaultRedirect)
	dialer := &net.Dialer{Control: c.control}
	return &getter{HTTPConfig: c, client: &http.Client{
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > c.Redirects {
				return fmt.Errorf("stopped after %d redirects", c.Redirects)
			}
			return checkURL(next.URL)
		},
		// No proxy: AllowAddr would only see the proxy. No decompression: the body is
		// what the server sent, with the length that it said.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			MaxResponseHeaderBytes: 1 << 20,
		},
	}}
}

// control refuses a connection, once its address is known.
func (g HTTPConfig) control(_, address string, _ syscall.RawConn) error {
	if g.AllowAddr == nil {
		return nil
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !g.AllowAddr(a.Addr().Unmap()) {
		return fmt.Errorf("this node does not allow HTTPGet to connect to %s", a.Addr())
	}
	return nil
}

// Handle fetches m's URL. A response with a status below 400 is done.
func (g *getter) Handle(ctx context.Context, m *message.Message) message.Result {
	start := time.Now()
	u, err := target(m)
	if err != nil {
		return failed(start, err)
	}
	ctx, cancel := context.WithTimeout(ctx, min(g.MaxTime, m.RunLimit()))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return failed(start, err)
	}
	req.Header.Set("User-Agent", "steward")
	resp, err := g.client.Do(req)
	r := message.Result{StartedAt: start}
	if resp != nil {
		defer resp.Body.Close()
		r.HTTP = &message.HTTP{Status: resp.StatusCode}
		r.HTTP.Header, r.HTTP.HeaderTruncated = fitHeaders(resp.Header)
	}
	if err == nil {
		err = g.readBody(&r, resp)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		r.Outcome, r.Error = interrupted(ctx)
	case err != nil:
		r.Outcome, r.Error = ack.Failed, bare(err).Error()
	case resp.StatusCode >= 400:
		r.Outcome, r.Error = ack.Failed, "status "+resp.Status
	default:
		r.Outcome = ack.Done
	}
	r.Error = strings.ToValidUTF8(r.Error[:min(len(r.Error), maxURL)], "?")
	r.EndedAt = time.Now()
	return r
}

// readBody keeps the beginning of the body, and its true length where that is
// known: a body that is cut and told no length has length 0.
func (g *getter) readBody(r *message.Result, resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(g.BodyLimit)+1))
	whole := err == nil && len(b) <= g.BodyLimit
	total := resp.ContentLength
	if whole {
		total = int64(len(b))
	} else {
		b = wholeRunes(b[:min(len(b), g.BodyLimit)])
	}
	r.Stdout = fit(b, encodedLimit)
	r.StdoutBytes = max(total, 0)
	r.Truncated = !whole || len(r.Stdout) < len(b)
	return err
}

// bare is err without the URL that the client puts before it: the sender knows it.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// fitHeaders are all headers, in the order of their names, without the values for
// which there is no room.
func fitHeaders(h http.Header) (kept map[string][]string, cut bool) {
	kept = map[string][]string{}
	size, count := 0, 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			v = strings.ToValidUTF8(v, "?")
			if count == headCount || size+len(name)+len(v) > headLimit {
				cut = true
				continue
			}
			size, count = size+len(name)+len(v), count+1
			kept[name] = append(kept[name], v)
		}
	}
	return kept, cut
}
