package main

import (
	"fmt"
	"slices"
)

// size is the bytes of a message's data where nothing else is said.
const size = 512

// row is one line of the table: a system in one shape.
type row struct {
	name string
	unit string // "/s" for the rate, "µs" for the median time of a call
	system
	shape
	dir string // what it runs in; a new folder each time if empty
}

var (
	floor      = system{"fdatasync", fdatasync}
	updates    = system{"bbolt Update", boltUpdate}
	ceiling    = system{"bbolt group commit", boltGroup}
	one        = system{"steward, one process", oneProcess}
	three      = system{"steward, three processes", threeProcesses}
	syncAlways = system{"JetStream SyncAlways", jetStream(true)}
)

// The rows that steward's first bars are about.
const (
	rowUpdate   = "one bbolt Update of 512 B, p50"
	rowSingle   = "steward, one at a time, p50"
	rowSteward  = "steward, 256 in flight"
	rowBacklog  = "steward, 256 in flight, %d waiting"
	rowAlways   = "JetStream SyncAlways, 256 in flight"
	perSecond   = "/s"
	microsecond = "µs"
)

func firstRows(filled string, backlog int) []row {
	single, many := shape{1, size, 1}, shape{256, size, 1}
	return []row{
		{rowUpdate, microsecond, updates, single, ""},
		{rowSingle, microsecond, one, single, ""},
		{rowSteward, perSecond, one, many, ""},
		{fmt.Sprintf(rowBacklog, backlog), perSecond, one, many, filled},
		{rowAlways, perSecond, syncAlways, many, ""},
	}
}

// shapeRows are the disk's limits and steward, alone and apart, in many shapes.
func shapeRows() (list []row) {
	list = append(list, rowOf(floor, shape{1, size, 1}))
	for _, n := range []int{1, 16, 64, 256, 1024} {
		list = append(list, rowOf(ceiling, shape{n, size, 1}), rowOf(one, shape{n, size, 1}), rowOf(three, shape{n, size, 1}))
	}
	for _, bytes := range []int{64, 4 << 10, 64 << 10} {
		list = append(list, rowOf(one, shape{256, bytes, 1}), rowOf(three, shape{256, bytes, 1}))
	}
	for _, subjects := range []int{10, 100, 1000} {
		list = append(list, rowOf(one, shape{256, size, subjects}), rowOf(three, shape{256, size, subjects}))
	}
	return list
}

func rowOf(sys system, s shape) row {
	name := fmt.Sprintf("%s, %d in flight", sys.name, s.InFlight)
	if s.Bytes != size {
		name += fmt.Sprintf(", %d B", s.Bytes)
	}
	if s.Subjects != 1 {
		name += fmt.Sprintf(", %d subjects", s.Subjects)
	}
	return row{name, perSecond, sys, s, ""}
}

// figure is one row of the table: the median of runs.
type figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`

	System string  `json:"system,omitempty"`
	Shape  *shape  `json:"shape,omitempty"`
	P50    float64 `json:"p50,omitempty"` // µs of one call, median of the runs
	P99    float64 `json:"p99,omitempty"`
	NotRun string  `json:"notRun,omitempty"` // why there are no figures
}

func (r row) figure(samples []sample, missing error) figure {
	if missing != nil {
		return figure{Name: r.name, Unit: r.unit, System: r.system.name, Shape: &r.shape, NotRun: missing.Error()}
	}
	rates, p50, p99 := column(samples, func(s sample) float64 { return s.rate }),
		column(samples, func(s sample) float64 { return s.p50 }), column(samples, func(s sample) float64 { return s.p99 })
	of := rates
	if r.unit == microsecond {
		of = p50
	}
	return figure{
		Name: r.name, Unit: r.unit, Median: median(of), Min: of[0], Max: of[len(of)-1],
		System: r.system.name, Shape: &r.shape, P50: median(p50), P99: median(p99),
	}
}

// spread is a figure of some measurements.
func spread(name string, values []float64, unit string) figure {
	slices.Sort(values)
	return figure{Name: name, Unit: unit, Median: median(values), Min: values[0], Max: values[len(values)-1]}
}

func column(samples []sample, of func(sample) float64) (sorted []float64) {
	for _, s := range samples {
		sorted = append(sorted, of(s))
	}
	slices.Sort(sorted)
	return sorted
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

func (f figure) String() string {
	if f.NotRun != "" {
		return fmt.Sprintf("%-70s could not be run: %s", f.Name, f.NotRun)
	}
	line := fmt.Sprintf("%-70s %12.0f %-3s", f.Name, f.Median, f.Unit)
	if f.Shape == nil {
		return line
	}
	line += fmt.Sprintf(" (%.0f to %.0f)", f.Min, f.Max)
	if f.Unit == perSecond {
		line += fmt.Sprintf("  p50 %.0f µs, p99 %.0f µs", f.P50, f.P99)
	}
	return line
}

// ratio is what a bar is about.
type ratio struct {
	Name  string  `json:"name"`
	Ratio float64 `json:"ratio"`
	bar   string
}

// ratiosOf is for those bars whose rows were measured.
func ratiosOf(figures []figure) (list []ratio) {
	find := func(name string) *figure {
		i := slices.IndexFunc(figures, func(f figure) bool { return f.Name == name })
		if i < 0 {
			return nil
		}
		return &figures[i]
	}
	add := func(name, upper, lower, bar string) {
		if a, b := find(upper), find(lower); a != nil && b != nil && a.NotRun+b.NotRun == "" {
			list = append(list, ratio{name, a.Median / b.Median, bar})
		}
	}
	waiting := ""
	for _, f := range figures {
		var n int
		if _, err := fmt.Sscanf(f.Name, rowBacklog, &n); err == nil {
			waiting = f.Name
		}
	}
	add("one at a time / bbolt Update", rowSingle, rowUpdate, "at most 5")
	add("256 in flight / JetStream SyncAlways", rowSteward, rowAlways, "at least 10")
	add("256 in flight with the backlog / without", waiting, rowSteward, "at least 0.9")
	for _, x := range []struct {
		inFlight        int
		always, shipped string
	}{{256, "at least 15", "at least 0.8"}, {1024, "at least 25", "at least 1.2"}} {
		s := shape{x.inFlight, size, 1}
		steward := rowOf(one, s).name
		prefix := fmt.Sprintf("%d in flight / ", x.inFlight)
		add(prefix+"JetStream SyncAlways, second bar", steward, rowOf(syncAlways, s).name, x.always)
		add(prefix+"JetStream as shipped", steward, rowOf(asShipped, s).name, x.shipped)
	}
	return list
}
