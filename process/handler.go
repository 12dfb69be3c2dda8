package process

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// ErrStopping is the cause of a handler's context when it ends because the node stops.
var ErrStopping = errors.New("node is stopping")

// Handler does what a method is for. It returns how that went; a command that
// failed is a Result with that outcome, not an error of the road. ctx ends at
// the message's run limit or when the node stops: if it is the node that stops
// (context.Cause is ErrStopping), only Done still counts, and all else is
// interrupted. A panic, or runtime.Goexit, becomes the outcome failed, with the
// stack, and ends the process. Done, which may be left out, Failed, Timeout and
// Unknown are a handler's to give; any other outcome becomes failed.
type Handler interface {
	Handle(ctx context.Context, m *message.Message) message.Result
}

// HandlerFunc adapts a function to a Handler.
type HandlerFunc func(context.Context, *message.Message) message.Result

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m *message.Message) message.Result {
	return f(ctx, m)
}

// Panicked is what a Worker ends with after a handler panicked on message ID.
type Panicked struct {
	ID     uuid.UUID
	Method string
	Value  any
	Stack  []byte
	Check  bool // it was the method's Check, and no handler
}

func (p *Panicked) Error() string {
	if p.Check {
		return fmt.Sprintf("method %s: its check panicked: %v", p.Method, p.Value)
	}
	return fmt.Sprintf("method %s panicked: %v", p.Method, p.Value)
}

// Cause is the error with the stack.
func (p *Panicked) Cause() string { return p.Error() + "\n" + string(p.Stack) }

// Lasting is for a method whose runs go on when the node stops or dies. Its Handler
// is called again in the next life and takes up the run as it finds it: begins it
// if nobody did, waits for its end, or says unknown. When the node stops, it says
// unknown at once of what goes on.
type Lasting interface {
	// Prepare notes what to run, so that until its Handler is called it can be seen
	// that nobody began it. It comes before the journal says that m begins.
	Prepare(m *message.Message) error
	// Forget removes what is kept of m's run: its end is in the journal.
	Forget(m *message.Message) error
}

// Method is one line of a node's table of methods.
type Method struct {
	Name    string
	Kinds   []subject.Kind // which kinds it answers to; others are rejected
	Handler Handler
	// Check, if set, refuses a message that can never succeed; the reason goes to
	// the sender, who may be this node at submission.
	Check func(m *message.Message) error
	// Repeatable says that running a message again after a crash does no harm, so
	// that no "started" need be on disk before it runs.
	Repeatable bool
	// Instant says that the handler takes microseconds, waits for nothing and changes
	// nothing. A message with nothing before it is then handled in the commit that
	// receives it: one durable step instead of two.
	Instant bool
	// Replies says that also an event has a result, which goes back as a new event.
	Replies bool
	// Concurrent is how many messages of one subject run at once; up to 1 they run
	// one at a time, in order, for each sender.
	Concurrent int
	// Lasting, if set, says that a run outlives the node, and keeps what is known of it.
	Lasting Lasting
	// Batch, if set, is called instead of Handler with several messages of one
	// sender and subject, in order, and returns one result for each, with the file
	// lengths that must be committed together with their end. No result at all means
	// that nothing of it counts, because ctx ended first: the same messages come again.
	Batch func(ctx context.Context, ms []*message.Message) ([]message.Result, []FileLength)
}

// Refuses is what Check says of msg. If that panics it is a *Panicked: whatever msg
// is, it must not end who receives or submits others.
func (m *Method) Refuses(msg *message.Message) (err error) {
	if m.Check == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = &Panicked{ID: msg.ID, Method: m.Name, Value: v, Stack: debug.Stack(), Check: true}
		}
	}()
	return m.Check(msg)
}

// Takes reports whether the method answers to kind k.
func (m Method) Takes(k subject.Kind) bool {
	for _, x := range m.Kinds {
		if x == k {
			return true
		}
	}
	return false
}

// FileLength is how much of a file is known to be good: what lies beyond it was
// written by a run that never committed. Name is relative to the data folder.
type FileLength struct {
	Name   string `json:"name"`
	Length int64  `json:"length"`
}
