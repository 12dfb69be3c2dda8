package api

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/store"
)

// window is how many of the newest entries a follower looks at each time.
const window = 1000

// FollowMessages yields the messages that pass f, f.Limit of them to begin with,
// oldest first; then, asking every so often, each that is new or has come
// further. It ends after the first error, which is ctx's when ctx ends. It is
// for people: of more than a thousand new ones between two looks it passes over
// the oldest, and messages.log has them all.
func (c *Client) FollowMessages(ctx context.Context, f store.Filter, every time.Duration) iter.Seq2[store.Record, error] {
	return follow(ctx, every, f.Limit,
		func(limit int) ([]store.Record, error) {
			f.Limit = limit
			return c.Messages(ctx, f)
		},
		func(r store.Record) (id, version string) {
			return r.ID, fmt.Sprintf("%s %s %d", r.State, r.Outcome, r.StartedAt.UnixNano())
		})
}

// FollowFailures is FollowMessages for failures; one comes again when its count
// has grown, or a part of it is over, or it was resolved.
func (c *Client) FollowFailures(ctx context.Context, f FailureFilter, every time.Duration) iter.Seq2[errorkernel.Failure, error] {
	return follow(ctx, every, f.Limit,
		func(limit int) ([]errorkernel.Failure, error) {
			f.Limit = limit
			return c.Failures(ctx, f)
		},
		func(e errorkernel.Failure) (id, version string) {
			return e.ID, fmt.Sprintf("%d %d %d", e.Count, e.Mended, e.Resolved.UnixNano())
		})
}

// follow compares the newest entries with those of the look before: not times,
// because clocks step.
func follow[T any](ctx context.Context, every time.Duration, first int, list func(limit int) ([]T, error), key func(T) (id, version string)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var seen map[string]string
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			entries, err := list(window)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			now := make(map[string]string, len(entries))
			for i, e := range slices.Backward(entries) {
				id, version := key(e)
				now[id] = version
				if seen == nil && first > 0 && i >= first || seen != nil && seen[id] == version {
					continue
				}
				if !yield(e, nil) {
					return
				}
			}
			seen = now
			select {
			case <-tick.C:
			case <-ctx.Done():
				var none T
				yield(none, ctx.Err())
				return
			}
		}
	}
}
