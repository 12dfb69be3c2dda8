package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

func (e *env) execCmd() *cobra.Command {
	d := draft{Kind: subject.CommandACK, Method: "CLICommand"}
	var detach, concurrent bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "exec NODE[,NODE...] [flags] -- COMMAND [ARG...]", DisableFlagsInUseLine: true, Short: "Run a command on nodes, and wait for what it says",
		Long: `exec submits a CLICommand to each node, waits for the outcomes, and writes what the commands
wrote to stdout and stderr. With one node it ends with the exit code of the command; see
steward exit-codes. Interrupting it, or --timeout, ends the waiting, never the message: what
was accepted will be delivered.`,
		Example: "  steward exec ship1 -- uname -a\n  steward exec ship1,ship2 --timeout 30s -- systemctl is-active ssh\n  steward exec ship1 --detach -- reboot",
		Args: func(c *cobra.Command, args []string) error {
			switch dash := c.ArgsLenAtDash(); {
			case len(args) < 2:
				return errors.New("exec needs a node and a command")
			case dash != 1:
				return errors.New("what runs on the nodes comes after --, and nothing but the nodes, with commas between them, before it")
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return e.completeNodes(c, args, toComplete)
		},
		RunE: func(c *cobra.Command, args []string) error {
			d.To, d.Data = strings.Split(args[0], ","), args[1:]
			if concurrent {
				d.Method = "CLICommandConcurrent"
			}
			return e.with(c, func(ctx context.Context, cl *api.Client) error { return e.exec(ctx, cl, d, detach, timeout) })
		},
	}
	c.Flags().BoolVarP(&detach, "detach", "d", false, "print the ids and do not wait")
	c.Flags().BoolVar(&concurrent, "concurrent", false, "do not wait for commands that were sent before")
	durationVar(c.Flags(), &timeout, "timeout", "wait for that `DURATION` at most; the message goes on")
	d.limits(c)
	e.completeFlags(c)
	return e.outputFlag(c)
}

func (e *env) exec(ctx context.Context, cl *api.Client, d draft, detach bool, timeout time.Duration) error {
	doc, err := d.document()
	if err != nil {
		return err
	}
	records, err := e.submit(ctx, cl, doc, timeout)
	if err != nil {
		return d.plain(err)
	}
	if detach {
		if !e.isTable() {
			return printAll(e, records, nil)
		}
		for _, r := range records {
			fmt.Fprintln(e.stdout, r.ID)
		}
		return nil
	}
	if records, err = e.await(ctx, cl, records, timeout); err != nil {
		return err
	}
	if !e.isTable() {
		if err := printAll(e, records, nil); err != nil {
			return err
		}
		return ended(records)
	}
	for _, r := range records {
		prefix := ""
		if len(records) > 1 {
			prefix = r.ToNode + ": "
		}
		if err := e.outputOf(r, prefix); err != nil {
			return err
		}
		if r.State == store.Ended {
			e.explain(r)
		}
	}
	return ended(records)
}

// explain says of a message that did not come to the wanted end where it stands,
// and why.
func (e *env) explain(r store.Record) {
	switch {
	case r.State != store.Ended:
		fmt.Fprintf(e.stderr, "steward: %s: %s%s\n", r.ToNode, r.State, because(r))
	case outcomeCode([]store.Record{r}) != exitOK:
		fmt.Fprintf(e.stderr, "steward: %s: %s%s\n", r.ToNode, r.Outcome, because(r))
	}
}

func because(r store.Record) string {
	switch {
	case r.Result != nil && r.Result.ExitCode != nil:
		return fmt.Sprintf(" (exit code %d)", *r.Result.ExitCode)
	case r.State == store.Waiting && r.LastError != "":
		return ": " + printable(cut(r.LastError, 300))
	case r.Reason != "":
		return ": " + printable(cut(r.Reason, 300))
	}
	return ""
}
