package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// fanned is what one fan-out gave: when each result came, in ms, and the memory
// in KB for each receiver.
type fanned struct {
	took        []float64
	here, there float64
}

var fanOuts = []int{100, 1000, 10_000}

func fanOutName(count int) string { return fmt.Sprintf("one command to %d nodes", count) }

// fanOutFigures are measured after the rows. One that does not come to its end
// costs its own figures only.
func fanOutFigures(dir string, o options) (list []figure) {
	for _, count := range fanOuts {
		if !o.only.MatchString(fanOutName(count)) {
			continue
		}
		figures, err := fanOutRounds(dir, count, o.rounds)
		if err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n") // each receiver has its own
			figures = []figure{{Name: fanOutName(count), NotRun: first}}
		}
		list = append(list, figures...)
	}
	return list
}

func fanOutRounds(dir string, count, rounds int) (list []figure, err error) {
	columns := make([][]float64, 5)
	for round := range rounds {
		at := filepath.Join(dir, fmt.Sprintf("fan-%d-%d", count, round))
		if err := os.MkdirAll(at, 0o700); err != nil {
			return nil, err
		}
		f, err := fanOut(at, count)
		if err != nil {
			return nil, err
		}
		slices.Sort(f.took)
		for i, v := range []float64{f.took[0], median(f.took), f.took[count-1], f.here, f.there} {
			columns[i] = append(columns[i], v)
		}
		if err := os.RemoveAll(at); err != nil {
			return nil, err
		}
	}
	for i, x := range []struct{ what, unit string }{
		{"first result", "ms"}, {"median result", "ms"}, {"last result", "ms"}, {"heap for each, sender", "KB"}, {"memory for each, receiver", "KB"},
	} {
		list = append(list, spread(fanOutName(count)+", "+x.what, columns[i], x.unit))
	}
	return list, nil
}

// heapInUse is in KB, after a collection.
func heapInUse() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1000
}
