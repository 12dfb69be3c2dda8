package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/store"
)

// answer is the reply to a request, in JSON.
type answer struct {
	Store   uuid.UUID     `json:"store"`
	Refused store.Refusal `json:"refused,omitempty"`
	Fence   uuid.UUID     `json:"fence,omitzero"`
	Alone   time.Duration `json:"aloneNs,omitempty"`    // with Refused: for so long nobody else listened for this name
	Loss    uuid.UUID     `json:"lostHistory,omitzero"` // said until a request says that it was heard
	Acks    []ackRun      `json:"acks,omitempty"`
	Traces  []store.Trace `json:"traces,omitempty"`
	Error   string        `json:"error,omitempty"` // the request could not be read
}

// ackRun is the same ack for Count neighbours; 0 stands for 1.
type ackRun struct {
	ack.Ack
	Count int `json:"count,omitempty"`
}

func runsOf(acks []ack.Ack) (runs []ackRun) {
	for _, a := range acks {
		if n := len(runs); n > 0 && runs[n-1].Ack == a {
			runs[n-1].Count++
			continue
		}
		runs = append(runs, ackRun{a, 1})
	}
	return runs
}

// acks are the acks that a holds.
func (a answer) acks() (acks []ack.Ack) {
	for _, r := range a.Acks {
		r.Reason = ack.Short(r.Reason) // a receiver may be a stranger too
		acks = append(acks, slices.Repeat([]ack.Ack{r.Ack}, max(r.Count, 1))...)
	}
	return acks
}

func (a answer) encode() []byte {
	a.Error = ack.Short(a.Error)
	b, err := json.Marshal(a)
	if err != nil {
		return []byte(`{"error":"the answer cannot be encoded"}`)
	}
	return b
}

// errAnswer is an answer that is none: what it says is not known to mean anything.
var errAnswer = errors.New("an answer that is not understood")

// readAnswer reads the answer to a request of so many messages, or ids. What it does
// not know it does not take for an ack: it may be a word of another version, and
// change what the rest means.
func readAnswer(data []byte, items int) (a answer, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return a, fmt.Errorf("%w: more follows it", errAnswer)
	}
	if a.Error != "" {
		return a, nil
	}
	if err := a.check(items); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return a, nil
}

func (a answer) check(items int) error {
	switch {
	case a.Store == uuid.Nil:
		return errors.New("it does not say which journal answers")
	case a.Refused != "" && a.Refused != store.RefusedStore && a.Refused != store.RefusedFenced:
		return fmt.Errorf("it refuses for the reason %q", a.Refused)
	case (a.Refused == store.RefusedFenced) != (a.Fence != uuid.Nil):
		return errors.New("it names no fence, or is no refusal for one")
	case a.Refused != "" && len(a.Acks)+len(a.Traces) > 0:
		return errors.New("it refuses, and decides all the same")
	case len(a.Traces) > 0 && len(a.Traces) != items:
		return fmt.Errorf("it tells of %d messages, %d were asked for", len(a.Traces), items)
	}
	for _, t := range a.Traces {
		if !slices.Contains([]store.Trace{store.TraceWaiting, store.TraceStarted, store.TraceAnswered, store.TraceCancelled, store.TraceGone}, t) {
			return fmt.Errorf("it tells of a message that it is %q", t)
		}
	}
	return a.checkAcks(items)
}

// checkAcks: one for each message, from the first on; only the last may be that the
// receiver is busy, which it may be also when it is asked who it is.
func (a answer) checkAcks(items int) error {
	n := 0
	for i, r := range a.Acks {
		busy, count := r.Verdict == ack.Busy, max(r.Count, 1)
		switch {
		case busy && (i < len(a.Acks)-1 || count > 1):
			return errors.New("it decides after it was busy")
		case busy && items == 0:
			return nil
		case !busy && !slices.Contains([]ack.Verdict{ack.Accepted, ack.Rejected, ack.Voided, ack.Stale}, r.Verdict):
			return fmt.Errorf("its verdict is %q", r.Verdict)
		case r.Count < 0 || count > items-n:
			return fmt.Errorf("it has more acks than the request had messages: %d", items)
		}
		n += count
	}
	return nil
}

// untouched reports whether nobody can have taken what was sent: the journal that
// refuses it was the only one that listened since before. A refusal alone does not
// say so: it may answer a late copy, and an earlier one have found another journal.
func (a answer) untouched(sent time.Time) bool {
	now := time.Now()
	elapsed := max(now.Sub(sent), now.Round(0).Sub(sent.Round(0)))
	return a.Refused == store.RefusedStore && a.Alone > elapsed+elapsed/8+10*time.Millisecond // two clocks do not run alike
}

func answerOf(r store.Reply) answer {
	return answer{Store: r.Store, Refused: r.Refused, Fence: r.Fence, Loss: r.Loss, Acks: runsOf(r.Acks)}
}
