package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sort"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/store"
)

func (e *env) versionCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs, Example: "  steward version",
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return printOne(e, v, func() [][]string { return [][]string{{"steward " + version, v["go"], v["platform"]}} })
		},
	})
}

// stopped says what to do where a journal is in use.
func (e *env) stopped(err error) error {
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("the node in %s is running: stop it first; 'steward status --data %s' shows what waits in it", e.data, e.data)
	}
	return err
}

func (e *env) storeCmd() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Look after the journal of a stopped node", Example: "  steward store check --data ./data/central"}
	path := func() (string, error) {
		if e.data == "" {
			return "", usageError{errors.New("store works on a stopped node: say which one by --data DIR")}
		}
		return filepath.Join(e.data, "journal.db"), nil
	}
	stats := &cobra.Command{Use: "stats", Short: "Show what is in it", Args: noArgs, Example: "  steward store stats --data ./data/central", RunE: func(*cobra.Command, []string) error {
		p, err := path()
		if err != nil {
			return err
		}
		s, err := store.Stats(p)
		if err != nil {
			return e.stopped(err)
		}
		return printOne(e, s, func() [][]string {
			rows := [][]string{
				{"file", s.Path}, {"node", s.Node}, {"bytes", fmt.Sprint(s.Bytes)}, {"free bytes", fmt.Sprint(s.Free)}, {"waiting", fmt.Sprint(s.Counts.Waiting)},
				{"awaiting results", fmt.Sprint(s.Counts.Awaiting)}, {"inbox", fmt.Sprint(s.Counts.Inbox)},
			}
			var names []string
			for name := range s.Records {
				names = append(names, name)
			}
			sort.Strings(names)
			for _, name := range names {
				rows = append(rows, []string{"records: " + name, fmt.Sprint(s.Records[name])})
			}
			return rows
		})
	}}
	check := &cobra.Command{Use: "check", Short: "Read all of it, and tell what is wrong", Args: noArgs, Example: "  steward store check --data ./data/central", RunE: func(*cobra.Command, []string) error {
		p, err := path()
		if err != nil {
			return err
		}
		problems, err := store.Check(p)
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
	compact := &cobra.Command{Use: "compact", Short: "Give its free pages back to the disk", Args: noArgs, Example: "  steward store compact --data ./data/central", RunE: func(*cobra.Command, []string) error {
		p, err := path()
		if err != nil {
			return err
		}
		before, after, err := store.Compact(p)
		if err != nil {
			return e.stopped(err)
		}
		sizes := map[string]int64{"before": before, "after": after}
		return printOne(e, sizes, func() [][]string { return [][]string{{fmt.Sprintf("%d bytes, %d before", after, before)}} })
	}}
	for _, sub := range []*cobra.Command{stats, check, compact} {
		c.AddCommand(e.outputFlag(sub))
	}
	return group(c)
}
