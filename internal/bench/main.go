// Command bench measures steward beside what it is to be judged by: the disk,
// bbolt, and other message systems doing the same work: a durable request,
// consumed, a durable answer, acknowledged. All cases run interleaved; the
// figures are medians.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"time"
)

// options are the command's flags.
type options struct {
	rounds  int
	d       time.Duration
	backlog int
	waiting counts
	peers   bool
	only    *regexp.Regexp
	json    string
	doc     string
}

func main() {
	if play(os.Args[1:]) {
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "runs of each case")
	flag.DurationVar(&o.d, "d", 3*time.Second, "of each run")
	flag.IntVar(&o.backlog, "backlog", 1_000_000, "messages that wait for a node that is not there")
	flag.Var(&o.waiting, "waiting", "measure backlogs of so many messages, and their drain: numbers with commas between them")
	flag.BoolVar(&o.peers, "peers", false, "measure also what users would pick instead")
	flag.StringVar(&o.json, "json", "bench.json", "write all figures to this file")
	flag.StringVar(&o.doc, "doc", "", "write a page with the table, and its plot beside it, to this file")
	only := flag.String("only", "", "only the rows whose names this expression matches")
	flag.Parse()
	collectLess()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	dir, err := os.MkdirTemp(".", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	filled := filepath.Join(dir, "filled")
	rows := slices.Concat(firstRows(filled, o.backlog), shapeRows())
	if o.peers {
		rows = append(rows, peerRows()...)
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return !o.only.MatchString(r.name) })
	if slices.ContainsFunc(rows, func(r row) bool { return r.dir == filled }) {
		if err := fill(filled, o.backlog); err != nil {
			return fmt.Errorf("fill the backlog: %w", err)
		}
	}
	figures, err := interleaved(rows, dir, o)
	if err != nil {
		return err
	}
	figures = append(figures, fanOutFigures(dir, o)...)
	if o.only.MatchString(rowIdle) {
		more, err := idle(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", rowIdle, err)
		}
		figures = append(figures, more...)
	}
	more, err := realNodes(dir, filled, o)
	if err != nil {
		return err
	}
	figures = append(figures, more...)
	for _, f := range figures {
		fmt.Println(f)
	}
	ratios := ratiosOf(figures)
	for _, r := range ratios {
		fmt.Printf("%-70s %12.2f     (bar: %s)\n", r.Name, r.Ratio, r.bar)
	}
	if o.doc != "" {
		if err := writeReport(o.doc, figures, ratios, o); err != nil {
			return err
		}
	}
	out, err := json.MarshalIndent(map[string]any{
		"time": time.Now().UTC(), "go": runtime.Version(), "cpus": runtime.NumCPU(), "rounds": o.rounds, "backlog": o.backlog,
		"figures": figures, "ratios": ratios,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(out, '\n'), 0o644)
}

// realNodes are the figures of steward processes as users run them.
func realNodes(dir, filled string, o options) (list []figure, err error) {
	all, forward := o.only.String() == "", o.only.MatchString(rowForward)
	if !all && !forward && len(o.waiting) == 0 {
		return nil, nil
	}
	bin, err := build(dir)
	if err != nil {
		return nil, err
	}
	add := func(more []figure, e error) { list, err = append(list, more...), errors.Join(err, e) }
	if all {
		add(processes(bin, dir, filled))
	}
	if forward {
		add(forwarding(bin, dir, o.rounds))
	}
	for _, count := range o.waiting {
		add(waitingFigures(bin, dir, count, o))
	}
	return list, err
}

// interleaved measures each row once in each round.
func interleaved(rows []row, dir string, o options) ([]figure, error) {
	samples := make([][]sample, len(rows))
	missing := make([]error, len(rows))
	for round := range o.rounds {
		for i, r := range rows {
			at := r.dir
			if at == "" {
				at = filepath.Join(dir, fmt.Sprintf("%d-%d", round, i))
				if err := os.MkdirAll(at, 0o700); err != nil {
					return nil, err
				}
			}
			s, err := r.system.measure(at, r.shape, o.d)
			switch {
			case errors.Is(err, errMissing):
				missing[i] = err
			case err != nil:
				return nil, fmt.Errorf("%s: %w", r.name, err)
			default:
				samples[i] = append(samples[i], s)
			}
			if r.dir != "" {
				continue
			}
			if err := os.RemoveAll(at); err != nil {
				return nil, err
			}
		}
	}
	figures := make([]figure, len(rows))
	for i, r := range rows {
		figures[i] = r.figure(samples[i], missing[i])
	}
	return figures, nil
}
