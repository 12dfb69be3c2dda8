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
	seeds = flag.Int("follow.seeds", 6, "schedules of the random test")
	first = flag.Uint64("follow.seed", 1, "first seed of the random test")
)

// TestRandomWritersAndCrashes lets logs appear, grow and rotate at random, and a
// follower crash at random, before and after its commits. What was accepted must
// be what was written, in order.
func TestRandomWritersAndCrashes(t *testing.T) {
	for i := range uint64(*seeds) {
		t.Run(fmt.Sprintf("seed=%d", *first+i), func(t *testing.T) { randomRun(t, *first+i) })
	}
}

func randomRun(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{t: t, r: r, dir: t.TempDir()}
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
	for range 3 {
		w.create()
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
	for _, l := range w.logs {
		l.finish()
		j.want(t, l.name, l.lines...)
		l.f.Close()
	}
	for _, s := range j.reported() {
		if !strings.Contains(s, errCrash.Error()) {
			t.Errorf("report: %s", s)
		}
	}
}

// world is a folder of logs.
type world struct {
	t    *testing.T
	r    *rand.Rand
	dir  string
	logs []*log
}

// act lets one log grow or rotate, or a new one appear, which may have rotated
// by the time that anyone looks.
func (w *world) act() {
	if len(w.logs) < 15 && w.r.IntN(12) == 0 {
		l := w.create()
		for range w.r.IntN(3) {
			l.grow()
			l.rotate()
		}
	}
	l := w.logs[w.r.IntN(len(w.logs))]
	switch w.r.IntN(10) {
	case 0:
		l.rotate()
	case 1:
		l.begin()
	default:
		l.grow()
	}
}

func (w *world) create() *log {
	l := &log{world: w, name: fmt.Sprintf("app%d.log", len(w.logs)), style: w.r.IntN(3)}
	w.logs = append(w.logs, l)
	l.open()
	return l
}

// log is one of them, and what was written to it.
type log struct {
	*world
	name   string
	f      *os.File
	lines  []string
	half   string // the start of a line that is in the file
	style  int    // of its rotation
	rolled int
}

func (l *log) open() {
	var err error
	l.f, err = os.OpenFile(filepath.Join(l.dir, l.name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) write(text string) {
	if _, err := l.f.WriteString(text); err != nil {
		l.t.Fatal(err)
	}
}

// line writes one that ends with end.
func (l *log) line(what, end string) {
	line := fmt.Sprintf("%s %s %d", l.name, what, len(l.lines))
	l.lines = append(l.lines, line)
	l.write(line + end)
}

func (l *log) grow() {
	l.finish()
	for range l.r.IntN(30) {
		l.line("line", "\n")
	}
}

// begin writes a piece of a line.
func (l *log) begin() {
	piece := "half-"
	if l.half == "" {
		piece = fmt.Sprintf("%s half %d", l.name, len(l.lines))
	}
	l.half += piece
	l.write(piece)
	if len(l.half) > 50 {
		l.finish()
	}
}

// finish ends a half line.
func (l *log) finish() {
	if l.half == "" {
		return
	}
	l.write("done\n")
	l.lines = append(l.lines, l.half+"done")
	l.half = ""
}

// rotate renames as logrotate does: app.log to app.log.1, that to app.log.2, and
// so on, or app.log to a name with the date; or it copies and truncates. Sometimes
// the writer goes on in the renamed file for a while, and sometimes it ends it in
// the middle of a line.
func (l *log) rotate() {
	l.finish()
	path := filepath.Join(l.dir, l.name)
	to := path + ".1"
	if l.style == 1 {
		to = fmt.Sprintf("%s-%08d", path, 20260101+l.rolled)
	} else {
		for n := l.rolled; n > 0; n-- {
			rename(l.t, fmt.Sprintf("%s.%d", path, n), fmt.Sprintf("%s.%d", path, n+1))
		}
	}
	l.rolled++
	if l.style == 2 {
		copyTruncate(l.t, path, to)
		return
	}
	rename(l.t, path, to)
	switch l.r.IntN(3) {
	case 0:
		l.line("late", "\n")
	case 1:
		l.line("cut", "")
	}
	l.f.Close()
	l.open()
}
