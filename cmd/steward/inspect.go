package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) nodesCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "nodes", Short: "List the nodes that this one knows", Args: noArgs, Example: "  steward nodes\n  steward nodes -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				list, err := cl.Nodes(ctx)
				if err != nil {
					return err
				}
				return printAll(e, list, func() [][]string {
					rows := [][]string{{"NODE", "STATE", "SEEN", "VERSION", "PLATFORM", "WAITING"}}
					for _, p := range list {
						state := "offline"
						if p.Online {
							state = "online"
						}
						platform := "-"
						if p.OS != "" {
							platform = p.OS + "/" + p.Arch
						}
						rows = append(rows, []string{p.Name, state, ago(p.LastSeen), dash(p.Version), platform, fmt.Sprint(p.Waiting)})
					}
					return rows
				})
			})
		},
	})
}

func (e *env) processesCmd() *cobra.Command {
	c := e.outputFlag(&cobra.Command{
		Use: "processes", Short: "List the node's processes, or restart one", Args: noArgs, Example: "  steward processes\n  steward processes restart publish:steward.ship1.CommandACK.CLICommand",
		RunE: func(c *cobra.Command, _ []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				list, err := cl.Processes(ctx)
				if err != nil {
					return err
				}
				return printAll(e, list, func() [][]string {
					rows := [][]string{{"PROCESS", "STATE", "SINCE", "RESTARTS", "LAST ERROR"}}
					for _, p := range list {
						rows = append(rows, []string{p.Name, string(p.State), clock(p.Since), fmt.Sprint(p.Restarts), cut(dash(p.LastError), 300)})
					}
					return rows
				})
			})
		},
	})
	c.AddCommand(&cobra.Command{
		Use: "restart NAME", Short: "Start a process that was terminated, or end its pause", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeProcesses,
		Example: "  steward processes restart submit",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RestartProcess(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(e.stderr, "steward: %s is started again\n", args[0])
				return nil
			})
		},
	})
	return c
}

func (e *env) errorsCmd() *cobra.Command {
	var f api.FailureFilter
	var since time.Duration
	var all, follow bool
	c := &cobra.Command{
		Use: "errors", Short: "List, follow and resolve what went wrong", Args: noArgs, Example: "  steward errors\n  steward errors --class unknown --since 24h\n  steward errors --follow\n  steward errors resolve all",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkLimit(f.Limit); err != nil {
				return err
			}
			f.Unresolved = !all
			if since > 0 {
				f.Since = time.Now().Add(-since)
			}
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				if follow {
					return e.followFailures(ctx, cl, f)
				}
				list, err := cl.Failures(ctx, f)
				if err != nil {
					return err
				}
				return printAll(e, list, func() [][]string { return failureRows(list) })
			})
		},
	}
	flags := c.Flags()
	choose(c, &f.Class, "class", "`CLASS`", []errorkernel.Class{
		errorkernel.Submission, errorkernel.Storage, errorkernel.Transport, errorkernel.Process, errorkernel.Handler,
		errorkernel.Rejection, errorkernel.Expiry, errorkernel.Undelivered, errorkernel.Unknown, errorkernel.Identity,
	})
	choose(c, &f.Severity, "severity", "`SEVERITY`", []errorkernel.Severity{errorkernel.Warning, errorkernel.Error, errorkernel.Critical})
	flags.StringVar(&f.Node, "node", "", "of that `NODE`")
	durationVar(flags, &since, "since", "seen within that `DURATION`, such as 1h")
	flags.IntVar(&f.Limit, "limit", 100, "the `N` newest, up to 10000")
	flags.BoolVar(&all, "all", false, "also the resolved ones")
	flags.BoolVarP(&follow, "follow", "f", false, "go on as they come")
	e.completeFlags(c)
	c.AddCommand(&cobra.Command{
		Use: "resolve ID|all", Short: "Mark a failure as seen to", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeFailures,
		Example: "  steward errors resolve all",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.ResolveFailure(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(e.stderr, "steward: resolved: %s\n", args[0])
				return nil
			})
		},
	})
	return e.outputFlag(c)
}

