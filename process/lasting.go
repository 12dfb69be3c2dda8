package process

import (
	"context"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// lasting begins the run of k, or takes it up where an earlier life left it. When
// the node stops it waits for nothing: the next life does.
func (w *Worker) lasting(ctx context.Context, k store.Work) error {
	stop, cancel := context.WithCancelCause(w.Stop)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(ErrStopping) })()
	for begin := k.Started.IsZero(); ; begin = true {
		if begin {
			began := time.Now()
			err := w.Method.Lasting.Prepare(k.Message)
			if store.NoRoom(err) {
				w.trouble(k.ID, "it waits to be begun: %v", err)
			}
			for store.NoRoom(err) && sleep(ctx, roomRetry) {
				err = w.Method.Lasting.Prepare(k.Message)
			}
			if store.NoRoom(err) {
				return nil // it stays in the inbox
			}
			if err != nil {
				return w.end(k, message.Result{Outcome: ack.Failed, Error: "cannot start: " + err.Error(), StartedAt: began, EndedAt: time.Now()})
			}
			failpoint.Hit(failpoint.Prepared)
			if gone, err := w.started(ctx, &k); gone || err != nil {
				w.forget(k)
				return err
			}
		}
		r := w.run(stop, k)
		failpoint.Hit(failpoint.Ran)
		if r.Outcome != ack.Unknown {
			return w.end(k, r)
		}
		if stop.Err() != nil {
			return nil // it stays in the inbox, and is taken up
		}
		if k.Message.OnUnknown != message.Rerun || k.Runs >= maxReruns {
			w.trouble(k.ID, "%s", r.Error)
			return w.end(k, r)
		}
		w.forget(k)
	}
}

// forget lets go of what is kept of a run of k. What stays because of an error is
// removed at the next start.
func (w *Worker) forget(k store.Work) {
	if w.Method == nil || w.Method.Lasting == nil || k.Message == nil {
		return
	}
	if err := w.Method.Lasting.Forget(k.Message); err != nil {
		w.trouble(k.ID, "%v", err)
	}
}
