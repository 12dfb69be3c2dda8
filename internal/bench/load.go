package main

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shape is what the clients ask of a system.
type shape struct {
	InFlight int `json:"inFlight"` // calls at once
	Bytes    int `json:"bytes"`    // of a message's data
	Subjects int `json:"subjects"` // the calls go to them by turns
}

// session is a system that is ready for calls.
type session struct {
	call  func(n int) error // the n-th piece of work, from the request to the acknowledged answer
	close func() error
}

// system is one way to get the work done.
type system struct {
	name string
	open func(dir string, s shape) (*session, error) // its files are below dir
}

// sample is what one run gave: calls per second, and how long one took in µs.
type sample struct{ rate, p50, p99 float64 }

// measure opens the system, calls each subject once, and then lets its clients
// call for d.
func (sys system) measure(dir string, s shape, d time.Duration) (result sample, err error) {
	x, err := sys.open(dir, s)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	var next atomic.Int64
	warm := func(int) (bool, error) {
		n := int(next.Add(1)) - 1
		if n >= s.Subjects {
			return false, nil
		}
		return true, x.call(n)
	}
	if err := clients(min(s.Subjects, 64), warm); err != nil {
		return sample{}, err
	}
	took := make([][]time.Duration, s.InFlight)
	began := time.Now()
	err = clients(s.InFlight, func(i int) (bool, error) {
		at := time.Now()
		if at.Sub(began) >= d {
			return false, nil
		}
		err := x.call(int(next.Add(1)) - 1)
		took[i] = append(took[i], time.Since(at))
		return true, err
	})
	all := slices.Concat(took...)
	rate := float64(len(all)) / time.Since(began).Seconds()
	slices.Sort(all)
	return sample{rate, micros(all, 50), micros(all, 99)}, err
}

// clients lets count of them call f, each with its number, until it says that it
// was enough or fails.
func clients(count int, f func(client int) (more bool, err error)) error {
	errs := make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			for more := true; more && errs[i] == nil; {
				more, errs[i] = f(i)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// micros is a percentile of what is sorted.
func micros(took []time.Duration, percent int) float64 {
	if len(took) == 0 {
		return 0
	}
	return float64(took[len(took)*percent/100]) / float64(time.Microsecond)
}
