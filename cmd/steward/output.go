package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

var formats = []string{"table", "json", "jsonl", "yaml"}

// outputFlag gives c the -o flag.
func (e *env) outputFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&e.format, "output", "o", "table", "table, json, jsonl or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// print writes a list of things, or one thing, in the chosen format. table makes
// the rows; the first is the head.
func printAll[T any](e *env, list []T, table func() [][]string) error {
	if list == nil {
		list = []T{}
	}
	switch e.format {
	case "jsonl":
		enc := json.NewEncoder(e.stdout)
		for _, x := range list {
			if err := enc.Encode(x); err != nil {
				return err
			}
		}
		return nil
	case "table", "":
		return e.table(table())
	}
	return e.document(list)
}

func printOne[T any](e *env, x T, table func() [][]string) error {
	switch e.format {
	case "jsonl":
		return json.NewEncoder(e.stdout).Encode(x)
	case "table", "":
		return e.table(table())
	}
	return e.document(x)
}

func (e *env) document(x any) error {
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	switch e.format {
	case "json":
		_, err = fmt.Fprintf(e.stdout, "%s\n", b)
		return err
	case "yaml":
		y, err := yaml.JSONToYAML(b) // the names of the JSON fields are the contract
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(y)
		return err
	}
	return usageError{fmt.Errorf("-o %s: want one of %s", e.format, strings.Join(formats, ", "))}
}

func (e *env) table(rows [][]string) error {
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), " ")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printable shows control characters, which a remote text must not send to a terminal.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}

func checkFormat(e *env) error {
	if e.format != "" && !slices.Contains(formats, e.format) {
		return usageError{fmt.Errorf("-o %s: want one of %s", e.format, strings.Join(formats, ", "))}
	}
	return nil
}
