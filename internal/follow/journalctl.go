package follow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

const (
	maxEntry  = 4 << 20         // encoded bytes of a journal entry
	maxStderr = 2 << 10         // bytes of journalctl's complaint that a report quotes
	killDelay = 5 * time.Second // for pipes to close after a kill
)

// errEntryTooLong stands in for an entry that is left out.
var errEntryTooLong = fmt.Errorf("a journal entry has more than %d bytes: it is left out", maxEntry)

// follow runs journalctl once, to its end. Nothing of it is left on return.
func (j *journal) follow(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	args := j.args()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = killDelay
	complaint := &lastBytes{max: maxStderr}
	cmd.Stderr = complaint
	r, w := io.Pipe()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		cancel()
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		_ = w.Close() // a pipe in memory
		ended <- err
	}()
	items, read := make(chan item), make(chan struct{})
	go func() {
		defer close(read)
		defer close(items)
		readEntries(ctx, r, items)
	}()
	err = j.collect(ctx, items)
	cancel()
	_ = r.Close() // lets a write that nobody reads fail
	<-read
	if waitErr := <-ended; err == nil {
		err = fmt.Errorf("%s ended (%w): %s", args[0], orEOF(waitErr), complaint.text())
	}
	return err
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// item is one entry, or why there is none.
type item struct {
	entry journalEntry
	err   error
}

// readEntries sends what it reads to items until r or ctx ends.
func readEntries(ctx context.Context, r io.Reader, items chan<- item) {
	b := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := readLine(b)
		if err != nil && !errors.Is(err, errEntryTooLong) {
			return
		}
		it := item{err: err}
		if err == nil {
			it.entry, it.err = parseEntry(text)
		}
		select {
		case items <- it:
		case <-ctx.Done():
			return
		}
	}
}

// readLine reads a line of at most maxEntry bytes, and skips a longer one. What
// ends without a newline was cut off, and is left for the next run.
func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(text)+len(part) > maxEntry; !long {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		case long:
			return nil, errEntryTooLong
		default:
			return text, nil
		}
	}
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	max int
	b   []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if n := len(l.b) - l.max; n > 0 {
		l.b = append(l.b[:0], l.b[n:]...)
	}
	return len(p), nil
}

func (l *lastBytes) text() string {
	if s := strings.TrimSpace(string(l.b)); s != "" {
		return clean([]byte(s))
	}
	return "it said nothing"
}
