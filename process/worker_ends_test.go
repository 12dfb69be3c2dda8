package process_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// What an earlier life had begun is unknown, unless it may run again, which it
// does three times at most; what a copied journal brought does not run.
func TestEarlierLife(t *testing.T) {
	for name, x := range map[string]struct {
		rerun      message.OnUnknown
		repeatable bool
		runs       int // of earlier lives
		copied     bool
		want       ack.Outcome
	}{
		"not begun":            {want: ack.Done},
		"begun":                {runs: 1, want: ack.Unknown},
		"begun, rerun":         {rerun: message.Rerun, runs: 1, want: ack.Done},
		"begun thrice, rerun":  {rerun: message.Rerun, runs: 3, want: ack.Unknown},
		"begun, repeatable":    {repeatable: true, runs: 5, want: ack.Done},
		"a copy":               {copied: true, want: ack.Unknown},
		"a copy, begun":        {copied: true, runs: 1, want: ack.Unknown},
		"a copy and a rerun":   {copied: true, rerun: message.Rerun, want: ack.Done},
		"a copy of repeatable": {copied: true, repeatable: true, want: ack.Done},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				m := r.submit(job, func(m *message.Message) { m.OnUnknown = x.rerun }, "x")[0]
				r.receive(job, idle())
				for range x.runs {
					if gone, err := r.ship1.Started(lane, m.Place); err != nil || len(gone) > 0 {
						t.Fatal(gone, err)
					}
				}
				if x.copied {
					r.copied()
				}
				var l log
				w := r.worker(t.Context(), l.job(sleeps(0)))
				w.Method.Repeatable = x.repeatable
				var told []process.Trouble
				w.Trouble = func(x process.Trouble) { told = append(told, x) }
				if err := w.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				want(t, r.ship1, m, store.Ended, x.want)
				if ran, unknown := len(l.ran) == 1, x.want == ack.Unknown; ran == unknown || unknown != (len(told) == 1) {
					t.Errorf("it ran: %t; told of %+v", ran, told)
				}
				if c := r.ship1.Counts(); c.Waiting != 1 {
					t.Errorf("no result goes out: %+v", c)
				}
			})
		})
	}
}

// What cannot run has its outcome without: too late, at once or while it waited
// for its turn; taken back; or the node lost the method.
func TestWhatDoesNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		life := func(d time.Duration) func(*message.Message) {
			return func(m *message.Message) { m.Expires = time.Now().Add(d) }
		}
		late := r.submit(job, life(time.Second), "late")[0]
		first := r.submit(job, nil, "first")[0]
		turn := r.submit(job, life(5*time.Second), "turn")[0]
		back := r.submit(job, nil, "back")[0]
		r.receive(job, idle())
		time.Sleep(2 * time.Second)
		var l log
		w := r.worker(t.Context(), l.job(func(ctx context.Context, text string) message.Result {
			v := void(t, back)
			got, err := r.ship1.Receive(store.Batch{Subject: job, From: "central", For: r.ship1.ID(), Epoch: r.central.Epoch(), Items: []store.Item{v}})
			if err != nil || got.Replies[0].Acks[0].Verdict != ack.Voided {
				t.Errorf("taken back: %+v, %v", got.Replies, err)
			}
			return sleeps(5*time.Second)(ctx, text)
		}))
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.want(t, "first")
		want(t, r.ship1, late, store.Ended, ack.Expired)
		want(t, r.ship1, first, store.Ended, ack.Done)
		want(t, r.ship1, turn, store.Ended, ack.Expired)
		want(t, r.ship1, back, store.Ended, ack.Cancelled)
	})
	inBubble(t, func(t *testing.T, r *road) {
		m := r.submit(job, nil, "x")[0]
		r.receive(job, idle())
		if err := r.worker(t.Context(), nil).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, r.ship1, m, store.Ended, ack.Failed)
	})
}

// void takes m back.
func void(t *testing.T, m *message.Message) store.Item {
	t.Helper()
	event := message.EncodeVoid(subject.Prefix, m.ID, m.Place, m.FromNode)
	d, err := message.Decode(event, job)
	if err != nil {
		t.Fatal(err)
	}
	return store.Item{Decoded: d, Event: event}
}

// A method that takes a batch gets it again until it took it, with pauses that
// double; the lengths that it returns are kept with the end of the messages.
func TestBatchMethod(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, numbers(3)...)
		r.receive(job, idle())
		var at []time.Time
		m := idle()
		m.Batch = func(_ context.Context, ms []*message.Message) ([]message.Result, []process.FileLength) {
			if at = append(at, time.Now()); len(at) < 5 {
				return nil, nil
			}
			return make([]message.Result, len(ms)), []process.FileLength{{Name: "a.log", Length: 42}}
		}
		if err := r.worker(t.Context(), m).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range at[1:] {
			if d := at[i+1].Sub(at[i]); d != time.Second<<i {
				t.Errorf("pause %d was %s", i, d)
			}
		}
		for _, m := range ms {
			want(t, r.ship1, m, store.Ended, ack.Done)
		}
		if v, err := r.ship1.Note(process.LengthKey("a.log")); err != nil || string(v) != "42" {
			t.Errorf("the length is %q, %v", v, err)
		}
	})
}

// A batch whose handler panics fails as a whole, and ends the run.
func TestBatchMethodPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, numbers(3)...)
		r.receive(job, idle())
		m := idle()
		m.Batch = func(context.Context, []*message.Message) ([]message.Result, []process.FileLength) { panic("boom") }
		var p *process.Panicked
		if err := r.worker(t.Context(), m).Run(t.Context()); !errors.As(err, &p) {
			t.Errorf("it ended with %v", err)
		}
		for _, m := range ms {
			want(t, r.ship1, m, store.Ended, ack.Failed)
		}
	})
}

// A reply goes where its message asks, as the method that it asks for.
func TestReplies(t *testing.T) {
	for name, x := range map[string]struct {
		to, method string
		want       []string
	}{
		"to who asked":       {"", "", []string{"central Result"}},
		"to another node":    {"ship2", "", []string{"central Result", "ship2 Result"}},
		"as another method":  {"", "TextLogging", []string{"central Result", "central TextLogging"}},
		"elsewhere, as that": {"ship2", "TextLogging", []string{"central Result", "ship2 TextLogging"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				r.submit(job, func(m *message.Message) { m.ReplyTo, m.ReplyMethod = x.to, x.method }, "x")
				r.receive(job, idle())
				var l log
				w := r.worker(t.Context(), l.job(func(context.Context, string) message.Result {
					return message.Result{Stdout: message.Text("one\ntwo\n")}
				}))
				var got []string
				w.Queued = func(ms []*message.Message) {
					for _, m := range ms {
						got = append(got, m.ToNode+" "+m.Method)
						if m.Method == "TextLogging" && !slices.Equal(m.Data, []string{"one", "two"}) || m.CausationID == uuid.Nil {
							t.Errorf("reply %+v", m)
						}
					}
				}
				if err := w.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(got) != fmt.Sprint(x.want) {
					t.Errorf("replies %q, want %q", got, x.want)
				}
			})
		})
	}
}
