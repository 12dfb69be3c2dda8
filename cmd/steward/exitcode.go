package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/config"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// The exit codes: a contract with scripts.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitNoNode      = 4
	exitRejected    = 5
	exitUndelivered = 6
	exitUnknown     = 7
	exitCancelled   = 8
	exitBroken      = 70
	exitWaiting     = 75
	exitTimeout     = 124
)

const exitCodesText = `  0     the wanted outcome: done, delivered, sent
  1     failed; with one node, the exit code of its command passes through (1 to 125)
  2     wrong usage, or an invalid message or configuration
  3     not found
  4     no local node answers
  5     rejected by the receiver
  6     expired or undelivered
  7     unknown: it may or may not have run
  8     cancelled
  70    the journal broke: start the node again
  75    still waiting when the wait ended; nothing is lost
  124   the command was killed at its limit
Of several messages the highest code counts, and a timeout as 1.
`

func exitCodesHelp() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesText}
}

// usageError is a wrong call.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// exitError ends with a code, and has said all there is to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func asExit(err error, e *exitError) bool { return errors.As(err, e) }

// exitCode is the code that err ends the process with.
func exitCode(err error) int {
	var code exitError
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage), refused(err), errors.Is(err, message.ErrInvalid), errors.Is(err, config.ErrInvalid), errors.Is(err, steward.ErrConfig):
		return exitUsage
	case errors.Is(err, api.ErrNotFound), errors.Is(err, api.ErrAmbiguous):
		return exitNotFound
	case errors.Is(err, api.ErrNoNode), errors.Is(err, api.ErrNoAnswer):
		return exitNoNode
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, store.ErrBroken):
		return exitBroken
	}
	return exitFailed
}

// refused reports whether the node found the question itself wrong.
func refused(err error) bool {
	p, ok := errors.AsType[*api.Problem](err)
	return ok && (p.Status == http.StatusBadRequest || p.Status == http.StatusUnprocessableEntity)
}

// outcomeCode is the code for what became of messages: of one, its own; of
// several, the worst.
func outcomeCode(records []store.Record) int {
	codes := map[ack.Outcome]int{
		ack.Done: exitOK, ack.Delivered: exitOK, ack.Sent: exitOK, ack.Failed: exitFailed, ack.Timeout: exitTimeout, ack.RejectedEnd: exitRejected,
		ack.Expired: exitUndelivered, ack.Undelivered: exitUndelivered, ack.Unknown: exitUnknown, ack.Cancelled: exitCancelled,
	}
	worst := exitOK
	for _, r := range records {
		code, ended := codes[r.Outcome]
		if !ended || r.State != store.Ended {
			code = exitWaiting
		}
		if r.Result != nil && r.Result.ExitCode != nil && r.Outcome == ack.Failed && len(records) == 1 {
			if c := *r.Result.ExitCode; c >= 1 && c <= 125 {
				code = c
			}
		}
		if len(records) > 1 && code == exitTimeout {
			code = exitFailed
		}
		worst = max(worst, code)
	}
	return worst
}

// ended turns outcomes into the error that carries their code.
func ended(records []store.Record) error {
	if code := outcomeCode(records); code != exitOK {
		return exitError(code)
	}
	return nil
}
