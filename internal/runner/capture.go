package runner

import "sync"

// capture keeps the first limit bytes that are written to it and counts the
// rest, so that a writer never waits and never fails.
type capture struct {
	limit int

	mu    sync.Mutex
	kept  []byte
	total int64
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += int64(len(p))
	c.kept = append(c.kept, p[:min(len(p), c.limit-len(c.kept))]...)
	return len(p), nil
}

// output is what came so far; a process that outlives its limit may still write.
func (c *capture) output() Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Output{Kept: c.kept[:len(c.kept):len(c.kept)], Total: c.total}
}
