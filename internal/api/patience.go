package api

import (
	"cmp"
	"context"
	"errors"
	"time"
)

const (
	patience  = 30 * time.Second // with a node that is started again
	awayPause = 100 * time.Millisecond
)

// Away reports whether err says that the node is not there just now.
func Away(err error) bool {
	return errors.Is(err, ErrNoNode) || errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrStopping)
}

// patiently calls again, after err, until the answer is another one than that the
// node is away, and no longer than Patience or until ctx ends.
func (c *Client) patiently(ctx context.Context, err error, again func() error) error {
	if !Away(err) {
		return err
	}
	if c.Missed != nil {
		c.Missed(err)
	}
	for end := time.Now().Add(cmp.Or(c.Patience, patience)); Away(err) && time.Now().Before(end); {
		select {
		case <-time.After(awayPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = again()
	}
	return err
}
