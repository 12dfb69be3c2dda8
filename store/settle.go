package store

import (
	"bytes"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/subject"
)

// settle ends the command that a Result answers. A result for a command that is
// not known here is kept as an orphan; it is never refused, since nobody could
// say it again.
func (r *receiver) settle(item Item) (ack.Ack, error) {
	accepted := ack.Ack{Verdict: ack.Accepted}
	failpoint.Hit(failpoint.Settling)
	if item.Message.Result == nil || item.Message.CausationID == uuid.Nil {
		return ack.Ack{Verdict: ack.Rejected, Reason: "a Result has a result and names its message in causationid"}, nil
	}
	cause := item.Message.CausationID
	v := r.tx.Bucket(bucketMessages).Get(cause[:])
	if v == nil {
		return accepted, r.keep(item)
	}
	b, err := decodeBody(cause[:], v)
	if err != nil {
		return accepted, err
	}
	to, err := subject.Parse(b.subject)
	if err != nil || b.incoming || to.Node != r.b.From {
		return ack.Ack{Verdict: ack.Rejected, Reason: "the message that this answers did not go from here to " + r.b.From}, err
	}
	st, _, err := getStatus(r.tx, cause)
	if err != nil || st.final() && st.result != uuid.Nil {
		return accepted, err
	}
	res := item.Message.Result
	if st.said, err = item.ResultJSON(); err != nil {
		return accepted, err
	}
	st.result, st.started, st.finished = item.ID, res.StartedAt, res.EndedAt
	st.attempts = max(st.attempts, 1)
	st.delivered = orTime(st.delivered, orTime(res.ReceivedAt, r.now))
	if st.final() || !to.Kind.Command() {
		r.t.changed(cause, b.byFile, st, res)
		return accepted, putStatus(r.tx, cause, st) // an event's reply changes no outcome
	}
	again := st.state == Ended
	st.state, st.outcome, st.ended, st.reason = Ended, res.Outcome, r.now, res.Error
	if res.Outcome == ack.Expired {
		st.never(ack.Expired, res.Error)
	}
	if !res.Outcome.Valid() {
		st.outcome, st.reason = ack.Unknown, "the receiver reports the outcome "+string(res.Outcome)
	}
	if err := putStatus(r.tx, cause, st); err != nil {
		return accepted, err
	}
	r.t.changed(cause, b.byFile, st, res)
	s := Settled{ID: cause, Subject: b.subject, Outcome: st.outcome, Reason: st.reason, Result: res}
	if err := r.db.ends(r.tx, r.t, s, again, r.now); err != nil {
		return accepted, err
	}
	return accepted, r.leaveOutbox(b, cause)
}

func (r *receiver) leaveOutbox(b body, id uuid.UUID) error {
	queue := r.tx.Bucket(bucketOutbox).Bucket([]byte(b.subject))
	if queue == nil {
		return nil
	}
	at, key := queue.Cursor(), placeKey(b.place)
	k, v := at.Seek(key)
	if !bytes.Equal(k, key) {
		return nil
	}
	sl, err := decodeSlot(key, v)
	if err != nil || sl.id != id {
		return err
	}
	r.t.gone = append(r.t.gone, goneEntry{b.subject, b.place, sl})
	r.t.records++
	return at.Delete()
}
