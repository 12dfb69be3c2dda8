package process

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// run calls the handler of method for m, within m's limit. A panic is a failure of m.
func run(ctx context.Context, method *Method, m *message.Message, received time.Time, runs int) (r message.Result, panicked *Panicked) {
	ctx, cancel := context.WithTimeout(ctx, m.RunLimit())
	defer cancel()
	began := time.Now()
	defer func() {
		if v := recover(); v != nil {
			panicked = &Panicked{ID: m.ID, Method: m.Method, Value: v, Stack: debug.Stack()}
			r = message.Result{Outcome: ack.Failed, Error: panicked.Cause()}
		}
		r.ReceivedAt, r.Attempt = received, runs
		if r.StartedAt.IsZero() {
			r.StartedAt = began
		}
		if r.EndedAt.IsZero() {
			r.EndedAt = time.Now()
		}
		if r.Outcome == "" {
			r.Outcome = ack.Done
		}
	}()
	return method.Handler.Handle(ctx, m), nil
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
