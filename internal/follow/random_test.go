package follow_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/follow"
)

var (
	seeds = flag.Int("follow.seeds", 8, "schedules of the random test")
	first = flag.Uint64("follow.seed", 1, "first seed of the random test")
)

// TestRandomWritersAndCrashes lets a writer append and rotate at random, and a
// follower crash at random, before and after its commits. What was accepted must
// be what was written, in order.
func TestRandomWritersAndCrashes(t *testing.T) {
	for i := range uint64(*seeds) {
		t.Run(fmt.Sprintf("seed=%d", *first+i), func(t *testing.T) { randomRun(t, *first+i) })
	}
}

// world is a folder with three logs, and what was written to them.
type world struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	logs   []*os.File
	lines  [][]string
	half   []string // the start of a line that is in the file
	rolled []int
}

func randomRun(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{t: t, r: r, dir: t.TempDir(), logs: make([]*os.File, 3), lines: make([][]string, 3), half: make([]string, 3), rolled: make([]int, 3)}
	j := newJournal()
	errCrash := errors.New("crashed")
	crash := make(chan struct{}, 1)
	// Calls under the journal's mutex, with a generator of their own.
	dice := rand.New(rand.NewPCG(seed, 2))
	down := false
	strike := func(int) error {
		if down || dice.IntN(12) == 0 {
			down = true
			select {
			case crash <- struct{}{}:
			default:
			}
			return errCrash
		}
		return nil
	}
	f := follow.Follower{
		Sources:       []follow.Source{{Path: filepath.Join(w.dir, "*.log"), To: "central"}},
		Poll:          2 * time.Millisecond,
		MaxBatchLines: 1 + r.IntN(20),
		MaxLine:       64,
	}
	for i := range w.logs {
		w.create(i)
	}
	stop := j.start(t, f)
	// A file is followed from its first note on.
	j.until(t, "first notes", func() bool { return j.noteCount() == 4 })
	j.mu.Lock()
	j.before = strike
	j.after = func(n int) error {
		if down {
			return nil
		}
		return strike(n)
	}
	j.mu.Unlock()
	for range 300 {
		w.act()
		select {
		case <-crash:
			stop()
			for range r.IntN(6) {
				w.act()
			}
			j.mu.Lock()
			down = false
			j.mu.Unlock()
			stop = j.start(t, f)
		default:
			if r.IntN(4) == 0 {
				<-time.After(time.Duration(r.IntN(4)) * time.Millisecond)
			}
		}
	}
	stop()
	j.mu.Lock()
	j.before, j.after = nil, nil
	j.mu.Unlock()
	j.start(t, f)
	for i := range w.logs {
		w.finish(i)
		j.want(t, w.name(i), w.lines[i]...)
		w.logs[i].Close()
	}
	for _, s := range j.reported() {
		if !strings.Contains(s, errCrash.Error()) {
			t.Errorf("report: %s", s)
		}
	}
}

func (w *world) name(i int) string { return fmt.Sprintf("app%d.log", i) }

// act appends some lines, or half of one, or rotates.
func (w *world) act() {
	i := w.r.IntN(len(w.logs))
	if w.logs[i] == nil {
		w.create(i)
	}
	switch w.r.IntN(10) {
	case 0:
		w.finish(i)
		w.rotate(i)
	case 1:
		w.half[i] += "half-"
		w.write(i, "half-")
		if len(w.half[i]) > 50 {
			w.finish(i)
		}
	default:
		w.finish(i)
		var b strings.Builder
		for range w.r.IntN(30) {
			line := fmt.Sprintf("%s line %d", w.name(i), len(w.lines[i]))
			w.lines[i] = append(w.lines[i], line)
			b.WriteString(line + "\n")
		}
		w.write(i, b.String())
	}
}

func (w *world) create(i int) {
	var err error
	w.logs[i], err = os.OpenFile(filepath.Join(w.dir, w.name(i)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(i int, text string) {
	if _, err := w.logs[i].WriteString(text); err != nil {
		w.t.Fatal(err)
	}
}

// finish ends a half line.
func (w *world) finish(i int) {
	if w.logs[i] == nil {
		w.create(i)
	}
	if w.half[i] == "" {
		return
	}
	line := w.half[i] + "done"
	w.write(i, "done\n")
	w.lines[i] = append(w.lines[i], line)
	w.half[i] = ""
}

// rotate renames as logrotate does: app.log to app.log.1, that to app.log.2, and
// so on. Sometimes the writer goes on in the renamed file for a while, and
// sometimes it ends it in the middle of a line.
func (w *world) rotate(i int) {
	path := filepath.Join(w.dir, w.name(i))
	for n := w.rolled[i]; n > 0; n-- {
		rename(w.t, fmt.Sprintf("%s.%d", path, n), fmt.Sprintf("%s.%d", path, n+1))
	}
	rename(w.t, path, path+".1")
	w.rolled[i]++
	switch w.r.IntN(3) {
	case 0:
		line := fmt.Sprintf("%s late %d", w.name(i), len(w.lines[i]))
		w.lines[i] = append(w.lines[i], line)
		w.write(i, line+"\n")
	case 1:
		line := fmt.Sprintf("%s cut %d", w.name(i), len(w.lines[i]))
		w.lines[i] = append(w.lines[i], line)
		w.write(i, line)
	}
	w.logs[i].Close()
	w.create(i)
}
