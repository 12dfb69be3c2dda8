// Package ack says what a receiver decided about a message, what finally became
// of it, and when a sender tries again.
package ack

import (
	"cmp"
	"math/rand/v2"
	"strings"
	"time"
)

// Verdict is a receiver's decision about one message of a batch.
type Verdict string

const (
	Accepted Verdict = "accepted" // durably in the receiver's inbox
	Rejected Verdict = "rejected" // refused for good, with a reason
	Voided   Verdict = "voided"   // the sender gave it up in time: it was not accepted and never will be
	Stale    Verdict = "stale"    // below the mark and unremembered: nothing runs
	Busy     Verdict = "busy"     // no room now; this and all that follows it was not decided
	SentOut  Verdict = "sent"     // the sender's own word about a NACK kind: the broker has it
)

// Decided reports whether the verdict is durable at the receiver and will be
// repeated word for word.
func (v Verdict) Decided() bool { return v != Busy && v != "" }

// Ack is the receiver's word about one message.
type Ack struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
}

// maxReason bounds the bytes of a reason: it is kept, and sent again with each repeat.
const maxReason = 1 << 10

// Reject is the ack that refuses, for a reason of which the beginning is kept.
func Reject(reason string) Ack { return Ack{Verdict: Rejected, Reason: Short(reason)} }

// Short is the beginning of a reason, which may quote what a stranger sent, as valid
// UTF-8 of at most 1 KiB.
func Short(reason string) string {
	if len(reason) > maxReason {
		reason = reason[:maxReason-len("…")]
		return strings.ToValidUTF8(reason, "") + "…"
	}
	return strings.ToValidUTF8(reason, "\ufffd")
}

// Outcome is what finally became of a message. Every accepted message gets
// exactly one; only Unknown may later be refined.
type Outcome string

const (
	Delivered   Outcome = "delivered"   // event: durably with the receiver
	Done        Outcome = "done"        // command: ran, and succeeded
	Failed      Outcome = "failed"      // command: ran and said so, or could not start
	Timeout     Outcome = "timeout"     // command: killed at its limit
	RejectedEnd Outcome = "rejected"    // the receiver refuses, with the reason
	Expired     Outcome = "expired"     // given up at its lifetime's end, provably never accepted
	Undelivered Outcome = "undelivered" // given up after its retries, provably never accepted
	Unknown     Outcome = "unknown"     // may or may not have happened; the reason says why
	Cancelled   Outcome = "cancelled"   // withdrawn in time
	Sent        Outcome = "sent"        // NACK kinds: handed to the broker, and nobody knows more
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{Delivered, Done, Failed, Timeout, RejectedEnd, Expired, Undelivered, Unknown, Cancelled, Sent}

// Valid reports whether o is one of Outcomes.
func (o Outcome) Valid() bool {
	for _, x := range Outcomes {
		if o == x {
			return true
		}
	}
	return false
}

// Defaults of a Policy.
const (
	DefaultTimeout = 5 * time.Second
	DefaultWait    = 500 * time.Millisecond
	DefaultMaxWait = time.Minute
)

// Policy is a schedule of attempts. The zero Policy retries until the message
// is delivered or its lifetime ends.
type Policy struct {
	Timeout time.Duration // how long one attempt waits for its ack; DefaultTimeout if zero
	Retries int           // attempts after the first that had no answer; 0: no limit
	Wait    time.Duration // first pause; doubles up to MaxWait; DefaultWait if zero
	MaxWait time.Duration // longest pause; DefaultMaxWait if zero
}

// AckTimeout is how long one attempt waits.
func (p Policy) AckTimeout() time.Duration { return cmp.Or(p.Timeout, DefaultTimeout) }

// Exhausted reports whether attempt, counted from one, was the last.
func (p Policy) Exhausted(attempt int) bool { return p.Retries > 0 && attempt > p.Retries }

// Delay is the pause after attempt, counted from one: doubling, with "equal
// jitter" (half fixed, half random), so that a fleet does not come back in step.
func (p Policy) Delay(attempt int) time.Duration {
	d, limit := cmp.Or(p.Wait, DefaultWait), cmp.Or(p.MaxWait, DefaultMaxWait)
	for range attempt - 1 {
		if d *= 2; d >= limit {
			break
		}
	}
	d = min(d, limit)
	return d/2 + rand.N(d/2+1)
}
