package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// pulse measures how long this machine takes for what always takes about as long: to
// run a program that does nothing, and to sync a page. Fleets that are played side by
// side, or others who work here, must not look like a slow steward.
type pulse struct {
	mu    sync.Mutex
	beats []beat
}

type beat struct{ from, till time.Time }

// Of a pulse.
const (
	beatPause = 200 * time.Millisecond
	beatNoise = 5 * time.Millisecond // what a quiet machine takes, about
	steps     = 8                    // as many beats a message or a start may take, or less
)

// run measures until ctx ends.
func (p *pulse) run(ctx context.Context, dir string) {
	path := filepath.Join(dir, "pulse")
	defer os.Remove(path)
	for sleep(ctx, beatPause) {
		b := beat{from: time.Now()}
		err := errors.Join(exec.CommandContext(ctx, "true").Run(), writeSynced(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, make([]byte, 4096)))
		if b.till = time.Now(); err == nil && b.till.Sub(b.from) > beatNoise {
			p.mu.Lock()
			p.beats = append(p.beats, b)
			p.mu.Unlock()
		}
	}
}

// slack is what may be added to a limit of something that took that time.
func (p *pulse) slack(from, till time.Time) (d time.Duration) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.beats) - 1; i >= 0 && p.beats[i].till.After(from.Add(-beatPause)); i-- {
		if b := p.beats[i]; b.from.Before(till.Add(beatPause)) {
			d = max(d, steps*(b.till.Sub(b.from)-beatNoise))
		}
	}
	return d
}
