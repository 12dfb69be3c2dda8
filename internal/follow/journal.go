package follow

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// journalDelay is how long an entry waits for others.
const journalDelay = 100 * time.Millisecond

// journal follows the systemd journal by a journalctl of its own.
type journal struct {
	f      *Follower
	source Source
	commit *committer
	cursor string
}

func (j *journal) key() string  { return j.source.key() }
func (j *journal) name() string { return j.source.name() }

// fileName is the file at the receiver where the source names none.
func (j *journal) fileName() string {
	if j.source.Journal == "*" {
		return "journal-all.log"
	}
	return "journal-" + j.source.Journal + ".log"
}

// run follows until ctx ends, and starts journalctl again when it dies.
func (j *journal) run(ctx context.Context) {
	if _, err := exec.LookPath(j.f.Journalctl[0]); err != nil {
		j.f.Log.Warn("the journal is not followed: this machine has no journalctl", "journal", j.source.Journal, "err", err)
		return
	}
	if !j.load(ctx) {
		return
	}
	pause := j.f.Poll
	for told := false; ; {
		before := j.cursor
		err := j.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if j.cursor != before {
			pause, told = j.f.Poll, false
		}
		j.f.Log.Warn("journalctl ended: it is started again", "journal", j.source.Journal, "pause", pause, "err", err)
		if !told {
			j.f.Report(err, j.name())
			told = true
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, max(longestPause, j.f.Poll))
	}
}

// load reads the cursor of earlier runs. It returns false where it must not go on.
func (j *journal) load(ctx context.Context) bool {
	for {
		b, err := j.commit.load(ctx, j.key())
		if err == nil && b == nil {
			return ctx.Err() == nil
		}
		if err == nil {
			n, err := decodeJournalNote(b)
			if err != nil {
				j.f.Report(fmt.Errorf("%w: the journal is not followed", err), j.name())
				return false
			}
			j.cursor = n.Cursor
			return ctx.Err() == nil
		}
		if !sleep(ctx, j.commit.pause()) {
			return false
		}
	}
}

func (j *journal) args() []string {
	args := append([]string(nil), j.f.Journalctl...)
	args = append(args, "-o", "json", "--all", "--quiet", "--follow")
	switch {
	case j.cursor != "":
		args = append(args, "--no-tail", "--after-cursor="+j.cursor)
	case j.source.FromEnd:
		args = append(args, "--lines=0")
	default:
		args = append(args, "--no-tail")
	}
	if j.source.Journal != "*" {
		args = append(args, "-u", j.source.Journal)
	}
	return args
}

// collect gathers entries into batches and sends them until items is closed. Its
// error is that of ctx.
func (j *journal) collect(ctx context.Context, items <-chan item) error {
	var due <-chan time.Time
	b, cursor := j.batch(), ""
	flush := func() error {
		due = nil
		if b.lines == 0 {
			return nil
		}
		err := j.send(ctx, b, cursor)
		b = j.batch()
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-due:
			if err := flush(); err != nil {
				return err
			}
		case it, ok := <-items:
			if !ok {
				return flush()
			}
			if it.err != nil {
				j.f.Report(it.err, j.name())
				continue
			}
			if due == nil {
				due = time.After(journalDelay)
			}
			cursor = it.entry.cursor
			if j.add(b, it.entry); b.full(j.f, 0) {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
}

func (j *journal) batch() *batch { return &batch{source: j.source, fallback: j.fileName()} }

// add takes all lines of an entry: they are accepted together with its cursor.
func (j *journal) add(b *batch, e journalEntry) {
	for _, text := range e.lines {
		c, raw := cutter{maxLine: j.f.MaxLine}, []byte(text)
		for {
			l, ok := c.next(raw, true)
			if !ok {
				break
			}
			b.add(j.f, l, cost(l.text))
			raw = raw[l.size:]
		}
	}
}

// send tries until the batch is accepted or ctx ends; journald keeps what comes meanwhile.
func (j *journal) send(ctx context.Context, b *batch, cursor string) error {
	for {
		err := j.commit.accept(ctx, b.ms, j.key(), journalNote{Cursor: cursor}.encode())
		if err == nil {
			j.cursor = cursor
			return nil
		}
		if !sleep(ctx, j.commit.pause()) {
			return ctx.Err()
		}
	}
}
