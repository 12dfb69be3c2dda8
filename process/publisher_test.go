package process_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
)

// A batch has at most 512 messages and 512 KiB, and fits the broker; what never
// fits ends as rejected, and the others go on.
func TestBatchLimits(t *testing.T) {
	for name, x := range map[string]struct {
		max   int
		texts []string
		want  []int // events in each request
	}{
		"count":  {0, numbers(1100), []int{512, 512, 76}},
		"bytes":  {0, slices.Repeat([]string{strings.Repeat("x", 100<<10)}, 12), []int{5, 5, 2}},
		"one":    {0, []string{strings.Repeat("x", 600<<10), "small"}, []int{1, 1}},
		"broker": {64 << 10, slices.Repeat([]string{strings.Repeat("x", 20<<10)}, 5), []int{2, 2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				ms := r.submit(note, nil, x.texts...)
				w := r.listen(note, idle())
				w.max = x.max
				stop := runs(t, r.publisher(note, w).Run)
				synctest.Wait()
				var got []int
				for _, c := range w.made() {
					got = append(got, c.events)
					if limit := 512 << 10; c.events > 1 && c.size > limit || x.max > 0 && c.size > x.max {
						t.Errorf("a request of %d bytes with %d events", c.size, c.events)
					}
				}
				if !slices.Equal(got, x.want) {
					t.Errorf("requests of %v events, want %v", got, x.want)
				}
				for _, m := range ms {
					want(t, r.central, m, store.Ended, ack.Delivered)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTooBigForTheBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(note, nil, "before", strings.Repeat("x", 70<<10), "after")
		w := r.listen(note, idle())
		w.max = 64 << 10
		p := r.publisher(note, w)
		var settled []store.Settled
		p.Settled = func(list []store.Settled) { settled = append(settled, list...) }
		stop := runs(t, p.Run)
		synctest.Wait()
		want(t, r.central, ms[0], store.Ended, ack.Delivered)
		want(t, r.central, ms[1], store.Ended, ack.RejectedEnd)
		want(t, r.central, ms[2], store.Ended, ack.Delivered)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(settled) != 3 || settled[1].ID != ms[1].ID || !strings.Contains(settled[1].Reason, "the broker takes") {
			t.Errorf("told of %+v", settled)
		}
	})
}

// Without work a publisher retires, and a later Run goes on where it was.
func TestPublisherRetiresAndComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		w := r.listen(note, idle())
		p := r.publisher(note, w)
		for _, text := range []string{"one", "two"} {
			m := r.submit(note, nil, text)[0]
			p.Wake()
			began := time.Now()
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			want(t, r.central, m, store.Ended, ack.Delivered)
			if d := time.Since(began); d < minute || d > 3*minute {
				t.Errorf("it retired after %s", d)
			}
		}
		if n := len(w.made()); n != 2 {
			t.Errorf("%d requests with messages for two", n)
		}
	})
}

