package method_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// archive is a node as TextLogging sees it: a data folder and a journal of
// committed lengths.
type archive struct {
	t    *testing.T
	dir  string
	text method.TextConfig

	mu      sync.Mutex
	journal map[string]int64
	down    error // of the journal
	reports []string
	method  process.Method
}

func newArchive(t *testing.T, text method.TextConfig) *archive {
	a := &archive{t: t, dir: t.TempDir(), text: text, journal: map[string]int64{}}
	a.restart()
	return a
}

// restart is a new process on the same folder and journal.
func (a *archive) restart() {
	a.method = find(a.t, &method.Host{
		DataDir: a.dir,
		Text:    a.text,
		Committed: func(name string) (int64, bool, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			n, ok := a.journal[name]
			return n, ok, a.down
		},
		Report: func(err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.reports = append(a.reports, err.Error())
		},
	}, "TextLogging")
}

func (a *archive) commit(lengths []process.FileLength) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range lengths {
		a.journal[l.Name] = l.Length
	}
}

func (a *archive) setDown(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = err
}

func (a *archive) reported() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.reports, "\n")
}

// write does one batch and commits it, as a node does that lives.
func (a *archive) write(ms ...*message.Message) {
	a.t.Helper()
	a.commit(a.crash(ms...))
}

// crash does one batch and dies before the commit: what it returns is lost
// unless the test commits it.
func (a *archive) crash(ms ...*message.Message) []process.FileLength {
	a.t.Helper()
	results, lengths := a.method.Batch(a.t.Context(), ms)
	if len(results) != len(ms) {
		a.t.Fatalf("%d results for %d messages", len(results), len(ms))
	}
	for _, r := range results {
		if r.Outcome != ack.Done {
			a.t.Fatalf("got %+v", r)
		}
	}
	return lengths
}

func (a *archive) path(name string) string { return filepath.Join(a.dir, "logs", "ship1", name) }

func (a *archive) holds(name, want string) {
	a.t.Helper()
	b, err := os.ReadFile(a.path(name))
	if err != nil || string(b) != want {
		a.t.Errorf("%s holds %.200q, want %.200q (%v)", name, b, want, err)
	}
}

func (a *archive) lacks(names ...string) {
	a.t.Helper()
	for _, n := range names {
		if _, err := os.Lstat(a.path(n)); err == nil {
			a.t.Errorf("there is a %s", n)
		}
	}
}

// put changes a file behind the node's back.
func (a *archive) put(name, content string) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), []byte(content), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func lines(s ...string) *message.Message {
	return &message.Message{FromNode: "ship1", Kind: subject.EventACK, Method: "TextLogging", Data: s}
}

func nack(s ...string) *message.Message {
	m := lines(s...)
	m.Kind = subject.EventNACK
	return m
}

func in(directory, file string, m *message.Message) *message.Message {
	m.Directory, m.FileName = directory, file
	return m
}

func TestLinesGoToTheirFiles(t *testing.T) {
	a := newArchive(t, method.TextConfig{})
	results, lengths := a.method.Batch(t.Context(), []*message.Message{
		lines("one", "", "three"), in("deep/er", "x.log", lines("é")), lines("four"),
	})
	a.holds("log.txt", "one\n\nthree\nfour\n")
	a.holds("deep/er/x.log", "é\n")
	want := []process.FileLength{{Name: "logs/ship1/log.txt", Length: 16}, {Name: "logs/ship1/deep/er/x.log", Length: 3}}
	if len(results) != 3 || fmt.Sprint(lengths) != fmt.Sprint(want) {
		t.Errorf("got %d results, %v", len(results), lengths)
	}
	a.commit(lengths)
	a.write(lines("five"))
	a.holds("log.txt", "one\n\nthree\nfour\nfive\n")
	if results, lengths := a.method.Batch(t.Context(), nil); results != nil || lengths != nil {
		t.Errorf("of nothing came %v %v", results, lengths)
	}
	if a.reported() != "" {
		t.Errorf("reported %s", a.reported())
	}
}

