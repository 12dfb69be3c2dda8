package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) resendCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "resend ID|FILE", Short: "Submit a message again, as a new one", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeIDs,
		Long: `resend submits what this node submitted before once more, as new messages that name the old ones. FILE
holds lines of a messages.log, or is one: what stands there twice is submitted once, and the road's own messages
(results, failures, hellos) are left out. All of the others are accepted, or none; of more than 10,000, or of more than
16 MiB, so many at once.`,
		Example: "  steward resend last\n  grep CLICommand data/central/messages.log | tail -n 3 > again && steward resend again",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				records, err := e.resend(ctx, cl, args[0])
				if err != nil {
					return err
				}
				return printAll(e, records, func() [][]string { return messageRows(records) })
			})
		},
	})
}

func (e *env) resend(ctx context.Context, cl *api.Client, what string) ([]store.Record, error) {
	b, err := os.ReadFile(what)
	switch {
	case err == nil:
		return e.resendLog(ctx, cl, what, b)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	r, err := cl.Resend(ctx, what)
	if errors.Is(err, api.ErrNotFound) {
		err = fmt.Errorf("%w; and there is no such file", err)
	}
	return []store.Record{r}, err
}

func (e *env) resendLog(ctx context.Context, cl *api.Client, path string, b []byte) ([]store.Record, error) {
	l, err := api.ReadLog(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if l.Own > 0 || l.Repeats > 0 {
		fmt.Fprintf(e.stderr, "steward: left out of %s: %d of the road's own (results, failures, hellos), %d repeats\n", path, l.Own, l.Repeats)
	}
	if len(l.Messages) == 0 {
		return nil, usageError{fmt.Errorf("%s holds no message that can be submitted again", path)}
	}
	return cl.ResendLog(ctx, l)
}
