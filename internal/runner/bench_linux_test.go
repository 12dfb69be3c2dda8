package runner_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/runner"
)

// What a short command costs within this process, and under a runner.
func BenchmarkTrue(b *testing.B) {
	spec := runner.Spec{Argv: []string{"/bin/true"}, Limit: time.Minute, Grace: time.Second, Keep: 1 << 10}
	for name, parallel := range map[string]int{"one": 1, "16": 16} {
		b.Run("within/"+name, func(b *testing.B) {
			run(b, parallel, func() {
				if r := runner.Exec(context.Background(), spec); r.Ending != runner.Exited {
					b.Errorf("%+v", r)
				}
			})
		})
		b.Run("beside/"+name, func(b *testing.B) {
			before := cpu()
			runs, err := runner.Open(filepath.Join(b.TempDir(), "runs"), "/proc/self/exe", slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			one := func() {
				id := uuid.New()
				if err := runs.Prepare(id, spec); err != nil {
					b.Error(err)
				}
				if r, err := runs.Attach(context.Background(), id); err != nil || r.Ending != runner.Exited {
					b.Errorf("%+v, %v", r, err)
				}
				if err := runs.Forget(id); err != nil {
					b.Error(err)
				}
			}
			one()
			run(b, parallel, one)
			runs.Close()
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

func run(b *testing.B, parallel int, one func()) {
	before := cpu()
	b.ResetTimer()
	turns := make(chan struct{})
	done := make(chan struct{})
	for range parallel {
		go func() {
			for range turns {
				one()
			}
			done <- struct{}{}
		}()
	}
	for range b.N {
		turns <- struct{}{}
	}
	close(turns)
	for range parallel {
		<-done
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

// cpu is what this process and its children that have ended used.
func cpu() (d time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			d += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return d
}
