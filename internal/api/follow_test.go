package api_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
)

func filterAll() store.Filter { return store.Filter{} }

func TestFollowMessages(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	for range 3 {
		if _, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil {
			t.Fatal(err)
		}
	}
	next, stop := iter.Pull2(c.FollowMessages(t.Context(), store.Filter{Limit: 2}, time.Millisecond))
	defer stop()
	expect := func(seq uint64, state store.State) {
		t.Helper()
		r, err, ok := next()
		if !ok || err != nil || r.Seq != seq || r.State != state {
			t.Fatalf("got %d %s, %v, want %d %s", r.Seq, r.State, err, seq, state)
		}
	}
	expect(2, store.Waiting)
	expect(3, store.Waiting)
	b.end(b.records[0].ID, ack.Done) // not told of before, but in the window
	expect(1, store.Ended)
	if _, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil {
		t.Fatal(err)
	}
	expect(4, store.Waiting)
}

func TestFollowFailures(t *testing.T) {
	b := &bus{failures: []errorkernel.Failure{{ID: "f1", Count: 1}}}
	c := serve(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for f, err := range c.FollowFailures(ctx, api.FailureFilter{}, time.Millisecond) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		got = append(got, fmt.Sprint(f.ID, " ", f.Count))
		b.mu.Lock()
		switch len(got) {
		case 1:
			b.failures = append([]errorkernel.Failure{{ID: "f2", Count: 1}}, b.failures...)
		case 2:
			b.failures[1].Count = 9
		case 3:
			cancel()
		}
		b.mu.Unlock()
	}
	if want := "[f1 1 f2 1 f1 9]"; fmt.Sprint(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFollowEndsWithTheNode(t *testing.T) {
	dir := stewardtest.ShortDir(t)
	stop := start(t, dir, &bus{})
	c := dial(t, dir)
	if _, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range c.FollowMessages(t.Context(), filterAll(), time.Millisecond) {
		last = err
		stop()
	}
	if !errors.Is(last, api.ErrNoNode) {
		t.Errorf("got %v, want ErrNoNode", last)
	}
}
