package follow

import (
	"context"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"
)

// gather is how long to wait after a notification, so that a burst of them, and
// of lines, is one piece of work.
const gather = 20 * time.Millisecond

// watcher wakes a tail when something happens in its folders. Where the system
// has no more notifications to give, it is quiet, and polling does the work.
type watcher struct {
	log     *slog.Logger
	w       *fsnotify.Watcher // nil: quiet
	folders map[string]bool
	names   bool // a name appeared or went since changed was asked
}

func newWatcher(log *slog.Logger) *watcher {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files are polled only: the system gives no notifications", "err", err)
		w = nil
	}
	return &watcher{log: log, w: w, folders: map[string]bool{}}
}

func (w *watcher) close() {
	if w.w != nil {
		_ = w.w.Close() // nothing is lost with it
	}
}

// set watches exactly these folders.
func (w *watcher) set(folders map[string]bool) {
	if w.w == nil {
		return
	}
	for dir := range w.folders {
		if !folders[dir] {
			_ = w.w.Remove(dir) // it may be gone, and its watch with it
			delete(w.folders, dir)
		}
	}
	for dir := range folders {
		// Also those watched already: a folder made anew has lost its watch.
		if err := w.w.Add(dir); err != nil {
			w.log.Debug("folder is polled only", "path", dir, "err", err)
			continue
		}
		w.folders[dir] = true
	}
}

// changed reports whether names changed since it was last asked.
func (w *watcher) changed() bool {
	for w.take() {
	}
	c := w.names
	w.names = false
	return c
}

// take notes one notification, if there is one.
func (w *watcher) take() bool {
	if w.w == nil {
		return false
	}
	select {
	case e := <-w.w.Events:
		w.note(e)
	case <-w.w.Errors: //nolint:errcheck // which one does not matter
		w.names = true // the queue ran over
	default:
		return false
	}
	return true
}

func (w *watcher) note(e fsnotify.Event) {
	w.names = w.names || e.Has(fsnotify.Create) || e.Has(fsnotify.Rename) || e.Has(fsnotify.Remove)
}

// wait returns after d, or soon after a notification.
func (w *watcher) wait(ctx context.Context, d time.Duration) {
	var events chan fsnotify.Event
	var errs chan error
	if w.w != nil {
		events, errs = w.w.Events, w.w.Errors
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case e := <-events:
			w.note(e)
		case <-errs: //nolint:errcheck // which one does not matter
			w.names = true
		}
		if d > gather {
			d = gather
			timer.Reset(gather)
		}
	}
}
