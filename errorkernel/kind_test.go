package errorkernel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/steward-bus/steward/errorkernel"
)

// told is what a kernel makes of failures that come at once.
func told(t *testing.T, list ...errorkernel.Failure) (records []errorkernel.Failure) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var kept place
		k := &errorkernel.Kernel{Store: kept.take}
		stop := running(t, k)
		for _, f := range list {
			k.Report(f)
		}
		must(t, stop())
		for _, f := range kept.runs {
			records = append(records, f)
		}
	})
	return records
}

func TestFailuresOfOneCauseAreOneRecord(t *testing.T) {
	for name, causes := range map[string][2]string{
		"ids":        {"message 01a1fbae-0403-70ff-8c72-c1b4ce33e9a2 is lost", "message 01a1fbe6-7b18-78a6-9edd-00a1b2c3d4e5 is lost"},
		"numbers":    {"it has 17 bytes", "it has 2048 bytes"},
		"hex":        {"page 0x1f", "page 0xa07"},
		"addresses":  {"dial tcp 127.0.0.1:4222: refused", "dial tcp 10.11.12.13:80: refused"},
		"durations":  {"no answer in 1.5s", "no answer in 2m30s"},
		"times":      {"since 2026-11-21T01:17:27.939Z", "since 2026-11-22T11:00:00Z"},
		"subjects":   {"read outbox of steward.ship1.CommandACK.Echo: it is closed", "read outbox of steward.alpha.CommandACK.Echo: it is closed"},
		"node names": {"ship1 has no such method", "alpha has no such method"},
	} {
		a := errorkernel.Failure{Class: errorkernel.Rejection, Subject: "steward.ship1.CommandACK.Echo", Cause: causes[0]}
		b := errorkernel.Failure{Class: errorkernel.Rejection, Subject: "steward.alpha.CommandACK.Echo", Cause: causes[1]}
		records := told(t, a, b)
		if len(records) != 1 || records[0].Count != 2 || records[0].Cause != b.Cause || !slices.Equal(records[0].Among, []string{a.Subject, b.Subject}) {
			t.Errorf("%s: %+v", name, records)
		}
	}
}

func TestFailuresOfDifferentCausesStayApart(t *testing.T) {
	const on = "steward.ship1.CommandACK.Echo"
	list := []errorkernel.Failure{
		{Class: errorkernel.Rejection, Subject: on, Cause: "ship1 has no method Echo"},
		{Class: errorkernel.Rejection, Subject: on, Cause: "ship1 has no method Nope"},
		{Class: errorkernel.Rejection, Subject: on, Cause: "ship1 does not take Echo from central"},
		{Class: errorkernel.Unknown, Subject: on, Cause: "ship1 has no method Echo"},
		{Class: errorkernel.Rejection, Subject: "steward.ship1.EventACK.ErrorLog", Cause: "ship1 has no method Echo"},
	}
	list = append(list, list...)
	records := told(t, list...)
	if len(records) != len(list)/2 {
		t.Errorf("%d records: %+v", len(records), records)
	}
	for _, f := range records {
		if f.Count != 2 || f.Among != nil {
			t.Errorf("%+v", f)
		}
	}
}

func TestOneStormOverManyNodesNamesSomeOfThem(t *testing.T) {
	var list []errorkernel.Failure
	for i := range 1000 {
		list = append(list, errorkernel.Failure{
			Class: errorkernel.Expiry, Subject: fmt.Sprintf("steward.%s.CommandACK.Echo", letters(i)), Cause: "expired: its lifetime ended",
		})
	}
	records := told(t, list...)
	if len(records) != 1 || records[0].Count != 1000 || len(records[0].Among) != errorkernel.MaxAmong {
		t.Fatalf("%d records: %+v", len(records), records)
	}
	for _, name := range records[0].Among {
		if !strings.HasPrefix(name, "steward.") {
			t.Errorf("it names %q", name)
		}
	}
	if _, err := errorkernel.Decode(records[0].Encode()); err != nil {
		t.Error(err)
	}
}

// Whom else a cause befalls is told at once, and not at the end of a window; that
// it befell them again is not.
func TestNewNameIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent place
		k := &errorkernel.Kernel{Forward: sent.take}
		stop := running(t, k)
		for range 3 {
			for i := range 2 * errorkernel.MaxAmong {
				k.Report(errorkernel.Failure{Class: errorkernel.Expiry, Subject: fmt.Sprintf("steward.ship%d.CommandACK.Echo", i), Cause: "late"})
				synctest.Wait()
				if f := sent.only(t); len(f.Among) != min(i+1, errorkernel.MaxAmong) && len(f.Among) != errorkernel.MaxAmong && i > 0 {
					t.Errorf("after subject %d it names %q", i, f.Among)
				}
			}
		}
		if n, _ := sent.count(); n != errorkernel.MaxAmong {
			t.Errorf("told %d times", n)
		}
		must(t, stop())
		if n := sent.total(); n != 3*2*errorkernel.MaxAmong {
			t.Errorf("%d failures", n)
		}
	})
}
