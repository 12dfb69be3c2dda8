package follow

import (
	"bytes"
	"context"
	"time"

	"github.com/steward-bus/steward/message"
)

// committer hands messages and notes of one source over, and reports each
// series of failures once.
type committer struct {
	f       *Follower
	source  Source
	failing int // failures since the last success
}

// accept returns nil when ms and the note are durable.
func (c *committer) accept(ctx context.Context, ms []*message.Message, key string, value []byte) error {
	err := c.f.Accept(ctx, ms, key, value)
	if err != nil && ctx.Err() == nil {
		// An error after the commit would send the lines twice.
		if have, loadErr := c.f.Load(key); loadErr == nil && have != nil && bytes.Equal(have, value) {
			err = nil
		}
	}
	c.settle(ctx, err)
	return err
}

// load is the note under key.
func (c *committer) load(ctx context.Context, key string) ([]byte, error) {
	b, err := c.f.Load(key)
	c.settle(ctx, err)
	return b, err
}

func (c *committer) settle(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil && c.failing > 0:
		c.f.Log.Info("forwarding goes on", "source", c.source.name(), "failures", c.failing)
		c.failing = 0
	case err != nil:
		if c.failing++; c.failing == 1 {
			c.f.Log.Warn("forwarding waits: lines stay in their file", "source", c.source.name(), "err", err)
			c.f.Report(err, c.source.name())
		}
	}
}

// pause is how long to wait after the last failure.
func (c *committer) pause() time.Duration {
	d := firstPause
	for range c.failing - 1 {
		if d *= 2; d >= longestPause {
			return longestPause
		}
	}
	return d
}

// batch gathers lines into the messages of one transaction.
type batch struct {
	source   Source
	fallback string // file name where the source has none
	ms       []*message.Message
	lines    int
	bytes    int
	room     int // cost that the last message has left for more lines; 0: none
}

// full reports whether one more line of that cost belongs into the next batch.
func (b *batch) full(f *Follower, cost int) bool {
	return b.lines > 0 && (b.lines >= f.MaxBatchLines || b.bytes+cost > f.MaxBatchBytes)
}

// add appends one line. No message gets more than f allows for a batch.
func (b *batch) add(f *Follower, l line, cost int) {
	b.lines++
	b.bytes += cost
	if l.split == "" && b.room >= cost {
		m := b.ms[len(b.ms)-1]
		if len(m.Data) < f.MaxBatchLines {
			m.Data = append(m.Data, l.text)
			b.room -= cost
			return
		}
	}
	m := b.source.message(b.fallback, []string{l.text})
	b.room = f.MaxBatchBytes - cost
	if l.split != "" {
		b.room = 0
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[SplitLabel] = l.split
	}
	b.ms = append(b.ms, m)
}

// sleep waits, and reports whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
