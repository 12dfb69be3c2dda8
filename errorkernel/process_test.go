package errorkernel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/errorkernel"
)

func TestFailingProcessRestartsThenTerminatesThenObeysTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept place
		k := &errorkernel.Kernel{Store: kept.take}
		stop := running(t, k)
		var starts []time.Time
		run := func(context.Context) error {
			starts = append(starts, time.Now())
			return errors.New("no such folder")
		}
		must(t, k.Go("inmsg", run))
		synctest.Wait()
		if s := k.Processes()[0]; s.State != errorkernel.Backoff || s.Restarts != 1 || s.LastError != "no such folder" || s.RetryAt.IsZero() {
			t.Errorf("after the first failure: %+v", s)
		}
		pass(time.Hour)
		if len(starts) != 5 {
			t.Fatalf("started %d times, want 5", len(starts))
		}
		for i, full := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			if pause := starts[i+1].Sub(starts[i]); pause < full/2 || pause > full {
				t.Errorf("pause %d was %s, want %s to %s", i+1, pause, full/2, full)
			}
		}
		s := k.Processes()[0]
		if s.State != errorkernel.Terminated || s.Advice != "steward processes restart inmsg" {
			t.Errorf("after five failures: %+v", s)
		}
		f := kept.only(t)
		if f.Action != errorkernel.Terminate || f.Severity != errorkernel.Critical || f.Count != 5 ||
			f.Process != "inmsg" || !strings.Contains(f.Cause, s.Advice) || !strings.Contains(f.Cause, "no such folder") {
			t.Errorf("record is %+v", f)
		}
		if err := k.Go("inmsg", run); !errors.Is(err, errorkernel.ErrTerminated) {
			t.Errorf("Go on a terminated process: %v", err)
		}
		if err := k.Ensure("inmsg", run); !errors.Is(err, errorkernel.ErrTerminated) {
			t.Errorf("Ensure on a terminated process: %v", err)
		}
		must(t, k.RestartProcess("inmsg"))
		synctest.Wait()
		if s := k.Processes()[0]; len(starts) != 6 || s.State != errorkernel.Backoff || s.Restarts != 1 {
			t.Errorf("after the operator's restart: %d starts, %+v", len(starts), s)
		}
		for _, want := range []int{10, 15} {
			for k.Processes()[0].State != errorkernel.Terminated {
				pass(100 * time.Millisecond)
			}
			if got := kept.total(); got != want {
				t.Errorf("%d failures told at a termination, want %d: it waits for no summary", got, want)
			}
			must(t, k.RestartProcess("inmsg"))
			synctest.Wait()
		}
		must(t, stop())
	})
}

func TestRareFailuresNeverTerminate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &errorkernel.Kernel{}
		stop := running(t, k)
		must(t, k.Go("link", func(ctx context.Context) error {
			select {
			case <-time.After(20 * time.Second):
				return errors.New("cut")
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		pass(24 * time.Hour)
		if s := k.Processes()[0]; s.State == errorkernel.Terminated || s.Restarts < 3000 {
			t.Errorf("after a day: %+v", s)
		}
		must(t, stop())
	})
}

func TestOperatorEndsABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &errorkernel.Kernel{Policy: errorkernel.Policy{Pause: time.Hour, MaxPause: time.Hour}}
		stop := running(t, k)
		starts := 0
		must(t, k.Go("p", func(ctx context.Context) error {
			if starts++; starts == 1 {
				return errors.New("once")
			}
			<-ctx.Done()
			return ctx.Err()
		}))
		synctest.Wait()
		must(t, k.RestartProcess("p"))
		synctest.Wait()
		if s := k.Processes()[0]; starts != 2 || s.State != errorkernel.Running || s.Restarts != 0 {
			t.Errorf("%d starts, %+v", starts, s)
		}
		if err := k.RestartProcess("p"); !errors.Is(err, errorkernel.ErrLives) {
			t.Errorf("restart of a running process: %v", err)
		}
		if err := k.RestartProcess("q"); !errors.Is(err, errorkernel.ErrNoProcess) {
			t.Errorf("restart of none: %v", err)
		}
		must(t, stop())
	})
}

func TestPanicIsAFailureWithItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept place
		k := &errorkernel.Kernel{Store: kept.take}
		stop := running(t, k)
		must(t, k.Go("p", func(context.Context) error { panic("nil map") }))
		synctest.Wait()
		f := kept.only(t)
		if !strings.HasPrefix(f.Cause, "panic: nil map\n") || !strings.Contains(f.Cause, "process_test.go") {
			t.Errorf("cause is %q", f.Cause)
		}
		if f.Action != errorkernel.Restart || f.Severity != errorkernel.Error || f.Class != errorkernel.Process {
			t.Errorf("record is %+v", f)
		}
		if s := k.Processes()[0]; s.LastError != "panic: nil map" {
			t.Errorf("last error is %q", s.LastError)
		}
		must(t, stop())
	})
}

func TestProcessThatEndsIsGoneAndItsNameIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &errorkernel.Kernel{}
		idle := make(chan struct{})
		runs := 0
		run := func(ctx context.Context) error { runs++; <-idle; return nil }
		must(t, k.Go("p", run)) // before Run
		stop := running(t, k)
		if err := k.Go("p", run); !errors.Is(err, errorkernel.ErrLives) {
			t.Errorf("Go on a living name: %v", err)
		}
		idle <- struct{}{}
		synctest.Wait()
		if got := k.Processes(); len(got) != 0 || runs != 1 {
			t.Fatalf("%d runs, still there: %+v", runs, got)
		}
		must(t, k.Ensure("p", run))
		must(t, k.Ensure("p", run)) // may coincide with the end of the first
		synctest.Wait()
		must(t, k.Ensure("p", run))
		idle <- struct{}{}
		synctest.Wait()
		if runs != 3 {
			t.Errorf("%d runs, want another after Ensure", runs)
		}
		idle <- struct{}{}
		synctest.Wait()
		if got := k.Processes(); len(got) != 0 || runs != 3 {
			t.Errorf("%d runs, still there: %+v", runs, got)
		}
		must(t, stop())
	})
}

func TestStopWaitsForProcessesAndTellsOnlyRealErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept place
		k := &errorkernel.Kernel{Store: kept.take}
		must(t, k.Go("good", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
		must(t, k.Go("bad", func(ctx context.Context) error { <-ctx.Done(); return errors.New("lost a file") }))
		must(t, running(t, k)())
		if f := kept.only(t); f.Process != "bad" || f.Action != errorkernel.Log {
			t.Errorf("record is %+v", f)
		}
	})
}

func TestProcessStatusAsJSON(t *testing.T) {
	b, err := json.Marshal(errorkernel.ProcessStatus{Name: "p", State: errorkernel.Running, Since: time.Unix(0, 0).UTC()})
	must(t, err)
	if want := `{"name":"p","state":"running","restarts":0,"since":"1970-01-01T00:00:00Z"}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}

func TestTerminatedProcessStaysInTheRecordThatOthersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept place
		k := &errorkernel.Kernel{Store: kept.take, Policy: errorkernel.Policy{Failures: 2}}
		stop := running(t, k)
		fail := func(context.Context) error { return errors.New("no such folder") }
		must(t, k.Go("inmsg", fail))
		pass(10 * time.Second)
		must(t, k.Go("drop", fail))
		synctest.Wait()
		must(t, stop())
		f := kept.only(t)
		if f.Action != errorkernel.Terminate || f.Process != "inmsg" || f.Severity != errorkernel.Critical || f.Count != 3 ||
			!slices.Equal(f.Among, []string{"inmsg", "drop"}) || !strings.Contains(f.Cause, "steward processes restart inmsg") {
			t.Errorf("record is %+v", f)
		}
	})
}

func TestProcessThatWaitsIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the disk is full")
		var kept place
		k := &errorkernel.Kernel{Store: kept.take, Waits: func(err error) bool { return errors.Is(err, full) }}
		stop := running(t, k)
		var room atomic.Bool
		var starts atomic.Int64
		must(t, k.Go("publish", func(ctx context.Context) error {
			if starts.Add(1); !room.Load() {
				return fmt.Errorf("keep acks: %w", full)
			}
			<-ctx.Done()
			return full
		}))
		pass(time.Hour + time.Second/2)
		s := k.Processes()[0]
		if s.State != errorkernel.Backoff || s.Restarts != 0 || !strings.Contains(s.LastError, "the disk is full") || starts.Load() != 3601 {
			t.Errorf("after an hour and %d starts: %+v", starts.Load(), s)
		}
		room.Store(true)
		pass(time.Second)
		if s := k.Processes()[0]; s.State != errorkernel.Running {
			t.Errorf("there is room: %+v", s)
		}
		must(t, stop())
		if n, _ := kept.count(); n != 0 {
			t.Errorf("%d failures were told: %+v", n, kept.runs)
		}
	})
}
