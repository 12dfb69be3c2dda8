package process_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
)

// How a command ended is known while the disk has no room for it: that is told,
// and kept as soon as there is room, and nothing runs twice.
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
		told := 0
		w.Trouble = func(x process.Trouble) {
			if told++; !strings.Contains(x.Cause, "the disk is full") || x.ID != ms[0].ID {
				t.Errorf("told of %+v", x)
			}
		}
		stop := runs(t, w.Run)
		time.Sleep(time.Minute + time.Second/2)
		want(t, r.ship1, ms[0], store.Started, "")
		heal()
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.ship1, ms[0], store.Ended, ack.Done)
		want(t, r.ship1, ms[1], store.Ended, ack.Done)
		l.want(t, "one", "two")
		if told < 55 || told > 65 {
			t.Errorf("told %d times in a minute", told)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
