package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	logLines = 500_000 // with logLine bytes each they stay below the size at which a log is rotated
	logLine  = 120

	rowForward = "log forwarding, exactly once"
)

// forwarding sends a log from one real node to another, and compares what came
// with what was there: each line once, and in order.
func forwarding(bin, dir string, rounds int) ([]figure, error) {
	var lines, megabytes []float64
	for round := range rounds {
		took, err := forwardOnce(bin, filepath.Join(dir, fmt.Sprintf("forward-%d", round)))
		if err != nil {
			return nil, fmt.Errorf("log forwarding: %w", err)
		}
		lines = append(lines, logLines/took.Seconds())
		megabytes = append(megabytes, logLines*logLine/took.Seconds()/1e6)
	}
	return []figure{spread(rowForward+", lines", lines, perSecond), spread(rowForward+", bytes", megabytes, "MB/s")}, nil
}

func forwardOnce(bin, dir string) (took time.Duration, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log, config := filepath.Join(dir, "engine.log"), filepath.Join(dir, "steward.yaml")
	var text bytes.Buffer
	for i := range logLines {
		fmt.Fprintf(&text, "%0*d\n", logLine-1, i)
	}
	if err := errors.Join(
		os.WriteFile(log, text.Bytes(), 0o600),
		os.WriteFile(config, fmt.Appendf(nil, "forward:\n  - {path: %s, to: central}\n", log), 0o600),
	); err != nil {
		return 0, err
	}
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	central, err := startNode(bin, "central", filepath.Join(dir, "central"), "--listen", "127.0.0.1:"+port)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, central.stop()) }()
	began := time.Now()
	ship, err := startNode(bin, "ship1", filepath.Join(dir, "ship1"), "--broker", "nats://127.0.0.1:"+port, "--config", config)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ship.stop()) }()
	arrived := filepath.Join(dir, "central", "logs", "ship1", "engine.log")
	for {
		if fi, err := os.Stat(arrived); err == nil && fi.Size() >= int64(text.Len()) {
			break
		}
		if time.Since(began) > 5*time.Minute {
			return 0, errors.New("the lines did not arrive within 5 minutes")
		}
		time.Sleep(time.Millisecond)
	}
	took = time.Since(began)
	got, err := os.ReadFile(arrived)
	if err == nil && !bytes.Equal(got, text.Bytes()) {
		err = errors.New("the lines that arrived are not those that were sent")
	}
	return took, err
}
