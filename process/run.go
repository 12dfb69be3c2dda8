package process

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// guard calls f, which works on m, on a goroutine of its own: one that panics, or ends
// its goroutine, ends nothing else.
func guard(m *message.Message, f func()) (panicked *Panicked) {
	var group sync.WaitGroup
	group.Go(func() {
		returned := false
		defer func() {
			v := recover()
			if v == nil && !returned {
				v = "it ended its goroutine (runtime.Goexit)"
			}
			if v != nil {
				panicked = &Panicked{ID: m.ID, Method: m.Method, Value: v, Stack: debug.Stack()}
			}
		}()
		f()
		returned = true
	})
	group.Wait()
	return panicked
}

// run calls the handler of method for m, within m's limit. A panic is a failure of m.
func run(ctx context.Context, method *Method, m *message.Message, received time.Time, runs int) (r message.Result, panicked *Panicked) {
	ctx, cancel := context.WithTimeout(ctx, m.RunLimit())
	defer cancel()
	began := time.Now()
	if panicked = guard(m, func() { r = method.Handler.Handle(ctx, m) }); panicked != nil {
		r = message.Result{Outcome: ack.Failed, Error: panicked.Cause()}
	}
	mend(&r)
	r.ReceivedAt, r.Attempt = received, runs
	if r.StartedAt.IsZero() {
		r.StartedAt = began
	}
	if r.EndedAt.IsZero() {
		r.EndedAt = time.Now()
	}
	return r, panicked
}

// mend makes of what a handler gave what a journal and the road can carry, and what is
// its to say: it cannot know of a message that it was expired, or cancelled.
func mend(r *message.Result) {
	switch r.Outcome {
	case ack.Done, ack.Failed, ack.Timeout, ack.Unknown:
	case "":
		r.Outcome = ack.Done
	default:
		r.Error = fmt.Sprintf("its handler gave the outcome %.40q, and may give done, failed, timeout or unknown: %s", r.Outcome, r.Error)
		r.Outcome = ack.Failed
	}
	r.Error = strings.ToValidUTF8(r.Error, "\ufffd")
	for _, at := range []*time.Time{&r.StartedAt, &r.EndedAt} {
		if y := at.Year(); y < 1900 || y > 2200 { // in JSON and in nanoseconds there are others, but no clock shows them
			*at = time.Time{}
		}
	}
}

// replies are the messages that go out with the end of m: the result, to who
// asked, and what m wants sent elsewhere. m may be nil, and method too.
func replies(db *store.DB, method *Method, m *message.Message, r message.Result) (out []*message.Message) {
	if m == nil || !m.Kind.Acked() {
		return nil
	}
	command := m.Kind.Command()
	if !command && (method == nil || !method.Replies) || m.FromNode == "external" {
		return nil
	}
	if command || m.ReplyMethod == "" && m.ReplyTo == "" {
		out = append(out, reply(db, m, m.FromNode, message.MethodResult, r))
	}
	if m.ReplyMethod != "" || m.ReplyTo != "" {
		to, name := m.ReplyTo, m.ReplyMethod
		if to == "" {
			to = m.FromNode
		}
		if name == "" {
			name = message.MethodResult
		}
		out = append(out, reply(db, m, to, name, r))
	}
	return out
}

func reply(db *store.DB, m *message.Message, to, method string, r message.Result) *message.Message {
	a := &message.Message{
		ToNode: to, Kind: subject.EventACK, Method: method, CausationID: m.ID,
		Directory: m.Directory, FileName: m.FileName, Labels: m.Labels,
	}
	db.Fresh(a, time.Now())
	if method == message.MethodResult {
		a.Result = &r
		a.Expires = a.Time.Add(message.MaxLifetime) // a result is waited for: it expires with history only
		return a
	}
	a.Data = lines(r.Stdout)
	return a
}
