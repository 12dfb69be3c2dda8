package method

import (
	"context"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// ping answers "pong" and the node's time.
func ping() process.Method {
	return process.Method{
		Name:       "Ping",
		Kinds:      []subject.Kind{subject.CommandACK},
		Repeatable: true,
		Instant:    true,
		Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result {
			now := time.Now()
			pong := []byte("pong " + now.UTC().Format(time.RFC3339Nano))
			return message.Result{Outcome: ack.Done, Stdout: pong, StdoutBytes: int64(len(pong)), StartedAt: now, EndedAt: now}
		}),
	}
}
