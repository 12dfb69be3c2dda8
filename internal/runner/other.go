//go:build !linux

package runner

import (
	"context"
	"errors"
	"log/slog"

	"github.com/google/uuid"
)

// ErrLost is wrapped by what Attach says of a run whose end nobody will ever know.
var ErrLost = errors.New("nobody can tell how it ended")

var errLinux = errors.New("commands outlive their node on Linux only")

// Runs are Linux's.
type Runs struct{}

// Open fails: without /proc nobody can tell whether a runner is alive.
func Open(string, string, *slog.Logger) (*Runs, error) { return nil, errLinux }

// Prepare is Linux's.
func (*Runs) Prepare(uuid.UUID, Spec) error { return errLinux }

// Attach is Linux's.
func (*Runs) Attach(context.Context, uuid.UUID) (Result, error) { return Result{}, errLinux }

// Forget is Linux's.
func (*Runs) Forget(uuid.UUID) error { return nil }

// Sweep is Linux's.
func (*Runs) Sweep(func(uuid.UUID) (bool, error)) error { return nil }

// Close is Linux's.
func (*Runs) Close() {}

// Main is Linux's.
func Main([]string) int { return 2 }
