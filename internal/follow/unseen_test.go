package follow_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/follow"
)

// looked starts a follower of pattern in a new folder, and waits until it has
// looked at it for the first time.
func looked(t *testing.T, pattern string, before func(dir string)) (j *journal, f follow.Follower, dir string, stop func()) {
	t.Helper()
	j, dir = newJournal(), t.TempDir()
	if before != nil {
		before(dir)
	}
	f = source(filepath.Join(dir, pattern))
	stop = j.start(t, f)
	j.until(t, "the first note", func() bool { return j.noteCount() > 0 })
	return j, f, dir, stop
}

// A log that appears and is rotated, once or more, before anyone looks is read
// from its first line on, under the name that it had.
func TestRotatedBeforeAnyoneLooked(t *testing.T) {
	for _, c := range []struct{ pattern, older, newer string }{
		{"*.log", "new.log.2", "new.log.1"},
		{"new.log", "new.log.2", "new.log.1"},
		{"*.log", "new.log-20260101", "new.log-20260102"},
		{"new.log", "new-2026-01-01.log", "new-2026-01-02.log"},
		{"*.log", "new.log.1", "new.log.old"},
	} {
		for _, again := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s as %s, made again %v", c.pattern, c.newer, again), func(t *testing.T) {
				j, f, dir, stop := looked(t, c.pattern, nil)
				stop()
				path := filepath.Join(dir, "new.log")
				appendTo(t, path, "one\ntwo\n")
				rename(t, path, filepath.Join(dir, c.older))
				past := time.Now().Add(-time.Minute)
				if err := os.Chtimes(filepath.Join(dir, c.older), past, past); err != nil {
					t.Fatal(err)
				}
				appendTo(t, path, "three\nfour")
				rename(t, path, filepath.Join(dir, c.newer))
				want := []string{"one", "two", "three", "four"}
				if again {
					appendTo(t, path, "five\n")
					want = append(want, "five")
				}
				stop = j.start(t, f)
				j.want(t, "new.log", want...)
				stop()
				appendTo(t, path, "after\n")
				j.start(t, f)
				j.want(t, "new.log", append(want, "after")...)
				noReports(t, j)
			})
		}
	}
}

// What was rotated before the source was followed is history, whatever becomes
// of it later; also where the notes are those of a version that did not look.
func TestHistoryIsNotSent(t *testing.T) {
	for name, forget := range map[string]bool{"": false, "notes of an earlier version": true} {
		t.Run(name, func(t *testing.T) {
			in := func(dir, name string) string { return filepath.Join(dir, name) }
			j, f, dir, stop := looked(t, "*.log", func(dir string) {
				appendTo(t, in(dir, "app.log.1"), "history\n")
				appendTo(t, in(dir, "gone.log.1"), "history\n")
			})
			stop()
			if forget {
				for key, note := range j.notes {
					j.notes[key] = regexp.MustCompile(`,"passed":\[.*\]`).ReplaceAll(note, nil)
				}
			}
			stop = j.start(t, f)
			look := func(name string) {
				appendTo(t, in(dir, name), "line\n")
				j.want(t, name, "line")
			}
			look("a.log")
			rename(t, in(dir, "gone.log.1"), in(dir, "gone.log.2"))
			appendTo(t, in(dir, "gone.log.2"), "late\n")
			look("b.log")
			stop()
			j.start(t, f)
			look("c.log")
			look("app.log")
			look("gone.log")
			rename(t, in(dir, "app.log"), in(dir, "app.log.2"))
			appendTo(t, in(dir, "app.log"), "more\n")
			j.want(t, "app.log", "line", "more")
			noReports(t, j)
		})
	}
}

// A copy beside a log that is read was read there; it stays unread when the log
// and all that is known of it has gone.
func TestCopiesBesideAreNotSent(t *testing.T) {
	j, f, dir, stop := looked(t, "*.log", nil)
	stop()
	f.Poll = time.Millisecond
	stop = j.start(t, f)
	path := filepath.Join(dir, "app.log")
	appendTo(t, path, "one\n")
	j.want(t, "app.log", "one")
	appendTo(t, path+".old", "one\n")
	j.until(t, "a note of the copy", func() bool { return j.noted(`"passed":[{`) })
	remove(t, path)
	j.until(t, "the note of the log to go", func() bool { return j.noteCount() == 1 })
	stop()
	j.start(t, f)
	appendTo(t, filepath.Join(dir, "b.log"), "line\n")
	j.want(t, "b.log", "line")
	j.want(t, "app.log", "one")
	noReports(t, j)
}

// A log that was empty when it was last looked at may be filled and copied away
// by the time of the next look.
func TestCopyTruncatedBeforeAnythingWasRead(t *testing.T) {
	j, f, dir, stop := looked(t, "app.log", func(dir string) { appendTo(t, filepath.Join(dir, "app.log.1"), "history\n") })
	path := filepath.Join(dir, "app.log")
	appendTo(t, path, "")
	j.until(t, "the note of the empty log", func() bool { return j.noteCount() == 2 })
	stop()
	rename(t, path+".1", path+".3")
	appendTo(t, path+".3", "late\n")
	for n, text := range []string{"one\ntwo\n", "three\n"} {
		appendTo(t, path, text)
		copyTruncate(t, path, fmt.Sprintf("%s.%d", path, 2-n))
	}
	appendTo(t, path, "four\n")
	stop = j.start(t, f)
	j.want(t, "app.log", "one", "two", "three", "four")
	stop()
	copyTruncate(t, path, path+".0")
	j.start(t, f)
	appendTo(t, path, "five\n")
	j.want(t, "app.log", "one", "two", "three", "four", "five")
	noReports(t, j)
}
