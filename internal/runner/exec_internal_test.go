//go:build unix

package runner

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// TestProcessThatCannotBeKilled: of a process that belongs to another user, say,
// nobody may claim that it was killed, and nobody waits for it.
func TestProcessThatCannotBeKilled(t *testing.T) {
	t.Parallel()
	leader := 0
	c := newCommand(Spec{Argv: []string{"sh", "-c", "echo hi; exec sleep 600"}, Grace: 10 * time.Millisecond, Keep: 100})
	c.dying = 100 * time.Millisecond
	c.signal = func(pid int, s syscall.Signal) error {
		leader = pid
		if s == 0 {
			return nil // it is there
		}
		return syscall.EPERM
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r := c.run(ctx)
	if r.Ending != Survived || string(r.Stdout.Kept) != "hi\n" || r.Pid != leader {
		t.Errorf("got %+v", r)
	}
	_ = syscall.Kill(leader, syscall.SIGKILL)
}
