package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/steward-bus/steward/message"
)

// Defaults of a Follower.
const (
	DefaultPoll       = time.Second
	DefaultBatchLines = 500
	DefaultBatchBytes = 128 << 10
	DefaultMaxLine    = 64 << 10
	MaxFiles          = 512 // files of one source that are followed at once
)

const (
	maxBatchBytes = 512 << 10
	firstPause    = 100 * time.Millisecond
	longestPause  = 30 * time.Second
)

// Follower follows Sources until its context ends. Fill it, then Run it, once.
type Follower struct {
	Sources []Source

	// Accept is one durable transaction: the messages are accepted, in order, and
	// value is stored under key, or key is deleted where value is nil. There may be
	// no messages. It may block; after an error it is tried again, unless Load
	// then returns value. It is called by one goroutine for each source.
	Accept func(ctx context.Context, ms []*message.Message, key string, value []byte) error
	// Load is what Accept stored last under key, or nil.
	Load func(key string) ([]byte, error)
	// Report is told what an operator should know; path names the file, or
	// "journal <unit>". Several goroutines call it. Nil: such failures are only logged.
	Report func(err error, path string)

	Log           *slog.Logger  // nil: quiet
	Poll          time.Duration // between looks at the files besides notifications; DefaultPoll
	MaxBatchLines int           // of one Accept; DefaultBatchLines
	MaxBatchBytes int           // encoded, of one Accept, about; DefaultBatchBytes
	MaxLine       int           // bytes; longer lines are split (see SplitLabel); DefaultMaxLine
	Journalctl    []string      // command that reads the journal; journalctl
}

// Run follows every source and returns nil once ctx has ended and all that it
// started is gone. It fails at once where the configuration cannot work.
func (f *Follower) Run(ctx context.Context) error {
	c, err := f.complete()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range c.Sources {
		cm := &committer{f: c, source: s}
		if s.Journal != "" {
			wg.Go(func() { (&journal{f: c, source: s, commit: cm}).run(ctx) })
			continue
		}
		wg.Go(func() { newTail(c, s, cm).run(ctx) })
	}
	<-ctx.Done()
	return nil
}

// complete is f with its defaults, checked.
func (f *Follower) complete() (*Follower, error) {
	c := *f
	c.Poll = cmp.Or(f.Poll, DefaultPoll)
	c.MaxBatchLines = cmp.Or(f.MaxBatchLines, DefaultBatchLines)
	c.MaxBatchBytes = cmp.Or(f.MaxBatchBytes, DefaultBatchBytes)
	c.MaxLine = cmp.Or(f.MaxLine, DefaultMaxLine)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Journalctl) == 0 {
		c.Journalctl = []string{"journalctl"}
	}
	if c.Report == nil {
		c.Report = func(error, string) {}
	}
	if f.Accept == nil || f.Load == nil {
		return nil, errors.New("follow: Accept or Load is not set")
	}
	return &c, c.validate()
}

func (f *Follower) validate() error {
	switch {
	case f.Poll < 0:
		return fmt.Errorf("follow: poll is %s: want more than 0s", f.Poll)
	case f.MaxBatchLines < 1 || f.MaxBatchLines > message.MaxData:
		return fmt.Errorf("follow: batches of %d lines: want 1 to %d", f.MaxBatchLines, message.MaxData)
	case f.MaxBatchBytes < 1 || f.MaxBatchBytes > maxBatchBytes:
		return fmt.Errorf("follow: batches of %d bytes: want 1 to %d", f.MaxBatchBytes, maxBatchBytes)
	case f.MaxLine < 4 || f.MaxLine > DefaultMaxLine:
		return fmt.Errorf("follow: lines of %d bytes: want 4 to %d", f.MaxLine, DefaultMaxLine)
	}
	seen := map[string]bool{}
	for _, s := range f.Sources {
		if err := s.Validate(); err != nil {
			return err
		}
		if s.Path != "" && !filesSupported {
			return fmt.Errorf("forward %s: this operating system gives files no identity that outlives a rename: only Unix systems can follow files", s.name())
		}
		if seen[s.key()] {
			return fmt.Errorf("forward %s: two entries send it to %s: keep one", s.name(), s.To)
		}
		seen[s.key()] = true
	}
	return nil
}
