package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// counts is a flag: numbers with commas between them.
type counts []int

// Set is flag.Value's.
func (c *counts) Set(s string) error {
	*c = nil
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		n, err := strconv.Atoi(part)
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is no number of messages", part)
		}
		*c = append(*c, n)
	}
	return nil
}

// String is flag.Value's.
func (c *counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*c)), " ", ","), "[]")
}

// waitingFigures are what so many messages cost that wait for a node that is not
// there, how fast they go when it comes, and what is left of them on the disk.
func waitingFigures(bin, dir string, count int, o options) (list []figure, err error) {
	add := func(what string, value float64, unit string) {
		list = append(list, single(fmt.Sprintf("%d waiting, %s", count, what), value, unit))
	}
	beside, err := besideWaiting(filepath.Join(dir, "beside"), count, o)
	if err != nil {
		return nil, err
	}
	add("others, 256 in flight", beside, perSecond)

	at := filepath.Join(dir, "waiting")
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	data := filepath.Join(at, "central")
	if err := errors.Join(fill(at, count), addSize(add, "journal", data)); err != nil {
		return nil, err
	}
	mb, ready, err := startUp(bin, data, "RssAnon")
	if err != nil {
		return nil, err
	}
	add("RssAnon", mb, "MB")
	add("ready after", ready, "ms")
	took, err := drain(at)
	if err != nil {
		return nil, err
	}
	add("drained at", float64(count)/took.Seconds(), perSecond)
	if err := addSize(add, "journal after the drain", data); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(context.Background(), bin, "store", "compact", "--data", data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compact: %w: %s", err, out)
	}
	return list, addSize(add, "journal compacted", data)
}

// besideWaiting is the rate of other messages while so many wait.
func besideWaiting(dir string, count int, o options) (rate float64, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := fill(dir, count); err != nil {
		return 0, err
	}
	s, err := one.measure(dir, shape{256, size, 1}, o.d)
	return s.rate, err
}

func addSize(add func(string, float64, string), what, data string) error {
	fi, err := os.Stat(filepath.Join(data, "journal.db"))
	if err == nil {
		add(what, float64(fi.Size())/1e6, "MB")
	}
	return err
}

// drain lets the node come that central's messages wait for, until all have ended.
func drain(dir string) (took time.Duration, err error) {
	b, err := broker(server.Options{})
	if err != nil {
		return 0, err
	}
	defer b.Shutdown()
	began := time.Now()
	for _, name := range []string{"ship9", "central"} {
		n, stop, err := runNode(name, dir, b.ClientURL(), 0)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		if name == "ship9" {
			continue
		}
		for {
			s, err := n.Status(context.Background())
			if err != nil {
				return 0, err
			}
			if s.Backlog.Waiting+s.Backlog.AwaitingResult == 0 {
				return time.Since(began), nil
			}
			if time.Since(began) > time.Hour {
				return 0, fmt.Errorf("%d messages still wait after an hour", s.Backlog.Waiting+s.Backlog.AwaitingResult)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return 0, errors.New("no node to drain")
}

// single is a figure of one measurement.
func single(name string, value float64, unit string) figure {
	return figure{Name: name, Unit: unit, Median: value, Min: value, Max: value}
}
