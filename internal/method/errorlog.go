package method

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// errorLog hands failures of other nodes to the host, which keeps them.
func errorLog(h *Host) process.Method {
	return process.Method{
		Name:       message.MethodErrorLog,
		Kinds:      []subject.Kind{subject.EventACK},
		Repeatable: true,
		Check: func(m *message.Message) error {
			if len(m.Data) == 0 || m.Data[0] == "" {
				return errors.New("data is empty: want a failure as JSON")
			}
			return nil
		},
		Handler: process.HandlerFunc(func(ctx context.Context, m *message.Message) message.Result {
			start := time.Now()
			if h.Failed != nil {
				if err := h.Failed(ctx, m); err != nil {
					return failed(start, fmt.Errorf("keep the failure: %w", err))
				}
			}
			return message.Result{Outcome: ack.Done, StartedAt: start, EndedAt: time.Now()}
		}),
	}
}
