package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

func (e *env) storeCmd() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Look after the journal of a stopped node", Example: "  steward store check --data ./data/central"}
	for _, sub := range []*cobra.Command{e.storeStats(), e.storeCheck(), e.storeCompact(), e.storeInit(), e.storeRevert()} {
		sub.Args, sub.Example = noArgs, fmt.Sprintf("  steward store %s --data ./data/central", sub.Use)
		c.AddCommand(e.outputFlag(sub))
	}
	return group(c)
}

// journal is where the stopped node has its journal.
func (e *env) journal() (string, error) {
	if e.data == "" {
		return "", usageError{errors.New("store works on a stopped node: say which one by --data DIR")}
	}
	return filepath.Join(e.data, "journal.db"), nil
}

func (e *env) running() error {
	return fmt.Errorf("the node in %s is running: stop it first; 'steward status --data %s' shows what waits in it", e.data, e.data)
}

// stopped says what to do where a journal is in use.
func (e *env) stopped(err error) error {
	if errors.Is(err, store.ErrLocked) {
		return e.running()
	}
	return err
}

func (e *env) storeStats() *cobra.Command {
	return &cobra.Command{Use: "stats", Short: "Show what is in it", RunE: func(*cobra.Command, []string) error {
		path, err := e.journal()
		if err != nil {
			return err
		}
		s, err := store.Stats(path)
		if err != nil {
			return e.stopped(err)
		}
		return printOne(e, s, func() [][]string {
			rows := [][]string{
				{"file", s.Path}, {"node", s.Node}, {"bytes", fmt.Sprint(s.Bytes)}, {"free bytes", fmt.Sprint(s.Free)}, {"waiting", fmt.Sprint(s.Counts.Waiting)},
				{"awaiting results", fmt.Sprint(s.Counts.Awaiting)}, {"cancelling", fmt.Sprint(s.Counts.Voids)}, {"inbox", fmt.Sprint(s.Counts.Inbox)},
			}
			for _, name := range slices.Sorted(maps.Keys(s.Records)) {
				rows = append(rows, []string{"records: " + name, fmt.Sprint(s.Records[name])})
			}
			return rows
		})
	}}
}

var errDamaged = errors.New("the journal has problems: " + store.Advice)

func (e *env) storeCheck() *cobra.Command {
	return &cobra.Command{Use: "check", Short: "Read all of it, and tell what is wrong", RunE: func(*cobra.Command, []string) error {
		path, err := e.journal()
		if err != nil {
			return err
		}
		problems, err := store.Check(path)
		if err != nil {
			return e.stopped(err)
		}
		if err := printAll(e, problems, func() [][]string {
			if len(problems) == 0 {
				return [][]string{{"ok"}}
			}
			rows := make([][]string, len(problems))
			for i, x := range problems {
				rows[i] = []string{x}
			}
			return rows
		}); err != nil {
			return err
		}
		if len(problems) > 0 {
			return errDamaged
		}
		return nil
	}}
}

func (e *env) storeCompact() *cobra.Command {
	return &cobra.Command{Use: "compact", Short: "Give its free pages back to the disk", RunE: func(*cobra.Command, []string) error {
		path, err := e.journal()
		if err != nil {
			return err
		}
		before, after, err := store.Compact(path)
		if err != nil {
			return e.stopped(err)
		}
		sizes := map[string]int64{"before": before, "after": after}
		return printOne(e, sizes, func() [][]string { return [][]string{{fmt.Sprintf("%d bytes, %d before", after, before)}} })
	}}
}

func (e *env) storeInit() *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Begin anew where the journal is lost for good",
		Long: `init makes an empty journal in a data folder that tells of one that is not there any more: without it
"steward run" refuses to start. It never replaces a journal: move a damaged one away first. To the other nodes the
new one is another journal. What may have been sent to the old one ends there as unknown; what the old one
had accepted, and nobody has acknowledged, is lost with it. A backup is better.`,
		RunE: func(*cobra.Command, []string) error {
			path, err := e.journal()
			if err != nil {
				return err
			}
			if cl, err := api.Dial(e.data); err == nil { // its journal may be open, and have no name
				cl.Close()
				return e.running()
			}
			if err := store.Init(path); err != nil {
				return err
			}
			return printOne(e, map[string]string{"path": path}, func() [][]string { return [][]string{{"an empty journal in " + path}} })
		},
	}
}

func (e *env) storeRevert() *cobra.Command {
	return &cobra.Command{
		Use: "revert", Short: "Go back to before the last commit, if that can be read no more",
		Long: `revert is for a journal that refuses to start because one of its two heads cannot be read, and may have been the
newer one. It makes the other one count: what the last commit had accepted is lost, and nothing else is. To the other
nodes the journal is then a restored backup: it takes a new identity, and what waits to be run ends as unknown.`,
		RunE: func(*cobra.Command, []string) error {
			path, err := e.journal()
			if err != nil {
				return err
			}
			if err := store.Revert(path); err != nil {
				return e.stopped(err)
			}
			return printOne(e, map[string]string{"path": path}, func() [][]string { return [][]string{{path + " is as it was before its last commit"}} })
		},
	}
}