// TestCrashBeforeCommit: whatever of a batch reached the file, and however the
// same messages are cut into batches when they come again, each line is there once.
func TestCrashBeforeCommit(t *testing.T) {
	const whole = "zero\none\ntwo\nthree\n"
	again := map[string]func(a *archive){
		"same batch":      func(a *archive) { a.write(lines("one"), lines("two"), lines("three")) },
		"smaller batches": func(a *archive) { a.write(lines("one")); a.write(lines("two")); a.write(lines("three")) },
		"crash in smaller": func(a *archive) {
			a.crash(lines("one"))
			a.restart()
			a.write(lines("one"), lines("two"))
			a.write(lines("three"))
		},
	}
	for name, again := range again {
		for cut := len("zero\n"); cut <= len(whole); cut++ {
			for _, zeros := range []int{0, 1, 9000} {
				a := newArchive(t, method.TextConfig{})
				a.write(lines("zero"))
				a.crash(lines("one"), lines("two"), lines("three"))
				a.put("log.txt", whole[:cut]+strings.Repeat("\x00", zeros)) // what reached the disk
				a.restart()
				again(a)
				a.holds("log.txt", whole)
				a.lacks("log.txt.foreign-1")
				if a.reported() != "" {
					t.Errorf("%s, cut at %d, %d zeros: reported %s", name, cut, zeros, a.reported())
				}
			}
		}
	}
}

func TestCrashOfTheFirstBatch(t *testing.T) {
	a := newArchive(t, method.TextConfig{})
	a.crash(lines("one"), in("d", "f", lines("two")))
	a.restart()
	a.crash(lines("one"))
	a.write(lines("one"), in("d", "f", lines("two")), lines("three"))
	a.holds("log.txt", "one\nthree\n")
	a.holds("d/f", "two\n")
}

func TestForeignTailIsSetAside(t *testing.T) {
	const found = "one\nof a journal that is lost\n"
	for _, line := range []string{"two", "a line that is longer than the tail was"} {
		synctest.Test(t, func(t *testing.T) {
			a := newArchive(t, method.TextConfig{})
			a.write(lines("one"))
			a.put("log.txt", found)
			a.crash(lines(line))
			a.restart()
			a.write(lines(line), lines("three"))
			a.holds("log.txt.foreign-1", found)
			a.holds("log.txt", "one\n"+line+"\nthree\n")
			a.put("log.txt", found)
			a.commit([]process.FileLength{{Name: "logs/ship1/log.txt", Length: 4}})
			a.write(lines("four"))
			a.holds("log.txt.foreign-2", found)
			a.holds("log.txt", "one\nfour\n")
			a.lacks("log.txt.foreign-0", "log.txt.foreign-3")
			if got := a.reported(); strings.Count(got, "kept as") != 2 || !strings.Contains(got, "log.txt.foreign-1") {
				t.Errorf("reported %s", got)
			}
		})
	}
}

// TestCrashWhileSettingAside goes through the states that lie between.
func TestCrashWhileSettingAside(t *testing.T) {
	const found = "one\nforeign\n"
	for name, state := range map[string]func(a *archive){
		"copy":          func(a *archive) { a.put("log.txt.foreign-0", "on") },
		"copy and link": func(a *archive) { a.put("log.txt.foreign-0", "one\n"); a.hardLink("log.txt", "log.txt.foreign-1") },
		"all but sync": func(a *archive) {
			a.hardLink("log.txt", "log.txt.foreign-1")
			if err := os.Remove(a.path("log.txt")); err != nil {
				t.Fatal(err)
			}
			a.put("log.txt", "one\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newArchive(t, method.TextConfig{})
				a.write(lines("one"))
				a.put("log.txt", found)
				state(a)
				a.restart()
				a.write(lines("two"))
				a.holds("log.txt", "one\ntwo\n")
				a.holds("log.txt.foreign-1", found)
				a.lacks("log.txt.foreign-0", "log.txt.foreign-2")
			})
		})
	}
}

func (a *archive) hardLink(from, to string) {
	a.t.Helper()
	if err := os.Link(a.path(from), a.path(to)); err != nil {
		a.t.Fatal(err)
	}
}

func TestLostJournalSetsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, method.TextConfig{})
		a.write(lines("one"))
		a.journal = map[string]int64{}
		a.restart()
		a.write(lines("two"))
		a.holds("log.txt.foreign-1", "one\n")
		a.holds("log.txt", "two\n")
	})
}

func TestFileCutOrRemovedFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, method.TextConfig{})
		a.write(lines("one", "two"))
		a.put("log.txt", "one\n")
		a.write(lines("three"))
		a.holds("log.txt", "one\nthree\n")
		if !strings.Contains(a.reported(), "cut from outside to 4 of 8") {
			t.Errorf("reported %s", a.reported())
		}
		a.write(lines("four"))
		a.put("log.txt", "")
		a.write(lines("five"))
		a.holds("log.txt", "five\n")
		if err := os.Remove(a.path("log.txt")); err != nil {
			t.Fatal(err)
		}
		a.write(lines("six"))
		a.write(lines("seven"))
		a.holds("log.txt", "six\nseven\n")
		a.lacks("log.txt.foreign-1")
	})
}

func TestRotation(t *testing.T) {
	a := newArchive(t, method.TextConfig{MaxSize: 8, Keep: 3})
	for i := range 11 {
		a.write(lines(fmt.Sprintf("l%02d", i)))
	}
	a.holds("log.txt", "l10\n")
	a.holds("log.txt.1", "l08\nl09\n")
	a.holds("log.txt.2", "l06\nl07\n")
	a.holds("log.txt.3", "l04\nl05\n")
	a.lacks("log.txt.4", "log.txt.foreign-1")
}

// TestRotationWaits: while lines stand in the file that nobody committed, and
// for a batch as large as the file, nothing is rotated.
func TestRotationWaits(t *testing.T) {
	a := newArchive(t, method.TextConfig{MaxSize: 8})
	a.write(lines("l00", "l01"))
	a.write(lines("l02", "l03"))
	a.lacks("log.txt.1")
	a.put("log.txt", "l00\nl01\nl02\nl03\nl04\n")
	a.write(lines("l04"))
	a.lacks("log.txt.1")
	a.write(lines("l05"))
	a.holds("log.txt.1", "l00\nl01\nl02\nl03\nl04\n")
	a.holds("log.txt", "l05\n")
}

// TestCrashWhileRotating goes through every state that a rotation passes.
func TestCrashWhileRotating(t *testing.T) {
	const names = "log.txt.3 log.txt.2 log.txt.1 log.txt"
	for steps := range 6 {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			a := newArchive(t, method.TextConfig{MaxSize: 8, Keep: 3})
			for i := range 8 {
				a.write(lines(fmt.Sprintf("l%02d", i)))
			}
			list := strings.Fields(names)
			for i := range min(steps, 3) { // 2 to 3, 1 to 2, log.txt to 1
				if err := os.Rename(a.path(list[i+1]), a.path(list[i])); err != nil {
					t.Fatal(err)
				}
			}
			switch steps {
			case 4:
				a.put("log.txt", "")
			case 5:
				a.put("log.txt", "l0") // the beginning of what was to be written
			}
			a.restart()
			a.crash(lines("l08"))
			a.restart()
			a.write(lines("l08"))
			a.write(lines("l09"))
			a.holds("log.txt", "l08\nl09\n")
			a.holds("log.txt.1", "l06\nl07\n")
			a.holds("log.txt.2", "l04\nl05\n")
			a.holds("log.txt.3", "l02\nl03\n")
			a.lacks("log.txt.4", "log.txt.foreign-1")
			if a.reported() != "" {
				t.Errorf("reported %s", a.reported())
			}
		})
	}
}

