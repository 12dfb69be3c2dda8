package transport_test

import (
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/internal/transport"
)

// A broker that is not there is told once, and is no error: it may come later.
func TestUnmet(t *testing.T) {
	told := make(chan error, 2)
	c, err := transport.Dial(transport.Config{URLs: "nats://" + stewardtest.FreePort(t), Unmet: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case err := <-told:
		if !strings.Contains(err.Error(), "refused") || c.LastError() != err.Error() {
			t.Errorf("told %v, kept %q", err, c.LastError())
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing was told")
	}
}
