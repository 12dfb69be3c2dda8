package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

const (
	callLimit = 30 * time.Second // for an answer that needs no waiting
	pollLimit = time.Minute      // for one poll of Wait
)

// Client talks to the node with one data folder. Its methods are safe for
// concurrent use. What the node refuses is a *Problem; a node that is not there
// is an error that wraps ErrNoNode, one that leaves before it answered ErrNoAnswer.
type Client struct {
	// Patience is how long a submission that had no answer, and Wait, wait for a node
	// that went away to come back; 0: 30 s.
	Patience time.Duration
	// Missed is told when a call begins to wait for the node to come back, once for
	// each time that it is away; it may be called concurrently. Nil: nobody is told.
	Missed func(error)

	data string
	http *http.Client
}

// Dial finds the node that runs with that data folder.
func Dial(dataDir string) (*Client, error) {
	c := &Client{data: dataDir}
	transport := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
		DisableCompression: true,
		MaxIdleConns:       4,
		IdleConnTimeout:    time.Minute,
	}
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	conn, err := c.connect(context.Background())
	if err != nil {
		return nil, err
	}
	return c, conn.Close()
}

// Close lets go of idle connections; requests under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	conn, err := connect(ctx, SocketPath(c.data))
	switch {
	case err == nil:
		return conn, nil
	case nobody(err):
		dir := c.data
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		return nil, fmt.Errorf("%w: start one with 'steward run --data %s', or name the data folder of one that runs with --data", ErrNoNode, dir)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the node in %s belongs to another user: run the command as that user: %w", c.data, err)
	}
	return nil, fmt.Errorf("reach the node in %s: %w", c.data, err)
}

// SubmitDocument submits what may stand in inmsg.txt, all of it or nothing. When
// the error is nil every message is durable. The records are as of acceptance.
func (c *Client) SubmitDocument(ctx context.Context, doc []byte) ([]store.Record, error) {
	return c.submit(ctx, "/v1/messages", doc)
}

// submit repeats itself until it has an answer: its key says that it is one
// submission.
func (c *Client) submit(ctx context.Context, path string, doc []byte) ([]store.Record, error) {
	key, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	var out messageList
	ask := func() error { return c.call(ctx, http.MethodPost, path, nil, doc, key.String(), &out) }
	if err = ask(); Away(err) { // also where nobody was found: net/http may have repeated it by itself
		err = c.patiently(ctx, err, ask)
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
	if Away(err) {
		err = fmt.Errorf("%w: the messages may or may not have been accepted: look with 'steward messages'", err)
	}
	return out.Messages, err
}

// Submit is SubmitDocument for messages.
func (c *Client) Submit(ctx context.Context, ms ...*message.Message) ([]store.Record, error) {
	var doc bytes.Buffer
	for _, m := range ms {
		doc.Write(message.Document(m))
		doc.WriteByte('\n')
	}
	return c.SubmitDocument(ctx, doc.Bytes())
}

// Messages returns the newest that pass f, newest first.
func (c *Client) Messages(ctx context.Context, f store.Filter) ([]store.Record, error) {
	q := query{}
	q.set("toNode", f.ToNode)
	q.set("fromNode", f.FromNode)
	q.set("method", f.Method)
	q.set("state", string(f.State))
	q.set("outcome", string(f.Outcome))
	for k, v := range f.Labels {
		q["label"] = append(q["label"], k+"="+v)
	}
	q.since(f.Since)
	q.limit(f.Limit)
	q.flag("results", f.Results)
	var out messageList
	err := c.do(ctx, http.MethodGet, "/v1/messages", q, nil, &out)
	return out.Messages, err
}

// Message finds one by its whole id, a unique beginning or end of one, or "last".
func (c *Client) Message(ctx context.Context, id string) (store.Record, error) {
	return c.record(ctx, http.MethodGet, id, "", nil)
}

// Wait returns the message when it has ended. If ctx ends first it returns ctx's
// error and the message as last seen, if it was; that affects the message in no way.
// It outlasts a restart of the node: only if that does not come back soon it returns
// an error of which Away is true.
func (c *Client) Wait(ctx context.Context, id string) (store.Record, error) {
	var last store.Record
	for {
		var r store.Record
		poll := func() (err error) {
			r, err = c.record(ctx, http.MethodGet, id, "/wait", query{"timeout": {pollLimit.String()}})
			return err
		}
		if err := c.patiently(ctx, poll(), poll); err != nil {
			return last, err
		}
		if r.State == store.Ended {
			return r, nil
		}
		last, id = r, r.ID
	}
}

// Cancel withdraws a message; the error wraps ErrTooLate if it cannot be.
func (c *Client) Cancel(ctx context.Context, id string) (store.Record, error) {
	return c.record(ctx, http.MethodPost, id, "/cancel", nil)
}

// Resend submits a message again, as a new one that names the old.
func (c *Client) Resend(ctx context.Context, id string) (store.Record, error) {
	return c.record(ctx, http.MethodPost, id, "/resend", nil)
}

// Nodes returns the nodes that the node has heard of, and itself.
func (c *Client) Nodes(ctx context.Context) ([]store.Peer, error) {
	var out nodeList
	err := c.do(ctx, http.MethodGet, "/v1/nodes", nil, nil, &out)
	return out.Nodes, err
}

// Processes returns the node's processes.
func (c *Client) Processes(ctx context.Context) ([]errorkernel.ProcessStatus, error) {
	var out processList
	err := c.do(ctx, http.MethodGet, "/v1/processes", nil, nil, &out)
	return out.Processes, err
}

// RestartProcess starts a process that was terminated, or ends its backoff.
func (c *Client) RestartProcess(ctx context.Context, name string) error {
	path, err := segment("/v1/processes/", "process", name, "/restart")
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, nil, nil, nil)
}

