package process

import (
	"sync"
	"sync/atomic"
)

const (
	waitingBytes = 64 << 20 // of all requests that wait at a node
	requestCost  = 1 << 10  // of one beside its payload: head, and room in the queue
)

// Room bounds what the requests that wait for a node's Subscribers take in
// memory. The zero value has 64 MiB; all of a node share one.
type Room struct{ used atomic.Int64 }

func (r *Room) take(bytes int64) bool {
	if r.used.Add(bytes) > waitingBytes {
		r.used.Add(-bytes)
		return false
	}
	return true
}

func (r *Room) free(bytes int64) { r.used.Add(-bytes) }

func cost(r Request) int64 { return int64(len(r.Data)) + requestCost }

// queue holds requests until their Subscriber takes them. They wait in memory
// only: their sender has them, and comes again.
type queue struct {
	room *Room
	wake chan struct{} // of size one: it is no longer empty

	mu    sync.Mutex
	list  []Request
	ended bool // nobody takes from it
}

// add reports whether r waits now, and if not whether its sender can be told to
// come again soon.
func (q *queue) add(r Request) (waits, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return false, false
	}
	if !q.room.take(cost(r)) {
		return false, true
	}
	q.list = append(q.list, r)
	signal(q.wake)
	return true, false
}

// first takes up to n of the oldest, whose room is given back with done.
func (q *queue) first(n int) []Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.list))
	group := q.list[:n:n]
	if q.list = q.list[n:]; len(q.list) == 0 {
		q.list = nil
	}
	return group
}

func (q *queue) done(group []Request) {
	for _, r := range group {
		q.room.free(cost(r))
	}
}

// open and end say whether somebody takes. What waited at the end is forgotten.
func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = false
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done(q.list)
	q.list, q.ended = nil, true
}
