package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

// completionLimit is how long a shell is kept waiting.
const completionLimit = 200 * time.Millisecond

// completeFlags offers the names of nodes and methods for the flags of c that take
// them.
func (e *env) completeFlags(c *cobra.Command) {
	for name, offer := range map[string]cobra.CompletionFunc{
		"to": e.completeNodes, "from": e.completeNodes, "node": e.completeNodes, "reply-to": e.completeNodes,
		"method": e.completeMethods, "reply-method": e.completeMethods,
	} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, offer)
		}
	}
}

// choice is the value of a flag that takes one of a few words.
type choice[T ~string] struct {
	value *T
	of    []T
}

// choose gives c such a flag.
func choose[T ~string](c *cobra.Command, value *T, name, usage string, of []T) {
	c.Flags().Var(choice[T]{value, of}, name, usage+": "+strings.Join(names(of), ", "))
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(names(of), cobra.ShellCompDirectiveNoFileComp))
}

func (v choice[T]) String() string {
	if v.value == nil {
		return ""
	}
	return string(*v.value)
}

// Set takes one of the words.
func (v choice[T]) Set(s string) error {
	if !slices.Contains(v.of, T(s)) {
		return fmt.Errorf("want one of %s", strings.Join(names(v.of), ", "))
	}
	*v.value = T(s)
	return nil
}

// Type names the value in help texts that do not.
func (v choice[T]) Type() string { return "word" }

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

// completeMethods offers the methods that any of the known nodes has.
func (e *env) completeMethods(c *cobra.Command, _ []string, _ string) (list []string, _ cobra.ShellCompDirective) {
	e.complete(c, func(ctx context.Context, cl *api.Client) {
		nodes, _ := cl.Nodes(ctx) // a shell cannot be told more
		for _, p := range nodes {
			list = append(list, p.Methods...)
		}
	})
	slices.Sort(list)
	return slices.Compact(list), cobra.ShellCompDirectiveNoFileComp
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
