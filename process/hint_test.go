package process_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// lasts is as long as the message says.
func lasts(ctx context.Context, text string) message.Result {
	d, err := time.ParseDuration(text)
	if err != nil {
		return message.Result{Outcome: ack.Failed, Error: err.Error()}
	}
	return sleeps(d)(ctx, text)
}

// The sender of a command that runs for a while is told so, once, and again as
// long as it runs when it asks; of what is over by then, or wants no ack, nobody is.
func TestHintOfWhatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, "1ms", "199ms", "10s")
		r.receive(job, idle())
		var l log
		w := r.worker(t.Context(), l.job(lasts))
		began := time.Now()
		var mu sync.Mutex
		var told []string
		w.Begun = func(m *message.Message, since time.Time, again bool) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s since %s at %s again %t", m.Data[0], since.Sub(began), time.Since(began), again))
		}
		ids := []uuid.UUID{ms[0].ID, ms[1].ID, ms[2].ID, uuid.New()}
		for _, at := range []time.Duration{time.Second, time.Minute / 2} { // while the last one runs, and after
			time.AfterFunc(at, func() { w.Again(ids) })
		}
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []string{"10s since 200ms at 400ms again false", "10s since 200ms at 1s again true"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// An instant method is over before anybody could be told.
func TestNoHintOfInstantMethods(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		r.submit(job, nil, "10s")
		r.receive(job, idle())
		var l log
		w := r.worker(t.Context(), l.job(lasts))
		w.Method.Instant = true
		w.Begun = func(m *message.Message, _ time.Time, _ bool) { t.Errorf("told of %s", m.Data[0]) }
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.want(t, "10s")
	})
}
