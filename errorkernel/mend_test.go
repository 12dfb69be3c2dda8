package errorkernel_test

import (
	"errors"
	"fmt"
	"slices"
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
		var told []string
		var kept, sent place
		k := &errorkernel.Kernel{Store: kept.take, Forward: sent.take, Told: func(id string) { told = append(told, id) }}
		stop := running(t, k)
		report := func(n int, class errorkernel.Class) {
			k.Report(errorkernel.Failure{ID: numbered(n), Class: class, Cause: "boom"})
			synctest.Wait()
		}
		report(1, errorkernel.Handler)
		k.Report(errorkernel.Failure{Class: errorkernel.Transport, Cause: "it has no ID"})
		report(2, errorkernel.Handler) // waits for the end of the window
		report(3, errorkernel.Expiry)
		if !slices.Equal(told, []string{numbered(1)}) {
			t.Errorf("told %q", told)
		}
		pass(10 * time.Second)
		if !slices.Equal(told, []string{numbered(1), numbered(3)}) {
			t.Errorf("at the end of the window told %q", told)
		}
		sent.err = errors.New("no room")
		report(4, errorkernel.Unknown)
		report(5, errorkernel.Unknown)
		pass(time.Hour)
		if len(told) != 2 {
			t.Errorf("not forwarded, and told %q", told)
		}
		sent.err = nil
		pass(time.Hour)
		must(t, stop())
		if told[len(told)-1] != numbered(5) || kept.total() != 6 || sent.total() != 6 {
			t.Errorf("told %q; %d kept, %d sent", told, kept.total(), sent.total())
		}
	})
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
