package method

import (
	"context"
	"strings"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// echo gives the data back, joined by newlines. It does nothing else, so it
// measures the road.
func echo() process.Method {
	return process.Method{
		Name:       "Echo",
		Kinds:      []subject.Kind{subject.CommandACK},
		Repeatable: true,
		Instant:    true,
		Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			now := time.Now()
			whole := strings.Join(m.Data, "\n")
			kept := []byte(whole)
			if len(kept) > 2*encodedLimit/6 { // shorter ones fit, whatever they hold
				kept = fit(kept, 2*encodedLimit)
			}
			return message.Result{
				Outcome: ack.Done, Stdout: kept, StdoutBytes: int64(len(whole)), Truncated: len(kept) < len(whole),
				StartedAt: now, EndedAt: now,
			}
		}),
	}
}
