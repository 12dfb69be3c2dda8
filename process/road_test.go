package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	job    = subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Job"}
	note   = subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.EventACK, Method: "Note"}
	shout  = subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.EventNACK, Method: "Note"}
	lane   = store.Lane{From: "central", Subject: job}
	ever   = 24 * time.Hour
	minute = time.Minute
)

// inBubble runs f in virtual time; a goroutine that is left fails the test.
func inBubble(t *testing.T, f func(t *testing.T, r *road)) {
	t.Helper()
	dir := stewardtest.Folder(t)
	synctest.Test(t, func(t *testing.T) {
		r := &road{t: t, dir: dir}
		r.central, r.ship1 = r.open("central", store.Options{}), r.open("ship1", store.Options{})
		t.Cleanup(func() {
			if err := errors.Join(r.central.Close(), r.ship1.Close()); err != nil {
				t.Error(err)
			}
		})
		f(t, r)
	})
}

// road is central's journal and ship1's, and no wire between them yet.
type road struct {
	t              *testing.T
	dir            string
	central, ship1 *store.DB
}

func (r *road) open(name string, opts store.Options) *store.DB {
	r.t.Helper()
	opts.Node, opts.MinFree, opts.Notify = name, 1, func(o ack.Outcome) bool { return o != ack.Done && o != ack.Delivered }
	db, err := store.Open(filepath.Join(r.dir, name), opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return db
}

// copied puts a copy of ship1's journal in its place.
func (r *road) copied() {
	r.t.Helper()
	path := filepath.Join(r.dir, "ship1")
	if err := r.ship1.Close(); err != nil {
		r.t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(path+".copy", b, 0o600), os.Rename(path+".copy", path)); err != nil {
		r.t.Fatal(err)
	}
	if r.ship1 = r.open("ship1", store.Options{}); !r.ship1.Copied() {
		r.t.Fatal("the journal does not know that it is a copy")
	}
}

// submit accepts messages of central, one for each text; change may change each.
func (r *road) submit(s subject.Subject, change func(*message.Message), texts ...string) []*message.Message {
	r.t.Helper()
	var ms []*message.Message
	for _, text := range texts {
		m := &message.Message{ToNode: s.Node, Kind: s.Kind, Method: s.Method, Data: []string{text}}
		if change != nil {
			change(m)
		}
		r.central.Fresh(m, time.Now())
		ms = append(ms, m)
	}
	if err := r.central.Accept(r.t.Context(), ms, false); err != nil {
		r.t.Fatal(err)
	}
	return ms
}

// numbers are n texts.
func numbers(n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(i))
	}
	return texts
}

// want checks what a journal knows of a message.
func want(t *testing.T, db *store.DB, m *message.Message, state store.State, outcome ack.Outcome) {
	t.Helper()
	r, err := db.Record(m.ID)
	if err != nil || r.State != state || r.Outcome != outcome {
		t.Errorf("message %v is %s %s (%s), %v; want %s %s", m.Data[:min(1, len(m.Data))], r.State, r.Outcome, r.Reason, err, state, outcome)
	}
}

// wire is a process.Conn to whoever is listed in to.
type wire struct {
	to  map[subject.Subject]*process.Subscriber
	max int // payload

	mu    sync.Mutex
	calls []call
	meet  func(call) error // what becomes of a call; nil: it is carried
}

// call is a request, or something published.
type call struct {
	at     time.Time
	events int
	size   int
	header process.Header
	data   []byte
}

// errSilence lets a call be carried, and its answer be lost.
var errSilence = errors.New("no answer comes")

func (w *wire) call(h process.Header, data []byte) (err error) {
	c := call{time.Now(), 0, len(data), h, data}
	if events, err := message.Split(data); err == nil && len(data) > 0 && h["Steward-Ask"] == nil {
		c.events = len(events)
	}
	w.mu.Lock()
	w.calls = append(w.calls, c)
	meet := w.meet
	w.mu.Unlock()
	if meet != nil {
		err = meet(c)
	}
	return err
}

