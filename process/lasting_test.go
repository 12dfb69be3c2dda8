package process_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
)

// outliving keeps runs that go on without the node: how each ends, and what is
// asked about it while the journal says what.
type outliving struct {
	db      *store.DB
	ends    map[string]ack.Outcome // "" goes on
	refuses error                  // of Prepare

	mu    sync.Mutex
	asked []string
}

func (o *outliving) note(step string, m *message.Message) {
	r, err := o.db.Record(m.ID)
	if err != nil {
		step = err.Error()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, step+" "+m.Data[0]+" "+string(r.State))
}

func (o *outliving) Prepare(m *message.Message) error {
	o.note("prepare", m)
	return o.refuses
}

func (o *outliving) Forget(m *message.Message) error {
	o.note("forget", m)
	return nil
}

func (o *outliving) method() *process.Method {
	m := doing(func(ctx context.Context, m *message.Message) message.Result {
		o.note("handle", m)
		if end := o.ends[m.Data[0]]; end != "" {
			return message.Result{Outcome: end, Error: "its end"}
		}
		<-ctx.Done()
		return message.Result{Outcome: ack.Unknown, Error: context.Cause(ctx).Error()}
	})
	m.Lasting = o
	return m
}

func (o *outliving) want(t *testing.T, steps ...string) {
	t.Helper()
	if !slices.Equal(o.asked, steps) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(o.asked, "\n"), strings.Join(steps, "\n"))
	}
	o.asked = nil
}

// A run is prepared before the journal says that it begins, and forgotten when
// the journal has its end.
func TestLastingRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, "a", "b")
		r.receive(job, idle())
		o := &outliving{db: r.ship1, ends: map[string]ack.Outcome{"a": ack.Done, "b": ack.Failed}}
		if err := r.worker(t.Context(), o.method()).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.want(t, "prepare a delivered", "handle a started", "forget a ended", "prepare b delivered", "handle b started", "forget b ended")
		want(t, r.ship1, ms[0], store.Ended, ack.Done)
		want(t, r.ship1, ms[1], store.Ended, ack.Failed)
	})
}

// A node that stops waits for no run that goes on without it. The next life takes
// it up as it is, before what waits behind it.
func TestLastingRunIsTakenUp(t *testing.T) {
	for name, concurrent := range map[string]int{"in order": 1, "side by side": 4} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				ms := r.submit(job, nil, "long")
				r.receive(job, idle())
				o := &outliving{db: r.ship1, ends: map[string]ack.Outcome{"next": ack.Done}}
				m := o.method()
				m.Concurrent = concurrent
				stop := runs(t, r.worker(context.Background(), m).Run)
				time.Sleep(time.Second)
				began := time.Now()
				if err := stop(); err != nil || time.Since(began) > 0 {
					t.Errorf("it ended after %s, %v", time.Since(began), err)
				}
				o.want(t, "prepare long delivered", "handle long started")
				want(t, r.ship1, ms[0], store.Started, "")

				ms = append(ms, r.submit(job, nil, "next")...)
				r.receive(job, idle())
				o.ends["long"] = ack.Done
				if err := r.worker(t.Context(), m).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if concurrent == 1 {
					o.want(t, "handle long started", "forget long ended", "prepare next delivered", "handle next started", "forget next ended")
				}
				for _, m := range ms {
					want(t, r.ship1, m, store.Ended, ack.Done)
				}
				if rec, err := r.ship1.Record(ms[0].ID); err != nil || rec.Result == nil || rec.Result.Attempt != 1 {
					t.Errorf("%+v, %v", rec.Result, err)
				}
			})
		})
	}
}

// What nobody can tell the end of is unknown, and told; or begun again, three
// times at most, if its message says so.
func TestLastingRunIsLost(t *testing.T) {
	for name, x := range map[string]struct {
		rerun message.OnUnknown
		want  []string
	}{
		"reported": {"", []string{"prepare x delivered", "handle x started", "forget x ended"}},
		"run again": {message.Rerun, []string{
			"prepare x delivered", "handle x started", "forget x started", "prepare x started", "handle x started",
			"forget x started", "prepare x started", "handle x started", "forget x ended",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				m := r.submit(job, func(m *message.Message) { m.OnUnknown = x.rerun }, "x")[0]
				r.receive(job, idle())
				o := &outliving{db: r.ship1, ends: map[string]ack.Outcome{"x": ack.Unknown}}
				w := r.worker(t.Context(), o.method())
				var told []process.Trouble
				w.Trouble = func(x process.Trouble) { told = append(told, x) }
				if err := w.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				o.want(t, x.want...)
				want(t, r.ship1, m, store.Ended, ack.Unknown)
				if len(told) != 1 || told[0].ID != m.ID || told[0].Cause != "its end" {
					t.Errorf("told of %+v", told)
				}
			})
		})
	}
}

// A run that cannot be prepared has certainly not begun.
func TestLastingRunCannotBePrepared(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		m := r.submit(job, nil, "x")[0]
		r.receive(job, idle())
		o := &outliving{db: r.ship1, refuses: errors.New("no room")}
		if err := r.worker(t.Context(), o.method()).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.want(t, "prepare x delivered")
		if rec, err := r.ship1.Record(m.ID); err != nil || rec.Outcome != ack.Failed || rec.Reason != "cannot start: no room" {
			t.Errorf("%s: %s, %v", rec.Outcome, rec.Reason, err)
		}
	})
}

// What its sender takes back between its preparation and its beginning leaves nothing.
func TestLastingRunIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		m := r.submit(job, nil, "x")[0]
		r.receive(job, idle())
		o := &outliving{db: r.ship1}
		w := r.worker(t.Context(), o.method())
		w.Method.Lasting = &takesBack{o, func() {
			got, err := r.ship1.Receive(store.Batch{Subject: job, From: "central", For: r.ship1.ID(), Epoch: r.central.Epoch(), Items: []store.Item{void(t, m)}})
			if err != nil || got.Replies[0].Acks[0].Verdict != ack.Voided {
				t.Errorf("%+v, %v", got.Replies, err)
			}
		}}
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.want(t, "prepare x delivered", "forget x ended")
		want(t, r.ship1, m, store.Ended, ack.Cancelled)
	})
}

// takesBack is outliving, with what happens once a run is prepared.
type takesBack struct {
	*outliving
	then func()
}

func (b *takesBack) Prepare(m *message.Message) error {
	err := b.outliving.Prepare(m)
	b.then()
	return err
}