func (e *env) followFailures(ctx context.Context, cl *api.Client, f api.FailureFilter) error {
	out := stream{env: e}
	for x, err := range cl.FollowFailures(ctx, f, followEvery) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.next(x, failureRows([]errorkernel.Failure{x})); err != nil {
			return err
		}
	}
	return nil
}

func failureRows(list []errorkernel.Failure) [][]string {
	rows := [][]string{{"ID", "LAST", "NODE", "CLASS", "SEVERITY", "ACTION", "COUNT", "CAUSE"}}
	for _, f := range list {
		line, _, _ := strings.Cut(f.Cause, "\n")
		line = cut(line, 300)
		if len(f.Among) > 0 {
			line += " (among: " + cut(strings.Join(f.Among, ", "), 200) + ")"
		}
		if f.Mended > 0 {
			line += fmt.Sprintf(" (%d of %d over: %s)", f.Mended, f.Count, f.Since)
		}
		rows = append(rows, []string{f.ID, clock(f.Last), f.Node, string(f.Class), string(f.Severity), string(f.Action), fmt.Sprint(f.Count), line})
	}
	return rows
}

func (e *env) statusCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "status", Short: "Show the node at a glance", Args: noArgs, Example: "  steward status",
		RunE: func(c *cobra.Command, _ []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				s, err := cl.Status(ctx)
				if err != nil {
					return err
				}
				return printOne(e, s, func() [][]string {
					broker := "not connected"
					if s.Broker.LastError != "" {
						broker += ": " + s.Broker.LastError
					}
					if s.Broker.Connected {
						broker = "connected"
					}
					if s.Broker.Embedded {
						broker += ", embedded"
					}
					rows := [][]string{
						{"node", s.Node}, {"version", s.Version}, {"up", max(0, time.Since(s.Since)).Round(time.Second).String()}, {"data", s.Data}, {"disk", store.Size(s.Disk.Free) + " free"},
						{"broker", s.Broker.URL + " (" + broker + ")"}, {"central", s.Central}, {"journal", s.StoreID},
						{"waiting", fmt.Sprint(s.Backlog.Waiting)}, {"awaiting results", awaiting(s.Backlog)}, {"cancelling", fmt.Sprint(s.Backlog.Cancelling)}, {"inbox", fmt.Sprint(s.Backlog.Inbox)},
						{"counted since", clock(s.Counters.Since) + ", the start"},
						{"accepted", fmt.Sprint(s.Counters.Accepted)}, {"received", fmt.Sprint(s.Counters.Received)}, {"ended", outcomes(s.Counters)},
						{"failures", fmt.Sprint(s.Counters.Failures)},
					}
					if t := s.Twin; t != nil {
						rows = append(rows, []string{"STANDS BY", fmt.Sprintf("another node serves as %s since %s: on host %s, data folder %s, instance %s, journal %s; stop one of them, or give it another name",
							s.Node, clock(t.Since), t.Host, t.Data, t.Instance, t.Journal)})
					}
					if s.Disk.Full != "" {
						rows = append(rows, []string{"DISK FULL", "since " + clock(s.Disk.Since) + ": " + s.Disk.Full})
					}
					if s.Insecure != "" {
						rows = append(rows, []string{"INSECURE", s.Insecure})
					}
					return rows
				})
			})
		},
	})
}

// awaiting are the commands without a result, and those of them that run.
func awaiting(b api.Backlog) string {
	if b.Started == 0 {
		return fmt.Sprint(b.AwaitingResult)
	}
	return fmt.Sprintf("%d (%d started)", b.AwaitingResult, b.Started)
}

// outcomes lists how many messages ended in which.
func outcomes(c api.Counters) string {
	var parts []string
	for _, o := range ack.Outcomes {
		if n := c.Outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return dash(strings.Join(parts, ", "))
}
