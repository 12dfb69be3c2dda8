package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) messagesCmd() *cobra.Command {
	var f store.Filter
	var since time.Duration
	var labels map[string]string
	var follow bool
	c := &cobra.Command{
		Use: "messages", Aliases: []string{"ls"}, Short: "List messages, newest first", Args: noArgs,
		Example: "  steward messages --to ship1 --outcome failed\n  steward messages --follow\n  steward messages -o json | jq '.[].id'",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkLimit(f.Limit); err != nil {
				return err
			}
			f.Labels = labels
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
	flags.StringVar(&f.ToNode, "to", "", "receiving `NODE`")
	flags.StringVar(&f.FromNode, "from", "", "sending `NODE`")
	flags.StringVar(&f.Method, "method", "", "`METHOD`")
	choose(c, &f.State, "state", "`STATE`", []store.State{store.Waiting, store.Cancelling, store.StateTaken, store.Started, store.Ended})
	choose(c, &f.Outcome, "outcome", "`OUTCOME`", ack.Outcomes)
	flags.StringToStringVarP(&labels, "label", "l", nil, "`KEY=VALUE`; all of several must fit")
	flags.Lookup("label").DefValue = ""
	durationVar(flags, &since, "since", "accepted within that `DURATION`, such as 1h")
	flags.IntVar(&f.Limit, "limit", 100, "the `N` newest, up to 10000")
	flags.BoolVar(&f.Results, "results", false, "also the results, which are messages of their own")
	flags.BoolVarP(&follow, "follow", "f", false, "go on as they come and change")
	e.completeFlags(c)
	return e.outputFlag(c)
}

// followEvery is how often --follow looks.
const followEvery = time.Second / 2

func (e *env) followMessages(ctx context.Context, cl *api.Client, f store.Filter) error {
	out := stream{env: e}
	for r, err := range cl.FollowMessages(ctx, f, followEvery) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.next(r, messageRows([]store.Record{r})); err != nil {
			return err
		}
	}
	return nil
}

// stateOf is the outcome of what has ended, else where it stands; of what runs also
// since when.
func stateOf(r store.Record) string {
	switch {
	case r.State == store.Ended:
		return string(r.Outcome)
	case r.State == store.Started && !r.StartedAt.IsZero():
		return string(r.State) + " " + clock(r.StartedAt)
	}
	return string(r.State)
}

func messageRows(list []store.Record) [][]string {
	rows := [][]string{{"ID", "FROM", "TO", "METHOD", "STATE", "ACCEPTED", "TRIES", "DATA"}}
	for _, r := range list {
		rows = append(rows, []string{
			r.ID, r.FromNode, r.ToNode, r.Method, stateOf(r), clock(r.AcceptedAt), fmt.Sprint(r.Attempts), cut(strings.Join(r.Data, " "), 60),
		})
	}
	return rows
}

// checkLimit: a list longer than that is asked for in parts.
func checkLimit(n int) error {
	if n < 1 || n > api.MaxLimit {
		return usageError{fmt.Errorf("--limit is %d: want 1 to %d; other flags choose which", n, api.MaxLimit)}
	}
	return nil
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
				if err := printOne(e, r, func() [][]string { return showRows(r) }); err != nil || !e.isTable() {
					return err
				}
				return e.outputBelow(r)
			})
		},
	})
}

func showRows(r store.Record) [][]string {
	rows := [][]string{
		{"id", r.ID}, {"from", r.FromNode}, {"to", r.ToNode}, {"kind", string(r.Kind)}, {"method", r.Method}, {"data", strings.Join(r.Data, " ")},
		{"state", string(r.State)}, {"outcome", dash(string(r.Outcome))}, {"attempts", fmt.Sprint(r.Attempts)}, {"accepted", stamp(r.AcceptedAt)}, {"expires", stamp(r.ExpiresAt)},
	}
	if !r.StartedAt.IsZero() {
		rows = append(rows, []string{"started", stamp(r.StartedAt)})
	}
	for _, x := range [][]string{{"reason", r.Reason}, {"last attempt", lastError(r)}, {"cause", r.CausationID}} {
		if x[1] != "" {
			rows = append(rows, x)
		}
	}
	if r.Result != nil && r.Result.ExitCode != nil {
		rows = append(rows, []string{"exit code", fmt.Sprint(*r.Result.ExitCode)})
	}
	if status := httpStatus(r); status != "" {
		rows = append(rows, []string{"http status", status})
	}
	if r.Outcome == ack.Delivered && r.Result != nil { // of an event, whose outcome does not say it
		rows = append(rows, []string{"result", strings.TrimSuffix(fmt.Sprintf("%s: %s", r.Result.Outcome, r.Result.Error), ": ")})
	}
	return rows
}

func lastError(r store.Record) string {
	if r.State == store.Waiting {
		return r.LastError
	}
	return ""
}

func exitNote(r store.Record) string {
	if r.Result != nil && r.Result.ExitCode != nil {
		return fmt.Sprintf("exit code %d", *r.Result.ExitCode)
	}
	if status := httpStatus(r); status != "" {
		return "http status " + status
	}
	if r.Outcome == ack.Delivered && r.Result != nil {
		return r.Result.Error
	}
	return ""
}

// httpStatus is what a server answered, as in 404 Not Found.
func httpStatus(r store.Record) string {
	if r.Result == nil || r.Result.HTTP == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(r.Result.HTTP.Status, " ", http.StatusText(r.Result.HTTP.Status)))
}

// outputBelow is outputOf after a table.
func (e *env) outputBelow(r store.Record) error {
	if r.Result != nil && len(r.Result.Stdout) > 0 {
		if _, err := fmt.Fprintln(e.stdout); err != nil {
			return err
		}
	}
	if err := e.outputOf(r, ""); err != nil || r.Result == nil || len(r.Result.Stdout) == 0 || strings.HasSuffix(string(r.Result.Stdout), "\n") {
		return err
	}
	_, err := fmt.Fprintln(e.stdout)
	return err
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
	cl, err := e.dial()
	if err != nil {
		return err
	}
	defer cl.Close()
	var once sync.Once
	cl.Missed = func(error) {
		once.Do(func() {
			fmt.Fprintln(e.stderr, "steward: the local node is away; waiting for it to come back")
		})
	}
	return f(c.Context(), cl)
}