// While a result is to come a publisher does not retire: it asks, less and less
// often, and at once when the receiver says hello.
func TestPublisherAsksForResults(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		m := r.submit(job, nil, "x")[0]
		w := r.listen(job, idle())
		p := r.publisher(job, w)
		stop := runs(t, p.Run)
		time.Sleep(time.Hour)
		calls := w.made()
		if len(calls) < 5 || calls[0].events != 1 {
			t.Fatalf("%d requests in an hour", len(calls))
		}
		asked := []time.Duration{minute / 2, minute, 2 * minute, 4 * minute, 8 * minute, 10 * minute}
		for i, d := range pauses(calls) {
			pause := asked[min(i, len(asked)-1)]
			if calls[i+1].header["Steward-Ask"] == nil || d.Round(time.Second) != pause {
				t.Errorf("request %d after %s, want a question after %s", i+1, d, pause)
			}
		}
		p.Hello(uuid.Nil)
		synctest.Wait()
		if n := len(w.made()); n != 1 {
			t.Errorf("%d questions after a hello", n)
		}
		want(t, r.central, m, store.StateTaken, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A command of which the receiver has no trace is unknown.
func TestReceiverHasNoTrace(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		m := r.submit(job, nil, "x")[0]
		w := r.listen(job, idle())
		p := r.publisher(job, w)
		stop := runs(t, p.Run)
		time.Sleep(time.Second)
		want(t, r.central, m, store.StateTaken, "")
		work, err := r.ship1.Inbox(lane, message.Place{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.ship1.Finish(lane, []store.Finished{{Work: work[0], Result: message.Result{Outcome: ack.Done}}}); err != nil { // and no result goes out
			t.Fatal(err)
		}
		time.Sleep(minute)
		want(t, r.central, m, store.Ended, ack.Unknown)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// One request is under way at a time, whatever comes meanwhile. One that the
// receiver's last life took with it is not waited for.
func TestOneRequestAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		w := r.listen(note, idle())
		p := r.publisher(note, w)
		p.Policy.Timeout = time.Hour
		r.submit(note, nil, "met")
		stop := runs(t, p.Run)
		synctest.Wait()
		w.made()
		w.set(func(call) error { return errSilence })
		var ms []*message.Message
		for _, text := range numbers(10) {
			ms = append(ms, r.submit(note, nil, text)...)
			p.Wake()
			synctest.Wait()
		}
		if calls := w.made(); len(calls) != 1 || calls[0].events != 1 {
			t.Errorf("%d requests while the first has no answer", len(calls))
		}
		w.set(nil)
		began := time.Now()
		p.Reborn()
		p.Hello(uuid.Nil)
		synctest.Wait()
		if calls := w.made(); len(calls) != 1 || calls[0].events != 10 || time.Since(began) > 0 {
			t.Errorf("%d requests, %s after the receiver was born again", len(calls), time.Since(began))
		}
		for _, m := range ms {
			want(t, r.central, m, store.Ended, ack.Delivered)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Stopped while a request is under way, a publisher ends at once and without an
// error, and the message stays.
func TestPublisherStops(t *testing.T) {
	for name, meet := range map[string]error{"in a request": errSilence, "in a pause": process.ErrNobody} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				m := r.submit(note, nil, "x")[0]
				w := r.listen(note, idle())
				w.set(func(call) error { return meet })
				stop := runs(t, r.publisher(note, w).Run)
				time.Sleep(time.Second / 4)
				began := time.Now()
				if err := stop(); err != nil || time.Since(began) > 0 {
					t.Errorf("it ended after %s with %v", time.Since(began), err)
				}
				want(t, r.central, m, store.Waiting, "")
			})
		})
	}
}

// A journal that broke ends the publisher with an error.
func TestPublisherOfAClosedJournal(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		w := r.listen(note, idle())
		p := r.publisher(note, w)
		if err := r.central.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
		r.central = r.open("central", store.Options{})
	})
}

// What First cannot take is not sent; it is told, and tried again.
func TestFirstComesBeforeSending(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		r.submit(note, nil, numbers(3)...)
		w := r.listen(note, idle())
		p := r.publisher(note, w)
		var logged []uuid.UUID
		full := errors.New("no room for the log")
		var room atomic.Bool
		p.First = func(list []store.Entry) error {
			if !room.Load() {
				return full
			}
			for _, e := range list {
				logged = append(logged, e.ID)
			}
			return nil
		}
		var troubles []process.Trouble
		p.Trouble = func(x process.Trouble) { troubles = append(troubles, x) }
		stop := runs(t, p.Run)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(w.made()); n > 0 || len(troubles) < 2 || troubles[0].Cause != full.Error() {
			t.Errorf("%d requests; told of %+v", n, troubles)
		}
		room.Store(true)
		time.Sleep(minute)
		more := r.submit(note, nil, "more")
		p.Wake()
		synctest.Wait()
		if len(logged) != 4 || logged[3] != more[0].ID || len(w.made()) != 2 {
			t.Errorf("logged %v", logged)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A kind that wants no ack ends as sent when the broker has it, and not before.
func TestPublisherOfAKindWithoutAck(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(shout, nil, numbers(3)...)
		w := &wire{}
		w.set(func(call) error { return process.ErrOffline })
		p := r.publisher(shout, w)
		stop := runs(t, p.Run)
		time.Sleep(minute)
		want(t, r.central, ms[0], store.Waiting, "")
		w.made()
		w.set(nil)
		p.Hello(uuid.Nil)
		synctest.Wait()
		for _, m := range ms {
			want(t, r.central, m, store.Ended, ack.Sent)
		}
		if calls := w.made(); len(calls) != 1 || calls[0].events != 3 {
			t.Errorf("%d messages published", len(calls))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
