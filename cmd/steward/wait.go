package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

// await waits for the outcomes of all records, side by side, at most timeout if
// that is not 0. What is still on its way then is named with how to wait on.
func (e *env) await(ctx context.Context, cl *api.Client, records []store.Record, timeout time.Duration) ([]store.Record, error) {
	wctx := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		wctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
		cl.Patience = timeout
	}
	answered := e.notice(ctx, cl, records)
	errs := make([]error, len(records))
	slots := make(chan struct{}, 64)
	var group sync.WaitGroup
	for i := range records {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r, err := cl.Wait(wctx, records[i].ID)
			if err == nil {
				records[i] = r
			}
			errs[i] = err
		})
	}
	group.Wait()
	answered()
	now, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // also after Ctrl-C
	defer cancel()
	var late []string
	for i, err := range errs {
		switch {
		case err == nil:
		case wctx.Err() != nil || api.Away(err):
			late = append(late, records[i].ID)
			if r, err := cl.Message(now, records[i].ID); err == nil {
				records[i] = r // where it stands now
			}
		default:
			return records, err
		}
	}
	if len(late) > 0 {
		for _, r := range records[:min(len(records), 20)] {
			if r.State != store.Ended {
				e.explain(r)
			}
		}
		fmt.Fprintf(e.stderr, "steward: still on its way; nothing is lost. To wait on: steward wait %s\n", strings.Join(late, " "))
	}
	return records, nil
}

// printEnded prints messages that were waited for, why they did not come to the
// wanted end, and returns the error that carries their code.
func (e *env) printEnded(records []store.Record) error {
	if err := printAll(e, records, func() [][]string { return messageRows(records) }); err != nil {
		return err
	}
	for _, r := range records {
		if e.isTable() && r.State == store.Ended {
			e.explain(r)
		}
	}
	return ended(records)
}

// noticeAfter is how long a person waits without being told for what.
const noticeAfter = 3 * time.Second

// notice tells after a while who has not answered yet and why; a script only of
// nodes that are not there. The function that it returns ends it.
func (e *env) notice(ctx context.Context, cl *api.Client, records []store.Record) (end func()) {
	person := isTerminal(e.stderr)
	records = slices.Clone(records) // the caller's change meanwhile
	ctx, cancel := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(noticeAfter):
		}
		nodes, err := cl.Nodes(ctx)
		if err != nil {
			return
		}
		for _, r := range records {
			r, err := cl.Message(ctx, r.ID)
			if err != nil || r.State == store.Ended || !person && r.State != store.Waiting {
				continue
			}
			if e.explain(r); slices.ContainsFunc(nodes, func(p store.Peer) bool { return p.Name == r.ToNode && p.LastSeen.IsZero() }) {
				fmt.Fprintf(e.stderr, "steward: %s was never heard of: is that its name?\n", r.ToNode)
			}
		}
		if person && ctx.Err() == nil {
			fmt.Fprintln(e.stderr, "steward: Ctrl-C ends the waiting; the messages go on")
		}
	})
	return func() {
		cancel()
		told.Wait()
	}
}

func (e *env) waitCmd() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait ID...", Short: "Wait for the outcomes of messages", Args: cobra.MinimumNArgs(1), ValidArgsFunction: e.completeIDs,
		Example: "  steward wait last --timeout 30s",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				records := make([]store.Record, len(args))
				for i, id := range args {
					r, err := cl.Message(ctx, id)
					if err != nil {
						return err
					}
					records[i] = r
				}
				records, err := e.await(ctx, cl, records, timeout)
				if err != nil {
					return err
				}
				return e.printEnded(records)
			})
		},
	}
	durationVar(c.Flags(), &timeout, "timeout", "wait for that `DURATION` at most; the message goes on")
	return e.outputFlag(c)
}
