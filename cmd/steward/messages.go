package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) messagesCmd() *cobra.Command {
	var f store.Filter
	var state, outcome string
	var since time.Duration
	var labels map[string]string
	var follow bool
	c := &cobra.Command{
		Use: "messages", Aliases: []string{"ls"}, Short: "List messages, newest first", Args: cobra.NoArgs,
		Example: "  steward messages --to ship1 --outcome failed\n  steward messages -o json | jq '.[].id'",
		RunE: func(c *cobra.Command, _ []string) error {
			f.State, f.Outcome, f.Labels = store.State(state), ack.Outcome(outcome), labels
			if since > 0 {
				f.Since = time.Now().Add(-since)
			}
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				if follow {
					return e.followMessages(ctx, cl, f)
				}
				list, err := cl.Messages(ctx, f)
				if err != nil {
					return err
				}
				return printAll(e, list, func() [][]string { return messageRows(list) })
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.ToNode, "to", "", "receiver")
	flags.StringVar(&f.FromNode, "from", "", "sender")
	flags.StringVar(&f.Method, "method", "", "method")
	flags.StringVar(&state, "state", "", "waiting, cancelling, delivered, started or ended")
	flags.StringVar(&outcome, "outcome", "", "done, failed, unknown, …")
	flags.StringToStringVarP(&labels, "label", "l", nil, "key=value")
	flags.DurationVar(&since, "since", 0, "accepted within, such as 1h")
	flags.IntVar(&f.Limit, "limit", 100, "at most so many")
	flags.BoolVar(&f.Results, "results", false, "also the results, which are messages of their own")
	flags.BoolVarP(&follow, "follow", "f", false, "go on as they change")
	_ = c.RegisterFlagCompletionFunc("to", e.completeNodes)
	return e.outputFlag(c)
}

func (e *env) followMessages(ctx context.Context, cl *api.Client, f store.Filter) error {
	for r, err := range cl.FollowMessages(ctx, f, time.Second) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		one := []store.Record{r}
		if err := printAll(e, one, func() [][]string { return messageRows(one)[1:] }); err != nil {
			return err
		}
	}
	return nil
}

func messageRows(list []store.Record) [][]string {
	rows := [][]string{{"ID", "FROM", "TO", "METHOD", "STATE", "OUTCOME", "ACCEPTED", "TRIES", "DATA"}}
	for _, r := range list {
		rows = append(rows, []string{
			r.ID, r.FromNode, r.ToNode, r.Method, string(r.State), dash(string(r.Outcome)), clock(r.AcceptedAt), fmt.Sprint(r.Attempts), cut(strings.Join(r.Data, " "), 40),
		})
	}
	return rows
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (e *env) showCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "show ID|last", Short: "Show a message and what came back", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeIDs,
		Example: "  steward show last\n  steward show 019b1c2d -o json",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				r, err := cl.Message(ctx, args[0])
				if err != nil {
					return err
				}
				if err := printOne(e, r, func() [][]string { return showRows(r) }); err != nil || e.format != "table" {
					return err
				}
				return e.outputOf(r, "")
			})
		},
	})
}

func showRows(r store.Record) [][]string {
	rows := [][]string{
		{"id", r.ID}, {"from", r.FromNode}, {"to", r.ToNode}, {"kind", string(r.Kind)}, {"method", r.Method}, {"data", strings.Join(r.Data, " ")},
		{"state", string(r.State)}, {"outcome", dash(string(r.Outcome))}, {"attempts", fmt.Sprint(r.Attempts)}, {"accepted", clock(r.AcceptedAt)}, {"expires", clock(r.ExpiresAt)},
	}
	for _, x := range [][]string{{"reason", r.Reason}, {"last attempt", lastError(r)}, {"answers", r.CausationID}} {
		if x[1] != "" {
			rows = append(rows, x)
		}
	}
	if r.Result != nil && r.Result.ExitCode != nil {
		rows = append(rows, []string{"exit code", fmt.Sprint(*r.Result.ExitCode)})
	}
	return rows
}

func lastError(r store.Record) string {
	if r.State == store.Waiting {
		return r.LastError
	}
	return ""
}

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
				err = printOne(e, map[string]any{"id": r.ID, "state": r.State, "outcome": r.Outcome, "steps": steps}, func() [][]string {
					rows := [][]string{{r.ID, r.FromNode + " to " + r.ToNode, r.Method}, {}}
					for _, s := range steps {
						rows = append(rows, []string{s.Time.Local().Format("2006-01-02 15:04:05.000"), s.Step, s.Since, s.Note})
					}
					return rows
				})
				if err != nil || e.format != "table" {
					return err
				}
				return e.outputOf(r, "")
			})
		},
	})
}

// step is one line of a message's timeline.
type step struct {
	Time  time.Time `json:"time"`
	Step  string    `json:"step"`
	Since string    `json:"since,omitempty"` // the step before
	Note  string    `json:"note,omitempty"`
}

func timeline(r store.Record) (steps []step) {
	add := func(t time.Time, name, note string) {
		if t.IsZero() {
			return
		}
		s := step{Time: t, Step: name, Note: note}
		if len(steps) > 0 {
			s.Since = "+" + max(0, t.Sub(steps[len(steps)-1].Time)).Round(10*time.Microsecond).String()
		}
		steps = append(steps, s)
	}
	add(r.AcceptedAt, "accepted", "durable at "+r.FromNode)
	add(r.DeliveredAt, "delivered", fmt.Sprintf("durable at %s, attempts: %d", r.ToNode, r.Attempts))
	add(r.StartedAt, "started", "by the clock of "+r.ToNode)
	add(r.FinishedAt, "finished", exitNote(r))
	add(r.EndedAt, string(r.Outcome), r.Reason)
	if r.State != store.Ended {
		why := "attempts: " + fmt.Sprint(r.Attempts)
		if r.LastError != "" {
			why += ", last: " + r.LastError
		}
		add(time.Now(), "still "+string(r.State), why)
	}
	return steps
}

func exitNote(r store.Record) string {
	if r.Result != nil && r.Result.ExitCode != nil {
		return fmt.Sprintf("exit code %d", *r.Result.ExitCode)
	}
	return ""
}

// outputOf writes what a command wrote, each to its stream; prefix begins each line.
func (e *env) outputOf(r store.Record, prefix string) error {
	if r.Result == nil {
		return nil
	}
	show := func(s string) string {
		if e.stdoutTTY {
			lines := strings.Split(s, "\n")
			for i := range lines {
				lines[i] = strings.ReplaceAll(printable(strings.ReplaceAll(lines[i], "\t", "        ")), "\\t", "\t")
			}
			s = strings.Join(lines, "\n")
		}
		if prefix != "" && s != "" {
			s = prefix + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+prefix) + "\n"
		}
		return s
	}
	if _, err := fmt.Fprint(e.stdout, show(string(r.Result.Stdout))); err != nil {
		return err
	}
	if _, err := fmt.Fprint(e.stderr, show(string(r.Result.Stderr))); err != nil {
		return err
	}
	if r.Result.Truncated {
		fmt.Fprintf(e.stderr, "steward: the output was cut: stdout had %d bytes, stderr %d\n", r.Result.StdoutBytes, r.Result.StderrBytes)
	}
	return nil
}

// with runs f against the local node.
func (e *env) with(c *cobra.Command, f func(context.Context, *api.Client) error) error {
	if err := checkFormat(e); err != nil {
		return err
	}
	cl, err := e.dial()
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(c.Context(), cl)
}
