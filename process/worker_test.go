package process_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
)

// worker of ship1 for what central sent on job.
func (r *road) worker(stop context.Context, m *process.Method) *process.Worker {
	return process.NewWorker(&process.Worker{
		Lane: lane, Method: m, Node: "ship1", Store: r.ship1, Idle: minute, Stop: stop, Log: quiet,
	})
}

// log notes what ran, and how many at once.
type log struct {
	mu       sync.Mutex
	ran      []string
	now, top int
}

// job does f, and notes it.
func (l *log) job(f func(ctx context.Context, text string) message.Result) *process.Method {
	return doing(func(ctx context.Context, m *message.Message) message.Result {
		l.mu.Lock()
		l.ran = append(l.ran, m.Data[0])
		l.now++
		l.top = max(l.top, l.now)
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			l.now--
			l.mu.Unlock()
		}()
		return f(ctx, m.Data[0])
	})
}

func (l *log) want(t *testing.T, ran ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.ran, ran) {
		t.Errorf("ran %q, want %q", l.ran, ran)
	}
	l.ran = nil
}

func sleeps(d time.Duration) func(context.Context, string) message.Result {
	return func(ctx context.Context, _ string) message.Result {
		select {
		case <-time.After(d):
			return message.Result{}
		case <-ctx.Done():
			return message.Result{Outcome: ack.Failed, Error: "ended: " + context.Cause(ctx).Error()}
		}
	}
}

// A method that is not concurrent runs one message at a time, in order, more of
// them than are read at once; each has its result in the outbox when it ends.
func TestSerialOrder(t *testing.T) {
	for name, repeatable := range map[string]bool{"once": false, "repeatable": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				ms := r.submit(job, nil, numbers(300)...)
				r.receive(job, idle())
				var l log
				m := l.job(sleeps(time.Millisecond))
				m.Repeatable = repeatable
				w := r.worker(t.Context(), m)
				var queued int
				w.Queued = func(replies []*message.Message) { queued += len(replies) }
				if err := w.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.want(t, numbers(300)...)
				if l.top != 1 || queued != 300 || r.ship1.Counts() != (store.Counts{Waiting: 300}) {
					t.Errorf("%d at once, %d results queued, counts %+v", l.top, queued, r.ship1.Counts())
				}
				for _, m := range ms {
					want(t, r.ship1, m, store.Ended, ack.Done)
				}
			})
		})
	}
}

// A concurrent method runs as many messages at once as it allows, and no more.
func TestBoundedConcurrency(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, numbers(20)...)
		r.receive(job, idle())
		var l log
		m := l.job(sleeps(time.Second))
		m.Concurrent = 4
		w := r.worker(t.Context(), m)
		began := time.Now()
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l.top != 4 || len(l.ran) != 20 || time.Since(began) > minute+5*time.Second {
			t.Errorf("%d ran, %d at once, and it retired after %s", len(l.ran), l.top, time.Since(began))
		}
		for i, m := range ms {
			rec, err := r.ship1.Record(m.ID)
			if took := rec.FinishedAt.Sub(began); err != nil || rec.Outcome != ack.Done || took != time.Duration(i/4+1)*time.Second {
				t.Errorf("message %d is %s after %s, %v", i, rec.Outcome, took, err)
			}
		}
	})
}

// A slow one of a concurrent method holds up none but those for whom there is no
// room, also when nothing else came for a while.
func TestSlowOneHoldsUpNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		long := func(m *message.Message) { m.MethodTimeout = 2 * ever }
		ms := r.submit(job, long, "slow", "a", "b", "c")
		r.receive(job, idle())
		var l log
		m := l.job(func(ctx context.Context, text string) message.Result {
			if text == "slow" {
				return sleeps(ever)(ctx, text)
			}
			return message.Result{}
		})
		m.Concurrent = 2
		w := r.worker(t.Context(), m)
		stop := runs(t, w.Run)
		synctest.Wait()
		want(t, r.ship1, ms[0], store.Started, "")
		for _, m := range ms[1:] {
			want(t, r.ship1, m, store.Ended, ack.Done)
		}
		time.Sleep(10 * minute)
		more := r.submit(job, nil, "more")[0]
		r.receive(job, idle())
		w.Wake()
		synctest.Wait()
		want(t, r.ship1, more, store.Ended, ack.Done)
		want(t, r.ship1, ms[0], store.Started, "")
		if err := stop(); err != nil { // which lets the slow one finish
			t.Error(err)
		}
		want(t, r.ship1, ms[0], store.Ended, ack.Done)
	})
}

