//go:build failpoint && unix

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// armed holds how many times each step may still be passed, the last included.
var armed = sync.OnceValue(func() map[Step]*atomic.Int64 {
	left := map[Step]*atomic.Int64{}
	for point := range strings.SplitSeq(os.Getenv("STEWARD_FAILPOINT"), ",") {
		if point == "" {
			continue
		}
		name, times, _ := strings.Cut(point, ":")
		n, err := strconv.ParseInt(times, 10, 64)
		if err != nil || n < 1 || !slices.Contains(Steps, Step(name)) {
			fmt.Fprintf(os.Stderr, "STEWARD_FAILPOINT: %q is no step: want name:n, and a name of %v\n", point, Steps)
			os.Exit(2)
		}
		left[Step(name)] = new(atomic.Int64)
		left[Step(name)].Store(n)
	}
	return left
})

// Hit ends the process with SIGKILL if s is armed and was passed often enough.
func Hit(s Step) {
	left := armed()[s]
	if left == nil || left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing of us is left to read its error
	select {}                                      // until it arrives
}
