// Package submit is the ways in by file: a text file that operators append to,
// and a folder into which they rename files. What is taken is accepted once,
// whatever crashes in between; what is refused is kept with its reason.
package submit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/message"
)

// Folders under a Watcher's Dir.
const (
	claimsDir   = "claims"   // files that are being taken
	rejectedDir = "rejected" // what was refused, each with a .reason beside it
	dropDir     = "submit"   // files renamed into it are taken
)

// Defaults of a Watcher.
const (
	DefaultMaxBytes = 64 << 20
	DefaultPoll     = time.Second
	DefaultQuiet    = 30 * time.Second
	DefaultPatience = 10 * time.Minute
)

// maxBackoff is the longest pause after Accept failed.
const maxBackoff = 30 * time.Second

// Watcher takes submissions from File and from Dir/submit. A file is claimed by
// a rename; its messages are accepted in the same transaction as the note of how
// far the claim was read; then the claim is deleted, then the note. After a crash
// anywhere in between, the next Run goes on where that transaction left off.
// One Watcher may work on a Dir at a time.
type Watcher struct {
	File string // the text file; a relative or absolute path
	Dir  string // the data folder

	// Accept makes ms durable together with the note value under key, all or
	// nothing; a nil value deletes the note. An error that wraps
	// message.ErrInvalid says that one of ms can never be accepted.
	Accept func(ctx context.Context, ms []*message.Message, key string, value []byte) error
	Load   func(key string) ([]byte, error) // the note under key, nil if there is none
	Check  func(*message.Message) error     // refuses what can never succeed; may be nil
	Report func(err error, path string)     // what went wrong, and where what it is about was put; may be nil
	Log    *slog.Logger                     // may be nil

	MaxBytes int64         // larger files are refused; DefaultMaxBytes if zero
	Poll     time.Duration // pause between looks when nothing stirs; DefaultPoll if zero

	// After so long without a change half a document is refused: Quiet if nobody
	// has the file open, Patience if somebody has. DefaultQuiet, DefaultPatience if zero.
	Quiet, Patience time.Duration

	crash func(step string) error // for tests: an error ends Run at this step
}

// Run takes submissions until ctx ends, which is no error. It fails only where
// the data folder cannot be used at all.
func (w *Watcher) Run(ctx context.Context) error {
	t, err := w.open()
	if err != nil {
		return err
	}
	n := t.watch()
	if n != nil {
		defer func() { _ = n.Close() }() // it ends with the process at the latest
	}
	backoff, quick := t.poll, time.Millisecond
	for failing := false; ctx.Err() == nil; {
		t.soon = false
		if err := t.pass(ctx); err != nil {
			if c := (crashed{}); errors.As(err, &c) {
				return err
			}
			if !failing && ctx.Err() == nil {
				t.report(fmt.Errorf("take submissions: %w (nothing is lost; trying again)", err), w.File)
				failing = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, maxBackoff)
			continue
		}
		failing, backoff = false, t.poll
		pause := t.poll
		if t.soon {
			pause = min(quick, t.poll)
			quick = min(2*quick, 50*time.Millisecond)
		} else {
			quick = time.Millisecond
		}
		t.wait(ctx, n, pause)
	}
	return nil
}

// taker is one run of a Watcher; one goroutine owns it.
type taker struct {
	*Watcher
	log      *slog.Logger
	maxBytes int64
	poll     time.Duration
	quiet    time.Duration
	patience time.Duration
	grace    time.Duration
	beside   string // claims of File where those of Dir are on another disk, else empty
	growth   map[string]growth
	looked   map[string]bool            // paths looked at in this pass
	told     map[string]bool            // paths that were reported and are not well yet
	kept     map[string]map[string]bool // files that were rejected, by the key of their claim
	names    int
	soon     bool // somebody is about to let go of a file
	noSwap   bool // the file system cannot exchange two files
}