// A worker without work retires; woken before it does, it goes on.
func TestWorkerRetiresAndComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		wire := r.listen(job, idle())
		stop := runs(t, r.publisher(job, wire).Run)
		var l log
		w := r.worker(t.Context(), l.job(sleeps(0)))
		done := make(chan error, 1)
		go func() { done <- w.Run(t.Context()) }()
		deliver := func(text string) {
			r.submit(job, nil, text)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			stop = runs(t, r.publisher(job, wire).Run)
			synctest.Wait()
		}
		time.Sleep(minute - time.Second)
		deliver("one")
		w.Wake()
		synctest.Wait()
		l.want(t, "one")
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) != minute {
			t.Errorf("it retired after %s, %v", time.Since(began), err)
		}
		deliver("two")
		w.Wake()
		if err := w.Run(t.Context()); err != nil {
			t.Error(err)
		}
		l.want(t, "two")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A handler that panics fails its message, with the stack, and ends the run of
// the worker; what comes after it waits for the next.
func TestPanicEndsTheRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, "good", "bad", "after")
		r.receive(job, idle())
		var l log
		w := r.worker(t.Context(), l.job(func(_ context.Context, text string) message.Result {
			if text == "bad" {
				panic("boom")
			}
			return message.Result{}
		}))
		var p *process.Panicked
		if err := w.Run(t.Context()); !errors.As(err, &p) || p.ID != ms[1].ID || p.Value != "boom" || !strings.Contains(p.Cause(), "worker_test.go") {
			t.Errorf("it ended with %v", err)
		}
		l.want(t, "good", "bad")
		want(t, r.ship1, ms[0], store.Ended, ack.Done)
		want(t, r.ship1, ms[1], store.Ended, ack.Failed)
		want(t, r.ship1, ms[2], store.StateTaken, "")
		rec, err := r.ship1.Record(ms[1].ID)
		if err != nil || !strings.Contains(rec.Result.Error, "method Job panicked: boom") {
			t.Errorf("its result says %+v, %v", rec.Result, err)
		}
		if err := w.Run(t.Context()); err != nil {
			t.Error(err)
		}
		l.want(t, "after")
	})
}

// Of several that panic side by side each fails its message, the worker ends
// once all of them have ended, and the second panic is told too.
func TestPanicsSideBySide(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, "bad", "bad", "slow", "never")
		r.receive(job, idle())
		var l log
		m := l.job(func(ctx context.Context, text string) message.Result {
			sleeps(time.Second)(ctx, text)
			if text == "bad" {
				panic("boom")
			}
			return sleeps(time.Second)(ctx, text)
		})
		m.Concurrent = 3
		w := r.worker(t.Context(), m)
		var mu sync.Mutex
		var told []process.Trouble
		w.Trouble = func(x process.Trouble) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, x)
		}
		began := time.Now()
		var p *process.Panicked
		if err := w.Run(t.Context()); !errors.As(err, &p) || time.Since(began) != 2*time.Second {
			t.Errorf("after %s it ended with %v", time.Since(began), err)
		}
		slices.Sort(l.ran)
		l.want(t, "bad", "bad", "slow")
		want(t, r.ship1, ms[0], store.Ended, ack.Failed)
		want(t, r.ship1, ms[1], store.Ended, ack.Failed)
		want(t, r.ship1, ms[2], store.Ended, ack.Done)
		want(t, r.ship1, ms[3], store.StateTaken, "")
		if len(told) != 1 || told[0].ID == p.ID || !strings.Contains(told[0].Cause, "boom") {
			t.Errorf("told of %+v", told)
		}
	})
}

// A worker that is to end lets the running handler finish. When the node cannot
// wait any longer, what that says of itself does not count: it is unknown, or
// runs again if it may.
func TestStopWhileItRuns(t *testing.T) {
	for name, x := range map[string]struct {
		patient    bool
		rerun      message.OnUnknown
		repeatable bool
		state      store.State
		outcome    ack.Outcome
	}{
		"the node waits":            {true, "", false, store.Ended, ack.Done},
		"the node cannot wait":      {false, "", false, store.Ended, ack.Unknown},
		"it asks to be run again":   {false, message.Rerun, false, store.Started, ""},
		"it may be repeated anyway": {false, "", true, store.StateTaken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				ms := r.submit(job, func(m *message.Message) { m.OnUnknown = x.rerun }, "running", "waiting")
				r.receive(job, idle())
				var l log
				node, kill := context.WithCancelCause(context.Background())
				defer kill(nil)
				m := l.job(sleeps(10 * time.Second))
				m.Repeatable = x.repeatable
				stop := runs(t, r.worker(node, m).Run)
				time.Sleep(time.Second)
				if !x.patient {
					time.AfterFunc(time.Second, func() { kill(process.ErrStopping) })
				}
				began := time.Now()
				if err := stop(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); x.patient != (took > time.Second) {
					t.Errorf("it ended after %s", took)
				}
				l.want(t, "running")
				want(t, r.ship1, ms[0], x.state, x.outcome)
				want(t, r.ship1, ms[1], store.StateTaken, "")
				if x.outcome != "" {
					return
				}
				w := r.worker(t.Context(), l.job(sleeps(0))) // of the next life
				w.Method.Repeatable = x.repeatable
				if err := w.Run(t.Context()); err != nil {
					t.Error(err)
				}
				l.want(t, "running", "waiting")
				want(t, r.ship1, ms[0], store.Ended, ack.Done)
			})
		})
	}
}
