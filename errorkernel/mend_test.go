package errorkernel_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/errorkernel"
)

// numbered is the ID of the nth report.
func numbered(n int) string { return fmt.Sprintf("019a9f2c-0000-7000-8000-%012d", n) }

// What has an ID is told only when everything before it is told too: stored, and
// forwarded where that has to be.
func TestToldIsWhatWasStoredAndForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told ids
		var kept, sent place
		k := &errorkernel.Kernel{Store: kept.take, Forward: sent.take, Told: told.add}
		stop := running(t, k)
		report := func(n int, class errorkernel.Class) {
			k.Report(errorkernel.Failure{ID: numbered(n), Class: class, Cause: "boom"})
			synctest.Wait()
		}
		report(1, errorkernel.Handler)
		k.Report(errorkernel.Failure{Class: errorkernel.Transport, Cause: "it has no ID"})
		report(2, errorkernel.Handler) // waits for the end of the window
		report(3, errorkernel.Expiry)
		told.want(t, 1)
		pass(10 * time.Second)
		told.want(t, 1, 3)
		sent.fail(errors.New("no room"))
		report(4, errorkernel.Unknown)
		report(5, errorkernel.Unknown)
		pass(time.Hour)
		told.want(t, 1, 3)
		sent.fail(nil)
		pass(time.Hour)
		told.want(t, 1, 3, 5)
		must(t, stop())
		if kept.total() != 6 || sent.total() != 6 {
			t.Errorf("%d kept, %d sent", kept.total(), sent.total())
		}
	})
}

// ids is what Told was called with.
type ids struct {
	mu   sync.Mutex
	list []string
}

func (l *ids) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, id)
}

func (l *ids) want(t *testing.T, ns ...int) {
	t.Helper()
	var want []string
	for _, n := range ns {
		want = append(want, numbered(n))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.list, want) {
		t.Errorf("told %q, want %q", l.list, want)
	}
}

// A record is resolved when all that it stands for is over, in its run or after
// it; and is open again when it happens again.
func TestMendedRecordIsResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept, sent place
		k := &errorkernel.Kernel{Store: kept.take, Forward: sent.take}
		stop := running(t, k)
		report := func() string {
			return k.Report(errorkernel.Failure{Class: errorkernel.Unknown, Cause: "who knows"})
		}
		id := report()
		if id != report() {
			t.Error("two failures of a kind have two records")
		}
		pass(time.Second)
		steps := []struct {
			why      string
			mended   int
			resolved bool
			do       func()
		}{
			{"one is over", 1, false, func() { k.Mend(errorkernel.Failure{ID: id}, "", "m1 is done") }},
			{"both are over", 2, true, func() { k.Mend(errorkernel.Failure{ID: id}, "", "m2 is done") }},
			{"a third came", 2, false, func() { report() }},
			{"and is over", 3, true, func() { pass(time.Hour); k.Mend(kept.only(t), "", "m3 is done") }},
			{"told too often", 3, true, func() { k.Mend(kept.only(t), "", "m3 is done") }},
			{"of a record that nobody has", 3, true, func() { k.Mend(errorkernel.Failure{ID: numbered(1)}, "", "") }},
		}
		for _, s := range steps {
			s.do()
			pass(15 * time.Second)
			for _, f := range []errorkernel.Failure{kept.only(t), sent.only(t)} {
				if f.ID != id || f.Mended != s.mended || f.Resolved.IsZero() == s.resolved {
					t.Errorf("%s: %+v", s.why, f)
				}
			}
		}
		must(t, stop())
	})
}

// Records that are taken up again do not fill the memory.
func TestTooManyMendedRecordsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &errorkernel.Kernel{Policy: errorkernel.Policy{Kinds: 10}}
		stop := running(t, k)
		mend := func(n int) bool {
			return k.Mend(errorkernel.Failure{ID: numbered(n), Class: errorkernel.Unknown, Count: 1}, "", "")
		}
		for n := range 10 {
			if !mend(n) {
				t.Errorf("record %d waits", n)
			}
		}
		if mend(10) {
			t.Error("an eleventh is taken")
		}
		pass(time.Minute)
		if !mend(10) {
			t.Error("it waits for ever")
		}
		must(t, stop())
	})
}
