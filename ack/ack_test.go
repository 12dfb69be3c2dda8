package ack_test

import (
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
)

func TestDelayDoublesWithinItsBounds(t *testing.T) {
	p := ack.Policy{Wait: time.Second, MaxWait: 10 * time.Second}
	for attempt, longest := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second} {
		if attempt == 0 {
			continue
		}
		for range 1000 {
			if d := p.Delay(attempt); d < longest/2 || d > longest {
				t.Fatalf("after attempt %d: %s, want %s to %s", attempt, d, longest/2, longest)
			}
		}
	}
	if d := p.Delay(1 << 30); d > 10*time.Second || d < 5*time.Second {
		t.Errorf("after very many attempts: %s", d)
	}
}

func TestZeroPolicyRetriesForEver(t *testing.T) {
	var p ack.Policy
	if p.Exhausted(1_000_000) || p.AckTimeout() != ack.DefaultTimeout {
		t.Errorf("exhausted %t, timeout %s", p.Exhausted(1_000_000), p.AckTimeout())
	}
	p.Retries = 2
	if p.Exhausted(2) || !p.Exhausted(3) {
		t.Error("two retries are three attempts")
	}
}

func TestOutcomes(t *testing.T) {
	for _, o := range ack.Outcomes {
		if !o.Valid() {
			t.Errorf("%s is not valid", o)
		}
	}
	if ack.Outcome("").Valid() || ack.Outcome("DONE").Valid() {
		t.Error("what is no outcome is valid")
	}
	if ack.Busy.Decided() || ack.Verdict("").Decided() || !ack.Rejected.Decided() {
		t.Error("busy is no decision, rejected is one")
	}
}