func TestNamesCannotLeadOut(t *testing.T) {
	outside := t.TempDir()
	for name, prepare := range map[string]func(a *archive) *message.Message{
		"parent":           func(*archive) *message.Message { return in("../../../..", "x", lines("bad")) },
		"parent in name":   func(*archive) *message.Message { return in("", "../../../../x", lines("bad")) },
		"link to a file":   func(a *archive) *message.Message { a.link(outside+"/x", "log.txt"); return lines("bad") },
		"link to a folder": func(a *archive) *message.Message { a.link(outside, "d"); return in("d", "x", lines("bad")) },
		"link inside":      func(a *archive) *message.Message { a.link("good.log", "log.txt"); return lines("bad") },
		"fifo": func(a *archive) *message.Message {
			if err := syscall.Mkfifo(a.path("log.txt"), 0o600); err != nil {
				t.Fatal(err)
			}
			return lines("bad")
		},
		"folder":              func(*archive) *message.Message { return in("", "sub", lines("bad")) },
		"file used as folder": func(*archive) *message.Message { return in("good.log", "x", lines("bad")) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newArchive(t, method.TextConfig{})
			a.write(in("", "good.log", lines("good")), in("sub", "x", lines("good")))
			bad := prepare(a)
			results, lengths := a.method.Batch(t.Context(), []*message.Message{in("", "good.log", lines("more")), bad, in("", "good.log", lines("yet more"))})
			if len(results) != 3 || results[0].Outcome != ack.Done || results[2].Outcome != ack.Done {
				t.Fatalf("neighbours: %+v", results)
			}
			if results[1].Outcome != ack.Failed || results[1].Error == "" || len(lengths) != 1 {
				t.Errorf("got %+v, %v", results[1], lengths)
			}
			a.holds("good.log", "good\nmore\nyet more\n")
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("%v was made outside", left)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(a.dir), "x")); err == nil {
				t.Error("x was made outside")
			}
		})
	}
}

func (a *archive) link(to, name string) {
	a.t.Helper()
	if err := os.Symlink(to, a.path(name)); err != nil {
		a.t.Fatal(err)
	}
}

// TestTroubleIsWaitedFor: lines wait for the journal and the disk, and are
// written once these are well; if the node stops first, nothing counts.
func TestTroubleIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, method.TextConfig{})
		a.setDown(errors.New("no space left"))
		time.AfterFunc(time.Hour, func() { a.setDown(nil) })
		start := time.Now()
		a.write(lines("one"))
		if time.Since(start) < time.Hour || !strings.Contains(a.reported(), "lines for logs/ship1/log.txt wait: no space left") {
			t.Errorf("after %s, reported %s", time.Since(start), a.reported())
		}
		if n := strings.Count(a.reported(), "\n"); n > 200 {
			t.Errorf("%d reports in an hour", n)
		}

		a.setDown(errors.New("no space left"))
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if results, lengths := a.method.Batch(ctx, []*message.Message{in("", "other", lines("x")), lines("two")}); results != nil || lengths != nil {
			t.Errorf("interrupted, and still %v %v", results, lengths)
		}
		a.setDown(nil)
		a.write(in("", "other", lines("x")), lines("two"))
		a.holds("log.txt", "one\ntwo\n")
		a.holds("other", "x\n")
	})
}

// TestKindsShareAFile: the lines of one kind wait until those of the other are
// committed, and a crash between loses and repeats none.
func TestKindsShareAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, method.TextConfig{})
		lengths := a.crash(lines("one"))
		time.AfterFunc(time.Hour, func() { a.commit(lengths) })
		start := time.Now()
		a.write(nack("two"))
		if time.Since(start) < time.Hour {
			t.Errorf("the second wrote after %s", time.Since(start))
		}
		a.holds("log.txt", "one\ntwo\n")

		a.crash(lines("three"))
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if results, _ := a.method.Batch(ctx, []*message.Message{nack("four")}); results != nil {
			t.Error("wrote behind what nobody committed")
		}
		a.restart() // the wrong kind comes first, and lets the other one recognise its line
		var wg sync.WaitGroup
		wg.Go(func() { a.write(nack("four")) })
		wg.Go(func() {
			<-time.After(time.Second)
			lengths := a.crash(lines("three"))
			<-time.After(time.Minute)
			a.commit(lengths)
		})
		wg.Wait()
		a.holds("log.txt", "one\ntwo\nthree\nfour\n")
		a.lacks("log.txt.foreign-1")
	})
}

func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	a := newArchive(t, method.TextConfig{})
	if err := syscall.Mount("tmpfs", a.dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() { _ = syscall.Unmount(a.dir, syscall.MNT_DETACH) }()
	a.write(lines("one"))
	fill := filepath.Join(a.dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 30<<10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.write(lines(long), lines("three"))
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(a.reported(), "no space left") {
		select {
		case <-tick.C:
		case <-done:
			t.Fatal("it was written, or given up")
		case <-t.Context().Done():
			return
		}
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	<-done
	a.holds("log.txt", "one\n"+long+"\nthree\n")
}