func (w *Watcher) open() (*taker, error) {
	t := &taker{
		Watcher: w, log: cmp.Or(w.Log, slog.New(slog.DiscardHandler)),
		maxBytes: cmp.Or(w.MaxBytes, DefaultMaxBytes), poll: cmp.Or(w.Poll, DefaultPoll), quiet: cmp.Or(w.Quiet, DefaultQuiet),
		patience: cmp.Or(w.Patience, DefaultPatience), grace: grace,
		growth: map[string]growth{}, told: map[string]bool{}, kept: map[string]map[string]bool{},
	}
	for _, d := range []string{claimsDir, rejectedDir, dropDir} {
		if err := os.MkdirAll(filepath.Join(w.Dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("make the folders for submissions: %w", err)
		}
	}
	if err := syncDir(w.Dir); err != nil { // what is claimed is not to be lost with the folder
		return nil, fmt.Errorf("make the folders for submissions: %w", err)
	}
	parts, _ := filepath.Glob(filepath.Join(w.Dir, rejectedDir, partPrefix+"*"))
	for _, p := range parts { // of a process that was killed
		os.Remove(p)
	}
	beside := filepath.Join(filepath.Dir(w.File), "."+filepath.Base(w.File)+".claims")
	if _, err := os.Stat(beside); err == nil || t.otherDisk() {
		t.beside = beside
		if err := os.MkdirAll(beside, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder for claims beside %s: %w", w.File, err)
		}
	}
	return t, nil
}

// otherDisk reports whether File cannot be renamed into Dir. Only a rename
// tells: bind mounts of one disk look alike and still refuse.
func (t *taker) otherDisk() bool {
	probe, err := os.CreateTemp(filepath.Dir(t.File), ".probe-*")
	if err != nil {
		return false
	}
	probe.Close()
	to := filepath.Join(t.Dir, claimsDir, filepath.Base(probe.Name()))
	err = os.Rename(probe.Name(), to)
	os.Remove(probe.Name())
	os.Remove(to)
	return isCrossDevice(err)
}

// watch starts file notification. Where there is none, polling is enough.
func (t *taker) watch() *fsnotify.Watcher {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		t.log.Warn("no file notification, polling instead", "err", err)
		return nil
	}
	for _, d := range append(t.folders(), filepath.Dir(t.File)) {
		if err := n.Add(d); err != nil {
			t.log.Warn("no file notification, polling instead", "folder", d, "err", err)
		}
	}
	return n
}

// folders are those in which every file is ours.
func (t *taker) folders() []string {
	dirs := []string{filepath.Join(t.Dir, claimsDir), filepath.Join(t.Dir, dropDir)}
	if t.beside != "" {
		dirs = append(dirs, t.beside)
	}
	return dirs
}

// wait returns when something of ours stirs, or after d, or when ctx ends.
func (t *taker) wait(ctx context.Context, n *fsnotify.Watcher, d time.Duration) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	if n != nil {
		events, errs = n.Events, n.Errors
	}
	over := time.After(d)
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-errs: //nolint:errcheck // events were lost: look
			return
		case e := <-events:
			// The journal and the logs live in the same folder and stir all the time.
			if e.Name == filepath.Clean(t.File) || slices.Contains(t.folders(), filepath.Dir(e.Name)) {
				return
			}
		}
	}
}

// pass looks at everything once: what was claimed before, then the file, then
// the drop folder.
func (t *taker) pass(ctx context.Context) error {
	t.looked = map[string]bool{}
	claims, err := t.claims()
	if err != nil {
		return err
	}
	for _, c := range claims {
		if err := t.work(ctx, c); err != nil {
			return err
		}
	}
	if err := t.take(ctx, t.File, true); err != nil {
		return err
	}
	if err := t.takeDropped(ctx); err != nil {
		return err
	}
	for p := range t.growth {
		if !t.looked[p] {
			delete(t.growth, p)
		}
	}
	return nil
}

// complain reports err about path once, until path is well again.
func (t *taker) complain(path string, err error) {
	if t.told[path] {
		return
	}
	t.told[path] = true
	t.report(err, path)
}

func (t *taker) report(err error, path string) {
	t.log.Warn("submission", "path", path, "err", err)
	if t.Report != nil {
		t.Report(err, path)
	}
}

// name is unique, and sorts by time.
func (t *taker) name() string {
	t.names++
	return fmt.Sprintf("%s-%06d", time.Now().UTC().Format("20060102T150405.000000000Z"), t.names)
}

// crashed ends Run where a test wants the process to have died.
type crashed struct{ error }

func (t *taker) step(s failpoint.Step) error {
	failpoint.Hit(s)
	if t.crash == nil {
		return nil
	}
	if err := t.crash(string(s)); err != nil {
		return crashed{err}
	}
	return nil
}
