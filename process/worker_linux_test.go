package process_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
)

// How a command ended is known while the disk has no room for it: it is kept as
// soon as there is room, and nothing runs twice. The node tells that its disk is full.
func TestNoRoomForAResult(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		stewardtest.Ballast(t, r.ship1)
		ms := r.submit(job, nil, "one", "two")
		r.receive(job, idle())
		var l log
		var heal func()
		w := r.worker(t.Context(), l.job(func(ctx context.Context, text string) message.Result {
			if text == "one" {
				heal = stewardtest.BreakDisk(t, filepath.Join(r.dir, "ship1"), stewardtest.NoRoom)
			}
			return message.Result{}
		}))
		w.Trouble = func(x process.Trouble) { t.Errorf("told of %+v", x) }
		stop := runs(t, w.Run)
		time.Sleep(time.Minute + time.Second/2)
		want(t, r.ship1, ms[0], store.Started, "")
		heal()
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.ship1, ms[0], store.Ended, ack.Done)
		want(t, r.ship1, ms[1], store.Ended, ack.Done)
		l.want(t, "one", "two")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A command is not begun while the disk has no room for that, and the worker waits,
// also one that runs several side by side; then each runs, once.
func TestNoRoomToBegin(t *testing.T) {
	for name, concurrent := range map[string]int{"in order": 1, "side by side": 3} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				stewardtest.Ballast(t, r.ship1)
				ms := r.submit(job, nil, "one", "two")
				late := r.submit(job, func(m *message.Message) { m.Expires = time.Now().Add(time.Minute) }, "late")[0]
				r.receive(job, idle())
				var l log
				m := l.job(func(context.Context, string) message.Result { return message.Result{} })
				m.Concurrent = concurrent
				heal := stewardtest.BreakDisk(t, filepath.Join(r.dir, "ship1"), stewardtest.NoRoom)
				w := r.worker(t.Context(), m)
				w.Trouble = func(x process.Trouble) { t.Errorf("told of %+v", x) }
				stop := runs(t, w.Run)
				time.Sleep(time.Hour)
				l.want(t)
				heal()
				time.Sleep(time.Minute)
				for _, m := range ms {
					want(t, r.ship1, m, store.Ended, ack.Done)
				}
				want(t, r.ship1, late, store.Ended, ack.Expired)
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
