package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// completionLimit is how long a shell is kept waiting.
const completionLimit = 200 * time.Millisecond

// completeFlags offers values for the flags of c that have a known set of them.
func (e *env) completeFlags(c *cobra.Command) {
	fixed := map[string][]string{
		"kind": names(subject.Kinds), "outcome": names(ack.Outcomes), "on-unknown": {"report", "rerun"},
		"state": names([]store.State{store.Waiting, store.Cancelling, store.StateTaken, store.Started, store.Ended}),
		"class": names([]errorkernel.Class{
			errorkernel.Submission, errorkernel.Storage, errorkernel.Transport, errorkernel.Process, errorkernel.Handler,
			errorkernel.Rejection, errorkernel.Expiry, errorkernel.Undelivered, errorkernel.Unknown, errorkernel.Identity,
		}),
		"severity": names([]errorkernel.Severity{errorkernel.Warning, errorkernel.Error, errorkernel.Critical}),
	}
	for name, values := range fixed {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	for _, name := range []string{"to", "from", "node", "reply-to"} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, e.completeNodes)
		}
	}
}

func names[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// completeNodes offers the names of nodes, also behind those of a list.
func (e *env) completeNodes(c *cobra.Command, _ []string, typed string) (list []string, _ cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	e.complete(c, func(ctx context.Context, cl *api.Client) {
		nodes, _ := cl.Nodes(ctx) // a shell cannot be told more
		for _, p := range nodes {
			state := "\toffline"
			if p.Online {
				state = "\tonline"
			}
			list = append(list, before+p.Name+state)
		}
	})
	return list, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) completeIDs(c *cobra.Command, _ []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
	ids = []string{"last\tthe newest message of this node"}
	e.complete(c, func(ctx context.Context, cl *api.Client) {
		list, _ := cl.Messages(ctx, store.Filter{Limit: 50}) // a shell cannot be told more
		for _, r := range list {
			ids = append(ids, r.ID+"\t"+stateOf(r)+", "+r.Method+" to "+r.ToNode)
		}
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) completeProcesses(c *cobra.Command, _ []string, _ string) (list []string, _ cobra.ShellCompDirective) {
	e.complete(c, func(ctx context.Context, cl *api.Client) {
		processes, _ := cl.Processes(ctx) // a shell cannot be told more
		for _, p := range processes {
			list = append(list, p.Name+"\t"+string(p.State))
		}
	})
	return list, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) completeFailures(c *cobra.Command, _ []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
	ids = []string{"all"}
	e.complete(c, func(ctx context.Context, cl *api.Client) {
		list, _ := cl.Failures(ctx, api.FailureFilter{Unresolved: true}) // a shell cannot be told more
		for _, f := range list {
			ids = append(ids, f.ID+"\t"+string(f.Class)+" at "+f.Node)
		}
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// complete asks the local node, if one answers in time.
func (e *env) complete(c *cobra.Command, f func(context.Context, *api.Client)) {
	cl, err := e.dial()
	if err != nil {
		return
	}
	defer cl.Close()
	parent := c.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionLimit)
	defer cancel()
	f(ctx, cl)
}
