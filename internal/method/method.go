// Package method is what a node can do with a message: the table of built-in
// methods, one file for each.
package method

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/runner"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
)

// Host is what the methods need of the node that they run on. A nil function is
// a quiet no-op; a nil Log discards.
type Host struct {
	DataDir string
	// Committed is the length of a file that was committed with the messages that
	// filled it: what lies beyond was written by a run that never committed. False:
	// none is known. Name is relative to DataDir.
	Committed func(name string) (length int64, known bool, err error)
	// Failed keeps the failure that an ErrorLog message carries. After a crash it may
	// be called again with the same message.
	Failed func(ctx context.Context, m *message.Message) error
	// Hello is told of each SayHello; see DecodeHello.
	Hello func(m *message.Message)
	// Report is told what an operator should know and no message's outcome says.
	Report func(err error)
	Log    *slog.Logger

	Runs *runner.Runs // commands that outlive the node; nil: they run within it
	CLI  CLIConfig
	HTTP HTTPConfig
	Text TextConfig
}

// Table lists the built-in methods. Result is not among them: the road itself
// handles it.
func Table(h *Host) []process.Method {
	return []process.Method{
		cliCommand(h),
		cliCommandConcurrent(h),
		textLogging(h),
		sayHello(h),
		errorLog(h),
		ping(),
		echo(),
		httpGet(h),
	}
}

func (h *Host) report(err error) {
	if h.Log != nil {
		h.Log.Error("method", "err", err)
	}
	if h.Report != nil {
		h.Report(err)
	}
}

// failed is the result of what could not be done.
func failed(start time.Time, err error) message.Result {
	return message.Result{Outcome: ack.Failed, Error: err.Error(), StartedAt: start, EndedAt: time.Now()}
}

// interrupted is the outcome of what ctx ended, and why.
func interrupted(ctx context.Context) (ack.Outcome, string) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, process.ErrStopping):
		return ack.Unknown, "interrupted: the " + process.ErrStopping.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		return ack.Timeout, "ended at its time limit"
	default:
		return ack.Unknown, fmt.Sprintf("interrupted: %v", cause)
	}
}
