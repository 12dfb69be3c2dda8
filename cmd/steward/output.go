package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func formats() []string { return []string{"table", "json", "jsonl", "yaml"} }

// outputFlag gives c the -o flag.
func (e *env) outputFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&e.format, "output", "o", "table", "`FORMAT`: table, json, jsonl or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (e *env) checkFormat() error {
	if e.format != "" && !slices.Contains(formats(), e.format) {
		return usageError{fmt.Errorf("-o %s: want one of %s", e.format, strings.Join(formats(), ", "))}
	}
	return nil
}

// isTable reports whether people are to read the output.
func (e *env) isTable() bool { return e.format == "table" || e.format == "" }

// printAll writes a list in the chosen format; table makes the rows, the head first.
func printAll[T any](e *env, list []T, table func() [][]string) error {
	if list == nil {
		list = []T{}
	}
	if e.isTable() {
		return e.table(table())
	}
	if e.format != "jsonl" {
		return e.document(list)
	}
	for _, x := range list {
		if err := e.document(x); err != nil {
			return err
		}
	}
	return nil
}

// printOne is printAll for one thing.
func printOne[T any](e *env, x T, table func() [][]string) error {
	if e.isTable() {
		return e.table(table())
	}
	return e.document(x)
}

func (e *env) document(x any) error {
	if e.format == "jsonl" {
		return json.NewEncoder(e.stdout).Encode(x)
	}
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	if e.format == "yaml" {
		b, err = yamlOf(b)
	} else {
		b = append(b, '\n')
	}
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(b)
	return err
}

func (e *env) table(rows [][]string) error {
	e.fit(rows)
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for len(row) > 0 && row[len(row)-1] == "" {
			row = row[:len(row)-1] // it would end in blanks
		}
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// fit makes rows safe to print, and the widest column, which is the last, as
// short as a terminal is wide.
func (e *env) fit(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	left := e.columns()
	for i, row := range rows {
		if k := len(row) - 1; left > 0 && k > 0 && k == len(widths)-1 {
			room := left
			for _, w := range widths[:k] {
				room -= w + 2
			}
			rows[i][k] = cut(row[k], max(room, 40))
		}
	}
}

// columns is the width of the terminal that stdout is; 0 if it is none.
func (e *env) columns() int {
	f, ok := e.stdout.(*os.File)
	if !ok || !e.stdoutTTY {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// stream writes things as they come: a table whose columns grow, a line of JSON
// each, or a YAML document each.
type stream struct {
	*env
	widths []int
}

// next writes x, or the last of rows, whose first is the head.
func (s *stream) next(x any, rows [][]string) error {
	if s.isTable() {
		if s.widths != nil {
			rows = rows[1:]
		}
		for _, row := range rows {
			if err := s.row(row); err != nil {
				return err
			}
		}
		return nil
	}
	if s.format == "yaml" {
		if _, err := fmt.Fprintln(s.stdout, "---"); err != nil {
			return err
		}
		return s.document(x)
	}
	return json.NewEncoder(s.stdout).Encode(x) // of json, too: an array would never end
}

func (s *stream) row(row []string) error {
	var b strings.Builder
	for i, cell := range row {
		if i == len(s.widths) {
			s.widths = append(s.widths, 6)
		}
		cell = printable(cell)
		s.widths[i] = max(s.widths[i], utf8.RuneCountInString(cell))
		if i == len(row)-1 {
			b.WriteString(cell)
			break
		}
		fmt.Fprintf(&b, "%-*s  ", s.widths[i], cell)
	}
	_, err := fmt.Fprintln(s.stdout, b.String())
	return err
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

// stamp is a whole time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// clock is a time in a table: of today, or of another day.
func clock(t time.Time) string {
	if s := stamp(t); len(s) > 10 && s[:10] == stamp(time.Now())[:10] {
		return s[11:]
	}
	return stamp(t)
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return max(0, time.Since(t)).Round(time.Second).String() + " ago" // a clock may have been set back
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
