package process_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// pauses are the times between calls.
func pauses(calls []call) (list []time.Duration) {
	for i := 1; i < len(calls); i++ {
		list = append(list, calls[i].at.Sub(calls[i-1].at))
	}
	return list
}

// Attempts without an answer come after pauses that double up to the longest,
// each between half of that and all of it.
func TestBackoff(t *testing.T) {
	for name, x := range map[string]struct {
		err  error
		took time.Duration // by an attempt
	}{
		"nobody":  {process.ErrNobody, 0},
		"offline": {process.ErrOffline, 0},
		"silence": {errSilence, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				m := r.submit(note, nil, "x")[0]
				w := r.listen(note, idle())
				p := r.publisher(note, w)
				stop := runs(t, p.Run)
				synctest.Wait() // it met the receiver, and delivered
				want(t, r.central, m, store.Ended, ack.Delivered)
				w.made()
				w.set(func(call) error { return x.err })
				m = r.submit(note, nil, "y")[0]
				p.Wake()
				time.Sleep(time.Hour)
				list := pauses(w.tried())
				limit := time.Second
				for i, d := range list {
					if d -= x.took; d < limit/2 || d > limit+time.Millisecond {
						t.Errorf("pause %d was %s, want %s to %s", i, d, limit/2, limit)
					}
					limit = min(2*limit, minute)
				}
				if len(list) < 50 {
					t.Errorf("%d attempts in an hour", len(list)+1)
				}
				want(t, r.central, m, store.Waiting, "")
				made := len(list) + 1
				if x.took > 0 {
					made-- // one may be under way
				}
				tried := p.Attempts(m.Place)
				if offline := errors.Is(x.err, process.ErrOffline); offline != (tried == 0) || !offline && tried != made && tried != len(list)+1 {
					t.Errorf("%d attempts are counted, %d were made", tried, made)
				}
				if p.LastError() == "" {
					t.Error("it does not say what the last attempt met with")
				}
				w.set(nil)
				time.Sleep(x.took)

				began := time.Now()
				p.Hello(uuid.Nil)
				synctest.Wait()
				want(t, r.central, m, store.Ended, ack.Delivered)
				if time.Since(began) > 0 || p.LastError() != "" {
					t.Errorf("after a hello it took %s; the last error is %q", time.Since(began), p.LastError())
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A hello also ends the pause that a full or a busy receiver asked for, but not
// more than once.
func TestHelloIsUsedUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		r.submit(note, nil, "x")
		w := &wire{}
		p := r.publisher(note, w)
		stop := runs(t, p.Run)
		time.Sleep(time.Hour)
		w.mu.Lock()
		before := len(w.calls)
		w.mu.Unlock()
		p.Hello(uuid.Nil)
		p.Hello(uuid.Nil)
		synctest.Wait()
		w.mu.Lock()
		if n := len(w.calls) - before; n < 1 || n > 2 {
			t.Errorf("two hellos brought %d attempts", n)
		}
		w.mu.Unlock()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Retries are counted where an attempt may have arrived: a node that is not there
// is waited for, whatever they are.
func TestRetriesRunOut(t *testing.T) {
	for name, x := range map[string]struct {
		err   error
		state store.State
		want  ack.Outcome
	}{
		"nobody":  {process.ErrNobody, store.Waiting, ""},
		"silence": {errSilence, store.Ended, ack.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				w := r.listen(job, idle())
				first := r.submit(job, nil, "x")[0]
				p := r.publisher(job, w)
				stop := runs(t, p.Run)
				time.Sleep(time.Second)
				want(t, r.central, first, store.StateTaken, "")
				w.made()
				w.set(func(c call) error {
					if c.header["Steward-Ask"] != nil {
						return errSilence // about the first
					}
					return x.err
				})
				m := r.submit(job, func(m *message.Message) { m.Retries = 3 }, "x")[0]
				p.Wake()
				time.Sleep(5 * minute)
				rec, err := r.central.Record(m.ID)
				if err != nil || rec.State != x.state || rec.Outcome != x.want {
					t.Errorf("%s %s after %d attempts (%s), %v; want %s %s", rec.State, rec.Outcome, rec.Attempts, rec.Reason, err, x.state, x.want)
				}
				if x.want != "" && (rec.Attempts != 4 || !strings.Contains(rec.Reason, "its retries ran out: ")) {
					t.Errorf("%d attempts: %s", rec.Attempts, rec.Reason)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A lifetime that ends in a pause ends the message then, not after the pause.
func TestLifetimeEndsInAPause(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		life := func(m *message.Message) { m.Expires = time.Now().Add(time.Hour) }
		m := r.submit(note, life, "x")[0]
		p := r.publisher(note, &wire{})
		p.Policy.MaxWait = 24 * time.Hour
		stop := runs(t, p.Run)
		time.Sleep(time.Hour + time.Second)
		want(t, r.central, m, store.Ended, ack.Expired)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A batch that the receiver cannot read is halved until the one that is at fault
// stands alone: it ends as rejected, and the others are delivered.
func TestUnreadableMessageStandsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(note, nil, numbers(20)...)
		w := r.listen(note, idle())
		bad := ms[7].ID.String()
		p := r.publisher(note, &picky{w, bad})
		stop := runs(t, p.Run)
		time.Sleep(2 * minute)
		for i, m := range ms {
			if i == 7 {
				want(t, r.central, m, store.Ended, ack.RejectedEnd)
			} else {
				want(t, r.central, m, store.Ended, ack.Delivered)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// picky is a wire to a receiver that cannot read requests with a text in them.
type picky struct {
	*wire
	text string
}

func (p *picky) Request(ctx context.Context, s subject.Subject, h process.Header, data []byte) ([]byte, error) {
	if strings.Contains(string(data), p.text) {
		return []byte(`{"error": "it cannot be read"}`), nil
	}
	return p.wire.Request(ctx, s, h, data)
}
