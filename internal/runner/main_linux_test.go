package runner_test

import (
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/steward-bus/steward/internal/runner"
)

// nodeVerb makes the tests' program a node that attaches to runs and is killed.
const nodeVerb = "node"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == runner.Verb {
		os.Exit(runner.Main(os.Args[2:]))
	}
	if len(os.Args) > 3 && os.Args[1] == nodeVerb {
		node(os.Args[2], os.Args[3:])
	}
	if os.Getenv("GORACE") == "" { // else each process that ends takes a second for it under the race detector
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	goleak.VerifyTestMain(m)
}

func node(dir string, ids []string) {
	runs, err := open(dir)
	if err != nil {
		panic(err)
	}
	for _, id := range ids {
		go func() {
			r, err := runs.Attach(background, uuid.MustParse(id))
			panic(fmt.Sprintf("the node was not killed: %+v, %v", r, err))
		}()
	}
	select {}
}

func open(dir string) (*runner.Runs, error) {
	return runner.Open(dir, "/proc/self/exe", discard)
}

var discard = slog.New(slog.DiscardHandler)