// set decides what becomes of calls from now on.
func (w *wire) set(meet func(call) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meet = meet
}

// made lists the calls since the last time, without questions who is there.
func (w *wire) made() []call {
	return slices.DeleteFunc(w.tried(), func(c call) bool { return c.size == 0 })
}

// tried lists all calls since the last time.
func (w *wire) tried() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.calls
	w.calls = nil
	return list
}

// Request is process.Conn's.
func (w *wire) Request(ctx context.Context, s subject.Subject, h process.Header, data []byte) ([]byte, error) {
	err := w.call(h, data)
	if err != nil && !errors.Is(err, errSilence) {
		return nil, err
	}
	sub := w.to[s]
	if sub == nil {
		return nil, process.ErrNobody
	}
	reply := make(chan []byte, 1)
	sub.Offer(process.Request{Subject: s, Header: h, Data: data, Respond: func(b []byte) error {
		if err == nil {
			reply <- b
		}
		return nil
	}})
	select {
	case b := <-reply:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Publish is process.Conn's.
func (w *wire) Publish(_ context.Context, s subject.Subject, h process.Header, data []byte) error {
	if err := w.call(h, data); err != nil {
		return err
	}
	if sub := w.to[s]; sub != nil {
		sub.Offer(process.Request{Subject: s, Header: h, Data: data})
	}
	return nil
}

// MaxPayload is process.Conn's.
func (w *wire) MaxPayload() int { return w.max }

// runs starts f, and returns what ends it and gives its error.
func runs(t *testing.T, f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// listen runs ship1's subscriber of s, which has method m, until the test ends.
func (r *road) listen(s subject.Subject, m *process.Method) *wire {
	r.t.Helper()
	sub := r.subscriber(s, m)
	stop := runs(r.t, sub.Run)
	r.t.Cleanup(func() {
		if err := stop(); err != nil {
			r.t.Error(err)
		}
	})
	return &wire{to: map[subject.Subject]*process.Subscriber{s: sub}}
}

func (r *road) subscriber(s subject.Subject, m *process.Method) *process.Subscriber {
	return process.NewSubscriber(&process.Subscriber{
		Subject: s, Node: "ship1", Store: r.ship1, Method: m, Log: quiet, Stop: r.t.Context(),
		Work: func(store.Lane) {}, Queued: func([]*message.Message) {}, Handled: func(store.Work, message.Result) {},
	})
}

// publisher of central on s.
func (r *road) publisher(s subject.Subject, w process.Conn) *process.Publisher {
	return process.NewPublisher(&process.Publisher{
		Subject: s, Node: "central", Store: r.central, Conn: w, Log: quiet, Idle: minute,
		Policy: ack.Policy{Timeout: 5 * time.Second, Wait: time.Second, MaxWait: minute},
	})
}

// doing is a method that does f with each message.
func doing(f func(ctx context.Context, m *message.Message) message.Result) *process.Method {
	return &process.Method{Name: "Job", Kinds: []subject.Kind{subject.CommandACK, subject.EventACK, subject.EventNACK}, Handler: process.HandlerFunc(f)}
}

// idle is a method for messages that nobody handles in the test.
func idle() *process.Method {
	return doing(func(context.Context, *message.Message) message.Result { return message.Result{} })
}

// receive puts central's messages on s into ship1's inbox as a publisher and a
// subscriber would.
func (r *road) receive(s subject.Subject, m *process.Method) {
	r.t.Helper()
	w := r.listen(s, m)
	p := r.publisher(s, w)
	stop := runs(r.t, p.Run)
	synctest.Wait()
	if err := stop(); err != nil {
		r.t.Fatal(err)
	}
}

func ids(ms []*message.Message) (list []uuid.UUID) {
	for _, m := range ms {
		list = append(list, m.ID)
	}
	return list
}
