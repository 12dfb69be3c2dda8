package errorkernel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/errorkernel"
)

// place keeps the latest record of each run, as the store and central do.
type place struct {
	mu    sync.Mutex
	calls int
	runs  map[string]errorkernel.Failure
	err   error // what take returns
}

func (p *place) take(f errorkernel.Failure) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.err != nil {
		return p.err
	}
	if p.runs == nil {
		p.runs = make(map[string]errorkernel.Failure)
	}
	p.runs[f.ID] = f
	return nil
}

// fail lets take return err from now on.
func (p *place) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *place) total() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.runs {
		n += f.Count
	}
	return n
}

func (p *place) count() (calls, runs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls, len(p.runs)
}

func (p *place) only(t *testing.T) errorkernel.Failure {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.runs) != 1 {
		t.Fatalf("%d records, want one: %v", len(p.runs), p.runs)
	}
	for _, f := range p.runs {
		return f
	}
	return errorkernel.Failure{}
}

// running is a kernel that runs in the bubble of the test; stop ends it.
func running(t *testing.T, k *errorkernel.Kernel) (stop func() error) {
	t.Helper()
	k.Node = "ship1"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	synctest.Wait()
	return func() error { cancel(); return <-done }
}

// pass lets d of virtual time pass, and what it set off come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStormBecomesFewRecordsWithTheWholeCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept, sent place
		k := &errorkernel.Kernel{Store: kept.take, Forward: sent.take}
		stop := running(t, k)
		const perSecond, seconds = 10_000, 60
		for range seconds {
			for range perSecond {
				k.Report(errorkernel.Failure{Class: errorkernel.Handler, Subject: "steward.ship1.CommandACK.Echo", Cause: "boom"})
			}
			synctest.Wait()
			if sent.total() == 0 {
				t.Fatal("the first failure waited")
			}
			pass(time.Second)
		}
		must(t, stop())
		if got := sent.total(); got != perSecond*seconds {
			t.Errorf("sent records stand for %d failures, want %d", got, perSecond*seconds)
		}
		if got := kept.total(); got != perSecond*seconds {
			t.Errorf("stored records stand for %d failures, want %d", got, perSecond*seconds)
		}
		// At once, after 10 s, after another 20 s, and when the kernel stops.
		sends, _ := sent.count()
		if keeps, _ := kept.count(); sends != 4 || keeps != 4 {
			t.Errorf("%d sent and %d stored, want 4 of each", sends, keeps)
		}
		f := sent.only(t)
		if f.Node != "ship1" || f.Severity != errorkernel.Error || f.Action != errorkernel.Log || !f.Last.After(f.First) {
			t.Errorf("record is %+v", f)
		}
	})
}

func TestSummariesAreAtMostFiveMinutesApartAndQuietEndsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent place
		k := &errorkernel.Kernel{Forward: sent.take}
		stop := running(t, k)
		report := func() { k.Report(errorkernel.Failure{Class: errorkernel.Expiry, Cause: "late"}) }
		for range 3600 {
			report()
			pass(time.Second)
		}
		if n, _ := sent.count(); n < 12 || n > 18 {
			t.Errorf("%d records in an hour, want about one each 5 min", n)
		}
		pass(11 * time.Minute)
		report()
		synctest.Wait()
		if _, runs := sent.count(); runs != 2 || sent.total() != 3601 {
			t.Errorf("%d runs of %d failures, want a second run that is told at once", runs, sent.total())
		}
		must(t, stop())
	})
}

func TestSeverityThatRisesIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent place
		k := &errorkernel.Kernel{Forward: sent.take}
		stop := running(t, k)
		for n := range 60 {
			k.Report(errorkernel.Failure{Class: errorkernel.Transport, Cause: "no route"})
			synctest.Wait()
			want := errorkernel.Warning
			if n == 59 {
				want = errorkernel.Error
			}
			if f := sent.only(t); f.Severity != want {
				t.Fatalf("after %d failures: %s, want %s", n+1, f.Severity, want)
			}
		}
		if f := sent.only(t); f.Count != 60 {
			t.Errorf("count is %d, want 60", f.Count)
		}
		must(t, stop())
	})
}

func TestTooManyKindsShareOneRecordPerClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent place
		k := &errorkernel.Kernel{Forward: sent.take, Policy: errorkernel.Policy{Kinds: 100}}
		stop := running(t, k)
		for i := range 5000 {
			why := "no " + letters(i)
			k.Report(errorkernel.Failure{Class: errorkernel.Rejection, Subject: fmt.Sprint("s", i), Cause: why})
			k.Report(errorkernel.Failure{Class: errorkernel.Unknown, Subject: fmt.Sprintf("p.n%d.EventACK.ErrorLog", i), Cause: why})
		}
		must(t, stop())
		if _, runs := sent.count(); runs != 50+1 || sent.total() != 5000 {
			t.Errorf("%d records of %d failures, want 51 of 5000", runs, sent.total())
		}
		if s := k.Stats(); s.Lumped != 9900 || s.Failures[errorkernel.Rejection] != 5000 {
			t.Errorf("stats are %+v", s)
		}
	})
}

// letters is a word for i.
func letters(i int) string {
	return strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(i))
}

func TestFailureOfTheRoadDoesNotFeedOnItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept place
		sent := place{err: errors.New("disk full")}
		k := &errorkernel.Kernel{Store: kept.take, Forward: sent.take}
		stop := running(t, k)
		k.Report(errorkernel.Failure{Class: errorkernel.Handler, Cause: "boom"})
		pass(time.Hour)
		if n, _ := kept.count(); n != 1 || kept.total() != 1 {
			t.Errorf("%d stored of %d failures, want the one and nothing about it", n, kept.total())
		}
		attempts, _ := sent.count()
		if attempts < 2 || attempts > 18 {
			t.Errorf("sent %d times in an hour, want a few attempts", attempts)
		}
		if got := k.Stats().ForwardErrors; got != uint64(attempts) {
			t.Errorf("%d errors counted, %d happened", got, attempts)
		}
		sent.fail(nil)
		pass(6 * time.Minute)
		if sent.total() != 1 {
			t.Error("the failure did not reach central when the road was back")
		}
		must(t, stop())
	})
}

func TestFailureAboutAnErrorLogStaysAtItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept, sent place
		k := &errorkernel.Kernel{Store: kept.take, Forward: sent.take}
		stop := running(t, k)
		const road = "steward.central.EventACK.ErrorLog"
		k.Report(errorkernel.Failure{Class: errorkernel.Undelivered, Subject: road, Cause: "no answer"})
		must(t, k.Go("publisher "+road, func(context.Context) error { return errors.New("broken") }))
		pass(time.Minute)
		sends, _ := sent.count()
		if _, runs := kept.count(); sends != 0 || runs != 2 {
			t.Errorf("%d sent, %d stored; want none and 2", sends, runs)
		}
		must(t, stop())
	})
}

func TestFatalEndsRunAfterItsProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept place
		k := &errorkernel.Kernel{Store: kept.take}
		ended := false
		must(t, k.Go("loop", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return ctx.Err()
		}))
		time.AfterFunc(time.Minute, func() { k.Fatal(errorkernel.Storage, errSync) })
		err := k.Run(t.Context())
		if !errors.Is(err, errorkernel.ErrFatal) || !errors.Is(err, errSync) || !ended {
			t.Errorf("Run returned %v, process ended: %v", err, ended)
		}
		if f := kept.only(t); f.Severity != errorkernel.Critical || f.Class != errorkernel.Storage || !strings.Contains(f.Cause, "fsync") {
			t.Errorf("record is %+v", f)
		}
		if err := k.Go("late", nil); !errors.Is(err, errorkernel.ErrStopped) {
			t.Errorf("Go after the end: %v", err)
		}
		if err := k.Run(t.Context()); !errors.Is(err, errorkernel.ErrStopped) {
			t.Errorf("second Run: %v", err)
		}
	})
}

var errSync = errors.New("fsync: input/output error")