// Failures returns the newest that pass f, newest first.
func (c *Client) Failures(ctx context.Context, f FailureFilter) ([]errorkernel.Failure, error) {
	q := query{}
	q.set("class", string(f.Class))
	q.set("severity", string(f.Severity))
	q.set("node", f.Node)
	q.since(f.Since)
	q.flag("unresolved", f.Unresolved)
	q.limit(f.Limit)
	var out failureList
	err := c.do(ctx, http.MethodGet, "/v1/errors", q, nil, &out)
	return out.Failures, err
}

// ResolveFailure marks a failure as seen to; "all" marks all.
func (c *Client) ResolveFailure(ctx context.Context, id string) error {
	path, err := segment("/v1/errors/", "failure", id, "/resolve")
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, nil, nil, nil)
}

// Status returns the node at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, nil, &out)
	return out, err
}

func (c *Client) record(ctx context.Context, method, id, verb string, q query) (store.Record, error) {
	path, err := segment("/v1/messages/", "message", id, verb)
	if err != nil {
		return store.Record{}, err
	}
	var out store.Record
	err = c.do(ctx, method, path, q, nil, &out)
	return out, err
}

// segment puts a name between two parts of a path. Names that a path cannot
// carry, nothing has.
func segment(before, what, name, after string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", fmt.Errorf("%s %q: %w", what, name, ErrNotFound)
	}
	return before + url.PathEscape(name) + after, nil
}

type query url.Values

func (q query) set(key, value string) {
	if value != "" {
		q[key] = []string{value}
	}
}

func (q query) since(t time.Time) {
	if !t.IsZero() {
		q.set("since", t.Format(time.RFC3339Nano))
	}
}

func (q query) limit(n int) {
	if n > 0 {
		q.set("limit", strconv.Itoa(n))
	}
}

func (q query) flag(key string, on bool) {
	if on {
		q.set(key, "true")
	}
}

// do asks, and decodes the answer into out unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, q query, doc []byte, out any) error {
	return c.call(ctx, method, path, q, doc, "", out)
}

// call is do; key makes it known as one submission.
func (c *Client) call(ctx context.Context, method, path string, q query, doc []byte, key string, out any) error {
	limit := callLimit
	if strings.HasSuffix(path, "/wait") {
		limit += pollLimit
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	target := "http://steward" + path
	if len(q) > 0 {
		target += "?" + url.Values(q).Encode()
	}
	req, err := http.NewRequestWithContext(call, method, target, bytes.NewReader(doc))
	if err != nil {
		return err
	}
	if doc != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.lost(ctx, call, limit, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return readProblem(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.lost(ctx, call, limit, err)
	}
	return nil
}

// lost says why there was no answer.
func (c *Client) lost(ctx, call context.Context, limit time.Duration, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if call.Err() != nil {
		return fmt.Errorf("%w: the node in %s took longer than %s", ErrNoAnswer, c.data, limit)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the rest speaks of a URL that nobody typed
	}
	if errors.Is(err, ErrNoNode) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, err)
}
