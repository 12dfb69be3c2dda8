package method

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// TestProcessThatCannotBeKilled: of a process that belongs to another user, say,
// nobody may claim that it was killed, and nobody waits for it.
func TestProcessThatCannotBeKilled(t *testing.T) {
	t.Parallel()
	var leader *os.Process
	c := &runner{CLIConfig: CLIConfig{Grace: 10 * time.Millisecond}}
	c.signal = func(p *os.Process, s syscall.Signal) error {
		leader = p
		if s == 0 {
			return nil // it is there
		}
		return syscall.EPERM
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := c.Handle(ctx, &message.Message{Data: []string{"sh", "-c", "echo hi; exec sleep 600"}})
	if r.Outcome != ack.Unknown || !strings.Contains(r.Error, "still runs") || r.Stdout.String() != "hi\n" {
		t.Errorf("got %+v", r)
	}
	_ = leader.Kill()
}
