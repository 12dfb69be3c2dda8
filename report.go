package steward

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/metrics"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// report gives a failure to the error kernel.
func (n *Node) report(f errorkernel.Failure) { n.kernel.Report(f) }

// count is told of every failure.
func (n *Node) count(f errorkernel.Failure) {
	n.failures.Add(1)
	n.metrics.Failed(f.Class, f.Severity)
}

// trouble is what a publisher noticed.
func (n *Node) trouble(t process.Trouble) {
	f := errorkernel.Failure{Class: errorkernel.Transport, Severity: errorkernel.Warning, Subject: t.Subject.String(), Cause: t.Cause}
	if t.Identity {
		f.Class, f.Severity = errorkernel.Identity, errorkernel.Critical
	}
	n.report(f)
}

// processOf names the process that handles a lane.
func processOf(l store.Lane) string { return "handle:" + l.From + ":" + l.Subject.String() }

// handlerTrouble is what a worker noticed.
func (n *Node) handlerTrouble(l store.Lane) func(process.Trouble) {
	return func(t process.Trouble) {
		n.report(errorkernel.Failure{
			Class: errorkernel.Handler, Severity: errorkernel.Error, Process: processOf(l), Subject: t.Subject.String(), Message: t.ID.String(), Cause: t.Cause,
		})
	}
}

// checkPanicked is told of a Check that panicked on a message, which was refused.
func (n *Node) checkPanicked(subject string, p *process.Panicked) {
	f := errorkernel.Failure{Class: errorkernel.Handler, Severity: errorkernel.Error, Subject: subject, Cause: p.Cause()}
	if p.ID != uuid.Nil { // at submission it has none yet
		f.Message = p.ID.String()
	}
	n.report(f)
}

// crowded is told of requests that found no room.
func (n *Node) crowded(subject string) {
	n.report(errorkernel.Failure{Class: errorkernel.Transport, Severity: errorkernel.Warning, Subject: subject, Cause: "more requests than there is room for: their senders were told to come again"})
}

// blame tells the error kernel which message a worker's handler panicked on.
func (n *Node) blame(l store.Lane, err error) error {
	p, ok := errors.AsType[*process.Panicked](err)
	if !ok {
		return err
	}
	return &errorkernel.Blame{Err: p, About: errorkernel.Failure{
		Class: errorkernel.Handler, Subject: l.Subject.String(), Message: p.ID.String(), Cause: p.Cause(),
	}}
}

func (n *Node) handled(w store.Work, r message.Result) {
	ctx := context.Background()
	if w.Message == nil || !n.log.Enabled(ctx, levelOf(w.Message.Method)) {
		return
	}
	n.log.Log(ctx, levelOf(w.Message.Method), "handled", "id", w.ID, "from", w.Message.FromNode, "method", w.Message.Method, "outcome", r.Outcome, "took", r.EndedAt.Sub(r.StartedAt).Round(time.Microsecond))
}

func (n *Node) sent(messages int, repeat bool) {
	if repeat {
		n.retries.Add(1)
		n.metrics.Retried()
		return
	}
	n.metrics.Sent(messages)
}

// settled is told of messages that got their outcome. Results do not count, as they
// do not where they are accepted: they belong to other nodes' messages.
func (n *Node) settled(ended []store.Settled) {
	n.mu.Lock()
	for _, e := range ended {
		if !isResult(e.Subject) {
			n.outcomes[e.Outcome]++
			n.metrics.Ended(e.Outcome)
		}
	}
	n.mu.Unlock()
	for _, e := range ended {
		n.logEnd(e)
	}
}

