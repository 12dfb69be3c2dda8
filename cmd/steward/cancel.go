package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) cancelCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "cancel ID|last", Short: "Withdraw a message, if it is not too late", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeIDs,
		Long: `A message that was never sent is cancelled at once. After an attempt the receiver is asked, and its
answer decides: until it has come the message is cancelling, and the exit code 75.`,
		Example: "  steward cancel last",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				r, err := cl.Cancel(ctx, args[0])
				if err != nil {
					return err
				}
				if err := printOne(e, r, func() [][]string { return messageRows([]store.Record{r}) }); err != nil || r.State == store.Ended {
					return err
				}
				fmt.Fprintf(e.stderr, "steward: %s may have it: it is asked, and its answer decides. To wait for that: steward wait %s\n", r.ToNode, r.ID)
				return exitError(exitWaiting)
			})
		},
	})
}
