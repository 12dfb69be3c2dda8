package steward

import (
	"context"
	"errors"
	"time"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// forwardLogs follows the configured logs and puts their lines on the road, where
// they wait as long as a message may. While the disk is short they stay in their files.
func (n *Node) forwardLogs(ctx context.Context) error {
	if len(n.cfg.Forward) == 0 {
		return nil
	}
	f := &follow.Follower{
		Sources: n.cfg.Forward, Load: n.db.Note, Log: n.log,
		Accept: func(ctx context.Context, ms []*message.Message, key string, value []byte) error {
			for _, m := range ms {
				m.Expires = time.Now().Add(message.MaxLifetime) // nobody is there to send a line again
			}
			return n.accept(ctx, ms, false, store.Note{Key: key, Value: value})
		},
		Report: func(err error, path string) {
			if errors.Is(err, store.ErrFull) {
				return // the node tells of that itself
			}
			n.report(errorkernel.Failure{Class: errorkernel.Submission, Severity: errorkernel.Warning, Process: "forward", Cause: path + ": " + err.Error()})
		},
	}
	return f.Run(ctx)
}
