package steward

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/runner"
	"github.com/steward-bus/steward/store"
)

// openRuns makes commands outlive the node, if it has a runner, and removes what
// earlier lives left of those that are over.
func (n *Node) openRuns() (err error) {
	if n.cfg.Runner == "" {
		return nil
	}
	if n.runs, err = runner.Open(filepath.Join(n.cfg.Dir, "runs"), n.cfg.Runner, n.log); err != nil {
		return fmt.Errorf("%w: runner: %w", ErrConfig, err)
	}
	return n.runs.Sweep(func(id uuid.UUID) (bool, error) {
		ended, err := n.db.HasEnded(id)
		if errors.Is(err, store.ErrNotFound) {
			return true, nil
		}
		return ended, err
	})
}