// levelOf is the level of what the log says of a message on its way: of the road's
// own, which no operator submitted, it is silent; and of log lines: they may come
// from this very log, and would have no end.
func levelOf(method string) slog.Level {
	switch method {
	case message.MethodResult, message.MethodErrorLog, message.MethodTextLogging:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// logEnd has a line for each message that ended. What is not logged must cost nothing.
func (n *Node) logEnd(e store.Settled) {
	ctx, level := context.Background(), levelOf(e.Subject[strings.LastIndexByte(e.Subject, '.')+1:])
	if !n.log.Enabled(ctx, level) {
		return
	}
	args := []any{"id", e.ID, "subject", e.Subject, "outcome", e.Outcome}
	if r := e.Result; r != nil && !r.StartedAt.IsZero() {
		args = append(args, "startedAt", r.StartedAt)
		if r.ExitCode != nil {
			args = append(args, "exitCode", *r.ExitCode)
		}
	}
	n.log.Log(ctx, level, "ended", args...)
}

func isResult(subject string) bool { return strings.HasSuffix(subject, "."+message.MethodResult) }

// keepFailure is the kernel's record at this node. What an operator resolved stays
// so until it happens again.
func (n *Node) keepFailure(f errorkernel.Failure) error {
	old, found, err := n.failure(f.ID)
	if err != nil {
		return err
	}
	if found && f.Resolved.IsZero() && f.Count <= old.Count {
		f.Resolved = old.Resolved
	}
	f.Kept = time.Now()
	return n.db.PutFailure(f.ID, f.Encode())
}

// failure is the record that is kept under id.
func (n *Node) failure(id string) (f errorkernel.Failure, found bool, err error) {
	record, err := n.db.Failure(id)
	if err != nil || record == nil {
		return f, false, err
	}
	f, err = decodeFailure(record)
	return f, err == nil, err
}

// forwardFailure puts a failure on the road to central, where it waits as long as
// a message may. It may be about the disk, and does not wait for room.
func (n *Node) forwardFailure(f errorkernel.Failure) error {
	m := &message.Message{
		ToNode: n.cfg.Central, Kind: subject.EventACK, Method: message.MethodErrorLog, Data: []string{string(f.Encode())},
		Expires: time.Now().Add(message.MaxLifetime),
	}
	if err := n.prepare(m); err != nil {
		return err
	}
	if err := n.db.AcceptOwn(m); err != nil {
		return err
	}
	n.took(context.Background(), []*message.Message{m}, false)
	return nil
}

// collect keeps a failure that another node sent here.
func (n *Node) collect(_ context.Context, m *message.Message) error {
	for _, d := range m.Data {
		f, err := errorkernel.Decode([]byte(d))
		if err != nil {
			return err
		}
		if f.Node = m.FromNode; f.Mended < f.Count { // a node speaks for itself only, and resolves what is over
			f.Resolved = time.Time{}
		}
		if err := n.keepFailure(f); err != nil {
			return err
		}
		n.log.Warn("failure", "of", f.Node, "class", f.Class, "severity", f.Severity, "count", f.Count, "mended", f.Mended, "cause", firstLine(f.Cause))
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (n *Node) newMetrics() *metrics.Metrics {
	counts := func(f func(store.Counts) int) func() float64 {
		return func() float64 { return float64(f(n.db.Counts())) }
	}
	return metrics.New(n.cfg.Version, metrics.Sources{
		Waiting:         counts(func(c store.Counts) int { return c.Waiting }),
		AwaitingResult:  counts(func(c store.Counts) int { return c.Awaiting }),
		Cancelling:      counts(func(c store.Counts) int { return c.Voids }),
		Inbox:           counts(func(c store.Counts) int { return c.Inbox }),
		Processes:       func() float64 { return float64(len(n.kernel.Processes())) },
		BrokerConnected: n.online,
		DiskFree:        func() float64 { return float64(n.db.Disk().Free) },
		DiskReserve:     func() float64 { return float64(n.db.Disk().Reserve) },
		DiskFull:        func() bool { return n.db.Disk().Full != "" },
	})
}

func (n *Node) online() bool {
	c := n.conn.Load()
	return c != nil && c.Connected()
}

// decodeFailure reads a record of the journal.
func decodeFailure(record []byte) (f errorkernel.Failure, err error) {
	err = json.Unmarshal(record, &f)
	return f, err
}
