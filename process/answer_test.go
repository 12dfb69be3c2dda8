package process_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// liar is a wire on which batches are answered by somebody else, while it says so.
type liar struct {
	*wire
	says atomic.Pointer[string]
}

func (l *liar) Request(ctx context.Context, s subject.Subject, h process.Header, data []byte) ([]byte, error) {
	if says := l.says.Load(); says != nil && (len(data) > 0 || h["Steward-Ask"] != nil) {
		return []byte(*says), nil
	}
	return l.wire.Request(ctx, s, h, data)
}

// What is not known to mean an ack is none: the message waits, the error kernel is
// told, and the receiver's own word counts when it comes.
func TestAnswersThatAreNone(t *testing.T) {
	const me, other = "STORE", "00000000-0000-4000-8000-00000000000b"
	for name, x := range map[string]struct{ answer, why string }{
		"another journal":         {`{"store":"` + other + `","acks":[{"verdict":"accepted","count":2}]}`, "answers what journal"},
		"another journal, busy":   {`{"store":"` + other + `","acks":[{"verdict":"busy"}]}`, "answers what journal"},
		"no journal":              {`{"acks":[{"verdict":"accepted","count":2}]}`, "which journal"},
		"refused by the same":     {`{"store":"` + me + `","refused":"store"}`, "answers what journal"},
		"an unknown verdict":      {`{"store":"` + me + `","acks":[{"verdict":"accepted"},{"verdict":"perhaps"}]}`, `"perhaps"`},
		"no verdict":              {`{"store":"` + me + `","acks":[{"count":2}]}`, `""`},
		"the sender's own word":   {`{"store":"` + me + `","acks":[{"verdict":"sent","count":2}]}`, `"sent"`},
		"an unknown field":        {`{"store":"` + me + `","acks":[{"verdict":"accepted","count":2}],"but":true}`, `unknown field "but"`},
		"an unknown field inside": {`{"store":"` + me + `","acks":[{"verdict":"accepted","count":2,"until":1}]}`, `unknown field "until"`},
		"an unknown refusal":      {`{"store":"` + me + `","refused":"tired"}`, `"tired"`},
		"fenced without a fence":  {`{"store":"` + me + `","refused":"fenced"}`, "fence"},
		"refused and accepted":    {`{"store":"` + me + `","refused":"store","acks":[{"verdict":"accepted"}]}`, "refuses, and decides"},
		"too many":                {`{"store":"` + me + `","acks":[{"verdict":"accepted","count":3}]}`, "more acks"},
		"too many by far":         {`{"store":"` + me + `","acks":[{"verdict":"accepted","count":9223372036854775807},{"verdict":"accepted","count":2}]}`, "more acks"},
		"fewer than none":         {`{"store":"` + me + `","acks":[{"verdict":"accepted","count":-1}]}`, "more acks"},
		"after busy":              {`{"store":"` + me + `","acks":[{"verdict":"busy"},{"verdict":"accepted"}]}`, "busy"},
		"two answers":             {`{"store":"` + me + `","acks":[{"verdict":"accepted","count":2}]} {}`, "more follows"},
		"no JSON":                 {`accepted`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				w := &liar{wire: r.listen(note, idle())}
				p := r.publisher(note, w)
				var told []process.Trouble
				p.Trouble = func(x process.Trouble) { told = append(told, x) }
				met := r.submit(note, nil, "met")[0]
				stop := runs(t, p.Run)
				synctest.Wait()
				want(t, r.central, met, store.Ended, ack.Delivered)
				says := strings.ReplaceAll(x.answer, me, r.ship1.ID().String())
				w.says.Store(&says)
				ms := r.submit(note, nil, "one", "two")
				p.Wake()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				for _, m := range ms {
					want(t, r.central, m, store.Waiting, "")
				}
				if p.Attempts(ms[0].Place) < 2 || len(told) < 2 || !told[0].Identity || !strings.Contains(told[0].Cause, x.why) {
					t.Errorf("%d attempts, told of %+v", p.Attempts(ms[0].Place), told)
				}
				w.says.Store(nil)
				time.Sleep(minute)
				for _, m := range ms {
					want(t, r.central, m, store.Ended, ack.Delivered)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Nor does an answer to a question end a command when it is not understood.
func TestTracesThatAreNone(t *testing.T) {
	for name, traces := range map[string]string{"too many": `["gone","gone"]`, "unknown": `["lost"]`} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				w := &liar{wire: r.listen(job, idle())}
				p := r.publisher(job, w)
				var told []process.Trouble
				p.Trouble = func(x process.Trouble) { told = append(told, x) }
				m := r.submit(job, nil, "x")[0]
				stop := runs(t, p.Run)
				time.Sleep(time.Second)
				says := fmt.Sprintf(`{"store":%q,"traces":%s}`, r.ship1.ID(), traces)
				w.says.Store(&says)
				time.Sleep(time.Hour)
				want(t, r.central, m, store.StateTaken, "")
				if len(told) == 0 {
					t.Error("nobody was told")
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// That a receiver cannot read a message says nothing of an earlier attempt without an
// answer: then it is not rejected, but given up, and its void brings the truth.
func TestUnreadableAfterSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		w := &liar{wire: r.listen(note, idle())}
		p := r.publisher(note, w)
		stop := runs(t, p.Run)
		r.submit(note, nil, "met")
		p.Wake()
		time.Sleep(time.Second)
		w.set(func(call) error { return errSilence })
		taken := r.submit(note, nil, "taken")[0]
		p.Wake()
		time.Sleep(7 * time.Second)
		w.set(nil)
		says := fmt.Sprintf(`{"store":%q,"error":"it cannot be read"}`, r.ship1.ID())
		w.says.Store(&says)
		for rec, err := r.central.Record(taken.ID); err != nil || rec.State != store.Ended; rec, err = r.central.Record(taken.ID) {
			time.Sleep(time.Millisecond) // virtual; before the void is sent
		}
		want(t, r.central, taken, store.Ended, ack.Unknown)
		w.says.Store(nil)
		time.Sleep(minute)
		want(t, r.ship1, taken, store.Ended, ack.Cancelled) // it had been taken, and waited
		want(t, r.central, taken, store.Ended, ack.RejectedEnd)
		w.says.Store(&says)
		fresh := r.submit(note, nil, "fresh")[0]
		p.Wake()
		time.Sleep(time.Hour)
		want(t, r.central, fresh, store.Ended, ack.RejectedEnd)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
