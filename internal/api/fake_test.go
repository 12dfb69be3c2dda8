package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bus is a node without a road: messages end when the test says so.
type bus struct {
	submitErr error // of the next submissions
	failWith  error // of Status

	mu       sync.Mutex
	records  []store.Record // oldest first
	once     map[store.Submission][]store.Record
	ended    map[string]chan struct{}
	filter   store.Filter // of the last Messages
	failing  api.FailureFilter
	failures []errorkernel.Failure
	did      []string

	waiting chan string // gets the id of each Wait that began, if set
	gone    chan error  // gets the reason of each Wait that was cut, if set
}

func (b *bus) Submit(_ context.Context, ms ...*message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.submitErr != nil {
		return b.submitErr
	}
	for _, m := range ms {
		m.ID, m.FromNode, m.Time = uuid.Must(uuid.NewV7()), "central", time.Now()
		m.Place = message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: uint64(len(b.records) + 1)}
		b.add(store.Record{
			ID: m.ID.String(), FromNode: m.FromNode, ToNode: m.ToNode, Kind: m.Kind, Method: m.Method,
			Data: m.Data, Seq: m.Place.Seq, State: store.Waiting, AcceptedAt: m.Time,
		})
	}
	return nil
}

func (b *bus) SubmitOnce(ctx context.Context, s store.Submission, ms ...*message.Message) ([]store.Record, error) {
	b.mu.Lock()
	earlier, ok := b.once[s]
	b.mu.Unlock()
	if ok {
		return earlier, nil
	}
	if err := b.Submit(ctx, ms...); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.once == nil {
		b.once = map[store.Submission][]store.Record{}
	}
	b.once[s] = slices.Clone(b.records[len(b.records)-len(ms):])
	return nil, nil
}

func (b *bus) add(r store.Record) {
	b.records = append(b.records, r)
	if b.ended == nil {
		b.ended = map[string]chan struct{}{}
	}
	b.ended[r.ID] = make(chan struct{})
}

// end gives a message its outcome.
func (b *bus) end(id string, o ack.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.records, func(r store.Record) bool { return r.ID == id })
	b.records[i].State, b.records[i].Outcome, b.records[i].EndedAt = store.Ended, o, time.Now()
	close(b.ended[id])
}

func (b *bus) Messages(_ context.Context, f store.Filter) ([]store.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.filter = f
	var out []store.Record
	for _, r := range slices.Backward(b.records) {
		if f.ToNode == "" || f.ToNode == r.ToNode {
			out = append(out, r)
		}
	}
	return out, nil
}

func (b *bus) Message(_ context.Context, id string) (store.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.find(id)
}

func (b *bus) find(id string) (store.Record, error) {
	if id == "ambiguous" {
		return store.Record{}, fmt.Errorf("message %s: %w", id, api.ErrAmbiguous)
	}
	if n := len(b.records); id == "last" && n > 0 {
		return b.records[n-1], nil
	}
	for _, r := range b.records {
		if r.ID == id {
			return r, nil
		}
	}
	return store.Record{}, fmt.Errorf("message %s: %w", id, api.ErrNotFound)
}

func (b *bus) Wait(ctx context.Context, id string) (store.Record, error) {
	b.mu.Lock()
	ended := b.ended[id]
	b.mu.Unlock()
	if b.waiting != nil {
		b.waiting <- id
	}
	select {
	case <-ended:
		return b.Message(ctx, id)
	case <-ctx.Done():
		if b.gone != nil {
			b.gone <- ctx.Err()
		}
		return store.Record{}, ctx.Err()
	}
}

func (b *bus) Cancel(ctx context.Context, id string) (store.Record, error) {
	r, err := b.Message(ctx, id)
	if err == nil && r.State == store.Ended {
		err = fmt.Errorf("cancel %s: %w: it is %s", r.ID, api.ErrTooLate, r.Outcome)
	}
	if err != nil {
		return store.Record{}, err
	}
	b.end(r.ID, ack.Cancelled)
	return b.Message(ctx, r.ID)
}

func (b *bus) Resend(ctx context.Context, id string) (store.Record, error) {
	r, err := b.Message(ctx, id)
	if err != nil {
		return store.Record{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	again := store.Record{ID: uuid.Must(uuid.NewV7()).String(), ToNode: r.ToNode, State: store.Waiting, CausationID: r.ID}
	b.add(again)
	return again, nil
}

func (b *bus) Nodes(context.Context) ([]store.Peer, error) {
	return []store.Peer{{Name: "ship1", StoreID: uuid.Must(uuid.NewV7()), Methods: []string{"Echo"}, Online: true, Waiting: 3}}, nil
}

func (b *bus) Processes() []errorkernel.ProcessStatus {
	return []errorkernel.ProcessStatus{{Name: "steward.ship1.CommandACK.Echo", State: errorkernel.Backoff, Restarts: 2, LastError: "no"}}
}

func (b *bus) RestartProcess(name string) error {
	switch name {
	case "panic":
		panic("restart of all things")
	case "running":
		return fmt.Errorf("restart %s: %w: it runs", name, api.ErrConflict)
	case "none":
		return fmt.Errorf("process %s: %w", name, api.ErrNotFound)
	}
	b.note("restart " + name)
	return nil
}

func (b *bus) Failures(_ context.Context, f api.FailureFilter) ([]errorkernel.Failure, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = f
	return slices.Clone(b.failures), nil
}

func (b *bus) ResolveFailure(_ context.Context, id string) error {
	if id == "none" {
		return fmt.Errorf("failure %s: %w", id, api.ErrNotFound)
	}
	b.note("resolve " + id)
	return nil
}

func (b *bus) Status(context.Context) (api.Status, error) {
	return api.Status{
		Node: "central", Version: "1.2.3", Since: time.Now(),
		Broker:   api.Broker{Connected: true, Embedded: true, URL: "nats://127.0.0.1:4222"},
		Backlog:  api.Backlog{Waiting: 7},
		Counters: api.Counters{Accepted: 9, Outcomes: map[ack.Outcome]uint64{ack.Done: 2}},
	}, b.failWith
}

func (b *bus) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.did = append(b.did, s)
}

func (b *bus) done() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.did)
}

// start serves b in dir until stop is called or the test ends.
func start(t *testing.T, dir string, b api.Bus) (stop func()) {
	t.Helper()
	s := &api.Server{Bus: b, Socket: api.SocketPath(dir), Version: "1.2.3", Log: slog.New(slog.DiscardHandler)}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "steward.sock*"))
		if len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, " "))
		}
	})
	t.Cleanup(stop)
	return stop
}

func dial(t *testing.T, dir string) *api.Client {
	t.Helper()
	c, err := api.Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts b and returns a client of it.
func serve(t *testing.T, b *bus) *api.Client {
	t.Helper()
	dir := stewardtest.ShortDir(t)
	start(t, dir, b)
	return dial(t, dir)
}
