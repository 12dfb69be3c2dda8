package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) traceCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "trace ID|last", Short: "Show when a message passed which step", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeIDs,
		Example: "  steward trace last",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				r, err := cl.Message(ctx, args[0])
				if err != nil {
					return err
				}
				steps := timeline(r)
				err = printOne(e, trace{r.ID, r.FromNode, r.ToNode, r.Method, r.State, r.Outcome, steps}, func() [][]string {
					return append([][]string{{r.ID, r.FromNode + " to " + r.ToNode, r.Method}, {}}, stepRows(steps)...)
				})
				if err != nil || !e.isTable() {
					return err
				}
				return e.outputBelow(r)
			})
		},
	})
}

// trace is a message's timeline, for programs.
type trace struct {
	ID       string      `json:"id"`
	FromNode string      `json:"fromNode"`
	ToNode   string      `json:"toNode"`
	Method   string      `json:"method"`
	State    store.State `json:"state"`
	Outcome  ack.Outcome `json:"outcome,omitempty"`
	Steps    []step      `json:"steps"`
}

// step is one line of a message's timeline.
type step struct {
	Time  time.Time `json:"time"`
	Clock string    `json:"clock"` // node whose clock says so
	Step  string    `json:"step"`
	Since string    `json:"since,omitempty"` // the step before; where clocks disagree, the one before on the same clock
	Note  string    `json:"note,omitempty"`
}

func stepRows(steps []step) (rows [][]string) {
	for _, s := range steps {
		rows = append(rows, []string{s.Time.Local().Format("2006-01-02 15:04:05.000"), s.Step, s.Since, s.Note})
	}
	return rows
}

// timeline is what is known of r's way, by the clocks of both ends. As long as
// nothing contradicts that they agree, it is in the order of the times. Else it is
// in the order in which things must have happened, and between two clocks no time
// is counted.
func timeline(r store.Record) (steps []step) {
	here, there := r.FromNode, r.ToNode
	if r.Incoming {
		here = r.ToNode
	}
	add := func(t time.Time, clock, name, note string) {
		if !t.IsZero() {
			steps = append(steps, step{Time: t, Clock: clock, Step: name, Note: note})
		}
	}
	skew := skewOf(r, time.Now())
	by := "by the clock of " + there
	if skew != 0 && there != here {
		by += fmt.Sprintf(", which is at least %s %s", skew.Abs().Round(time.Millisecond), map[bool]string{true: "ahead", false: "behind"}[skew > 0])
	}
	add(r.AcceptedAt, r.FromNode, "accepted", "durable at "+r.FromNode)
	acked := here
	if skew != 0 && (r.DeliveredAt.Before(r.AcceptedAt) || r.DeliveredAt.After(r.EndedAt)) {
		acked = there // its result came first, and told when
	}
	add(r.DeliveredAt, acked, "delivered", fmt.Sprintf("durable at %s, attempts: %d", r.ToNode, r.Attempts))
	add(r.StartedAt, there, "started", by)
	add(r.FinishedAt, there, "finished", exitNote(r))
	if r.Outcome != ack.Delivered || r.DeliveredAt.IsZero() { // else it is said above
		add(r.EndedAt, here, string(r.Outcome), r.Reason)
	}
	if r.State != store.Ended {
		why := "attempts: " + fmt.Sprint(r.Attempts)
		if r.LastError != "" {
			why += ", last: " + r.LastError
		}
		add(time.Now(), here, "still "+string(r.State), why)
	}
	if skew == 0 { // an ack may come when what it is about has begun
		slices.SortStableFunc(steps, func(a, b step) int { return a.Time.Compare(b.Time) })
	}
	for i := range steps {
		for k := i - 1; k >= 0; k-- {
			if skew == 0 || steps[k].Clock == steps[i].Clock {
				steps[i].Since = "+" + max(0, steps[i].Time.Sub(steps[k].Time)).Round(10*time.Microsecond).String()
				break
			}
		}
	}
	return steps
}

// skewOf is by how much the receiver's clock is ahead of the sender's, at least: a
// message was accepted before it was begun, and ended after it. 0: nothing says so.
func skewOf(r store.Record, now time.Time) time.Duration {
	first, last, end := r.StartedAt, r.FinishedAt, r.EndedAt
	if r.Incoming { // all times but the first are the receiver's
		first, last, end = r.DeliveredAt, time.Time{}, time.Time{}
	} else if end.IsZero() {
		end = now
	}
	if last.IsZero() {
		last = first
	}
	switch {
	case !first.IsZero() && first.Before(r.AcceptedAt):
		return first.Sub(r.AcceptedAt)
	case !last.IsZero() && !end.IsZero() && last.After(end):
		return last.Sub(end)
	}
	return 0
}
