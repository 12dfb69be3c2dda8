package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/message"
)

// bench is a data folder, and what a node would keep of what was taken.
type bench struct {
	t       *testing.T
	dir     string
	stir    chan struct{} // something happened
	mu      sync.Mutex
	got     []string // toNode/data[0] of each accepted message
	notes   map[string][]byte
	reports []string
	refuse  func(*message.Message) error // of Accept
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, dir: t.TempDir(), stir: make(chan struct{}, 1), notes: map[string][]byte{}}
}

func (b *bench) signal() {
	select {
	case b.stir <- struct{}{}:
	default:
	}
}

func (b *bench) accept(_ context.Context, ms []*message.Message, key string, value []byte) error {
	defer b.signal()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range ms {
		if b.refuse == nil {
			break
		}
		if err := b.refuse(m); err != nil {
			return err
		}
	}
	for _, m := range ms {
		b.got = append(b.got, m.ToNode+"/"+m.Data[0])
	}
	if b.notes[key] = value; value == nil {
		delete(b.notes, key)
	}
	return nil
}

func (b *bench) watcher() *Watcher {
	return &Watcher{
		File: filepath.Join(b.dir, "inmsg.txt"), Dir: b.dir, Accept: b.accept,
		Load: func(key string) ([]byte, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.notes[key], nil
		},
		Report: func(err error, path string) {
			defer b.signal()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reports = append(b.reports, fmt.Sprintf("%s: %v", filepath.Base(path), err))
		},
		Poll: 20 * time.Millisecond, Quiet: time.Hour,
		crash: func(string) error { b.signal(); return nil },
	}
}

// start runs w until the test ends.
func (b *bench) start(w *Watcher) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

// until waits for cond, which is looked at whenever something happened.
func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	limit := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-b.stir:
		case <-limit:
			b.t.Fatalf("%s: never\ngot %v\nreports %q\nfiles %v", what, b.taken(), b.reports, b.files())
		}
	}
}

func (b *bench) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func (b *bench) reported() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.reports)
}

// clean reports whether nothing is under way: no claims and no notes.
func (b *bench) clean() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries, err := os.ReadDir(filepath.Join(b.dir, claimsDir))
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".probe-") }) // gone at once
	return err == nil && len(entries) == 0 && len(b.notes) == 0
}

// wants waits until just these were taken, in any order, each once.
func (b *bench) wants(want ...string) {
	b.t.Helper()
	slices.Sort(want)
	b.until("these messages", func() bool { return len(b.taken()) >= len(want) })
	got := b.taken()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Fatalf("got  %v\nwant %v", got, want)
	}
}

func (b *bench) files() (names []string) {
	_ = filepath.WalkDir(b.dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(p, b.dir+"/"))
		}
		return nil
	})
	return names
}

// rejected is the text of every rejected file, without the reasons.
func (b *bench) rejected() (texts []string) {
	for _, n := range b.files() {
		if !strings.HasPrefix(n, rejectedDir) || strings.HasSuffix(n, ".reason") || strings.Contains(n, partPrefix) {
			continue
		}
		text, _ := os.ReadFile(filepath.Join(b.dir, n))
		reason, err := os.ReadFile(filepath.Join(b.dir, n+".reason"))
		if err != nil || len(reason) < 10 {
			b.t.Errorf("%s: reason %q, %v", n, reason, err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		b.t.Fatal(err)
	}
}

// put appends with an open of its own, as >> does.
func (b *bench) put(text string) {
	f := b.open()
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) open() *os.File {
	f, err := os.OpenFile(filepath.Join(b.dir, "inmsg.txt"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func msg(node, data string) string {
	return fmt.Sprintf(`{"toNode":%q,"data":[%q],"commandOrEvent":"EventACK","method":"TextLogging"}`, node, data)
}

func TestAppended(t *testing.T) {
	b := newBench(t)
	b.put(msg("a", "1") + "\n[" + msg("a", "2") + ",\n" + msg("b", "3") + "]")
	b.start(b.watcher())
	b.wants("a/1", "a/2", "b/3")
	b.until("nothing under way", b.clean)
	b.put(msg("a", "4") + "\n")
	b.wants("a/1", "a/2", "b/3", "a/4")
	b.until("nothing under way", b.clean)
	if got := b.taken(); !slices.Equal(got, []string{"a/1", "a/2", "b/3", "a/4"}) {
		t.Errorf("order %v", got)
	}
}

func TestEditors(t *testing.T) {
	b := newBench(t)
	b.start(b.watcher())
	b.write("inmsg.txt~", msg("a", "renamed"))
	if err := os.Rename(filepath.Join(b.dir, "inmsg.txt~"), filepath.Join(b.dir, "inmsg.txt")); err != nil {
		t.Fatal(err)
	}
	b.wants("a/renamed")
	b.until("nothing under way", b.clean)

	f, err := os.Create(filepath.Join(b.dir, "inmsg.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := msg("a", "truncated") + "\n"
	for i := range text { // the slowest of all editors
		if _, err := f.WriteString(text[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	b.wants("a/renamed", "a/truncated")
	b.until("nothing under way", b.clean)
	if b.reported() > 0 {
		t.Error(b.reports)
	}
}

// Whole documents do not wait for the half one behind them, and it loses nothing.
func TestHalfWritten(t *testing.T) {
	b := newBench(t)
	half, rest := msg("a", "half")[:30], msg("a", "half")[30:]
	b.put(msg("a", "whole") + "\n" + half)
	b.start(b.watcher())
	b.wants("a/whole")
	b.until("nothing under way", b.clean)
	b.put(rest)
	b.wants("a/whole", "a/half")
	b.until("nothing under way", b.clean)
	if b.reported() > 0 {
		t.Error(b.reports)
	}
}

// Each message comes in two halves, by two opens, as fast as it goes; now and
// then the writer waits, so that there is something to split.
func TestHalvesRaceTheSplit(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	splits := 0
	w.crash = func(step string) error {
		if step == "exchanged" {
			splits++
		}
		b.signal()
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var want []string
	left := ""
	for i := range 500 {
		m := msg("a", fmt.Sprint(i))
		b.put(left + m[:20])
		left = m[20:] + "\n"
		want = append(want, fmt.Sprintf("a/%d", i))
		if i%10 == 0 {
			b.until("the whole ones", func() bool { return len(b.taken()) == i })
		}
	}
	b.put(left)
	b.wants(want...)
	b.until("nothing under way", b.clean)
	cancel()
	if err := <-ended; err != nil || b.reported() > 0 {
		t.Error(err, b.reports)
	}
	if splits < 40 {
		t.Errorf("only %d splits", splits)
	}
}

func TestQuietTail(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	w.Quiet = 100 * time.Millisecond
	b.put(msg("a", "1") + "\n[" + msg("a", "2") + "," + msg("a", "3")[:25])
	b.start(w)
	b.until("a report", func() bool { return len(b.rejected()) == 1 && b.clean() })
	b.wants("a/1", "a/2")
	if got := b.rejected()[0]; got != msg("a", "3")[:25] {
		t.Errorf("rejected %q", got)
	}
	if b.reported() != 1 || !strings.Contains(b.reports[0], "never finished") {
		t.Errorf("reports %q", b.reports)
	}
}

func TestTwoWriters(t *testing.T) {
	b := newBench(t)
	b.start(b.watcher())
	var want []string
	var wg sync.WaitGroup
	for _, node := range []string{"a", "b"} {
		for i := range 200 {
			want = append(want, fmt.Sprintf("%s/%d", node, i))
		}
		wg.Go(func() {
			for i := range 200 {
				b.put(msg(node, fmt.Sprint(i)) + "\n")
			}
		})
	}
	wg.Wait()
	b.wants(want...)
	b.until("nothing under way", b.clean)
	if b.reported() > 0 {
		t.Error(b.reports)
	}
}

// A writer that keeps the file open goes on writing into the claim.
func TestWriterStays(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	w.Quiet = 100 * time.Millisecond
	b.start(w)
	f := b.open()
	defer f.Close()
	for _, text := range []string{msg("a", "1"), msg("a", "2")[:20]} {
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	b.wants("a/1")
	b.put(msg("b", "new file"))
	b.wants("a/1", "b/new file")
	if _, err := f.WriteString(msg("a", "2")[20:] + msg("a", "3")); err != nil {
		t.Fatal(err)
	}
	b.wants("a/1", "b/new file", "a/2", "a/3")
	if b.clean() {
		t.Error("the claim is gone while its writer is there")
	}
	f.Close()
	b.until("nothing under way", b.clean)
	b.wants("a/1", "b/new file", "a/2", "a/3")
}

// A writer who pauses within a document, for longer than anybody waits for one
// that has left, finishes it in the claim.
func TestWriterPauses(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	w.Quiet = 50 * time.Millisecond
	tk, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	f := b.open()
	if _, err := f.WriteString(msg("a", "1") + msg("a", "2")[:20]); err != nil {
		t.Fatal(err)
	}
	b.passes(tk, func() bool { return len(b.taken()) == 1 })
	quiet := time.Now().Add(4 * w.Quiet)
	b.passes(tk, func() bool { return time.Now().After(quiet) })
	if _, err := f.WriteString(msg("a", "2")[20:]); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.passes(tk, b.clean)
	if b.wants("a/1", "a/2"); b.reported() > 0 || len(b.rejected()) > 0 {
		t.Errorf("reports %q, rejected %q", b.reports, b.rejected())
	}
}

// One who never finishes is refused after Patience: nothing is held for ever.
func TestPatienceEnds(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	w.Quiet, w.Patience = 10*time.Millisecond, 100*time.Millisecond
	b.start(w)
	f := b.open()
	defer f.Close()
	if _, err := f.WriteString(msg("a", "1") + msg("a", "2")[:20]); err != nil {
		t.Fatal(err)
	}
	b.until("the half is refused", func() bool { return b.reported() == 1 })
	if got := b.rejected(); len(got) != 1 || got[0] != msg("a", "2")[:20] {
		t.Errorf("rejected %q", got)
	}
	b.wants("a/1")
}

// A writer who leaves half a document in a claim and comes back to the path finds
// it there; whatever crashes in between, and whoever began another file meanwhile.
func TestWriterComesBack(t *testing.T) {
	for k := 1; ; k++ {
		b := newBench(t)
		w := b.watcher()
		w.Quiet = time.Millisecond
		f := b.open()
		if _, err := f.WriteString(msg("a", "1") + "\n" + msg("a", "2")[:20]); err != nil {
			t.Fatal(err)
		}
		tk, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		tk.grace = 0
		b.passes(tk, func() bool { return len(b.taken()) == 1 })
		tk.quiet = time.Hour // from here on nobody is too late
		b.put(msg("b", "other") + "\n")
		f.Close()
		step := 0
		w.crash = func(string) error {
			if step++; step == k {
				return errors.New("killed")
			}
			return nil
		}
		if err := tk.pass(t.Context()); (err != nil) != (step == k) {
			t.Fatal(err)
		}
		w.crash, w.Quiet = nil, time.Hour
		if tk, err = w.open(); err != nil {
			t.Fatal(err)
		}
		b.passes(tk, func() bool { return len(b.taken()) == 2 && b.clean() })
		b.put(msg("a", "2")[20:])
		b.passes(tk, func() bool { return len(b.taken()) == 3 && b.clean() })
		if b.wants("a/1", "a/2", "b/other"); b.reported() > 0 || len(b.rejected()) > 0 {
			t.Errorf("killed at %d: reports %q, rejected %q", k, b.reports, b.rejected())
		}
		if step < k {
			if k < 8 {
				t.Errorf("only %d steps", k-1)
			}
			return
		}
	}
}

// passes looks again and again until cond.
func (b *bench) passes(tk *taker, cond func() bool) {
	b.t.Helper()
	for limit := time.Now().Add(20 * time.Second); !cond(); {
		if err := tk.pass(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		if time.Now().After(limit) {
			b.t.Fatalf("never\ngot %v\nreports %q\nfiles %v", b.taken(), b.reports, b.files())
		}
		tk.wait(b.t.Context(), nil, 5*time.Millisecond)
	}
}

func TestDropFolder(t *testing.T) {
	b := newBench(t)
	b.write("submit/2.json", msg("a", "2"))
	b.write("submit/1.json", "["+msg("a", "1")+"]")
	b.write("submit/.3.json", msg("a", "hidden"))
	b.write("submit/4.tmp", msg("a", "unfinished"))
	b.start(b.watcher())
	b.wants("a/1", "a/2")
	b.until("nothing under way", b.clean)
	if got := b.taken(); !slices.IsSorted(got) {
		t.Errorf("order %v", got)
	}
	if !slices.Contains(b.files(), "submit/4.tmp") || !slices.Contains(b.files(), "submit/.3.json") {
		t.Errorf("files %v", b.files())
	}
}

func TestRejects(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	w.Check = func(m *message.Message) error {
		if m.Data[0] == "bad" && m.ToNode == "b" {
			return fmt.Errorf("%w: no such method there", message.ErrInvalid)
		}
		return nil
	}
	b.refuse = func(m *message.Message) error {
		if m.Data[0] == "too big" {
			return fmt.Errorf("%w: too big for the broker", message.ErrInvalid)
		}
		return nil
	}
	many := strings.Replace(msg("a", "bad"), `"toNode":"a"`, `"toNodes":["a","b","c"]`, 1)
	b.put(msg("a", "1") + `{"toNode":"x"}` + msg("a", "too big") + many + msg("a", "2") + "\nrubbish\n" + msg("a", "3"))
	b.start(w)
	b.until("nothing under way", func() bool { return len(b.taken()) == 5 && b.clean() })
	b.wants("a/1", "a/bad", "c/bad", "a/2", "a/3")
	want := []string{`{"toNode":"x"}`, msg("a", "too big"), msg("b", "bad"), "rubbish\n"}
	if got := b.rejected(); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("rejected %q\nwant %q", got, want)
	}
	if b.reported() != 4 {
		t.Errorf("reports %q", b.reports)
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// A file of rubbish does not become a million files or reports.
func TestRubbish(t *testing.T) {
	b := newBench(t)
	b.put(strings.Repeat("{\x00\xff}\n", 5000) + msg("a", "1"))
	b.start(b.watcher())
	b.wants("a/1")
	b.until("nothing under way", b.clean)
	if n := len(b.rejected()); n < singles || n > singles+10 || b.reported() != n {
		t.Errorf("%d files, %d reports", n, b.reported())
	}
	if n := strings.Count(strings.Join(b.rejected(), ""), "{\x00\xff}"); n != 5000 {
		t.Errorf("%d of 5000 kept", n)
	}
}

// What editors and shells of Windows write is refused whole, at once, with what
// to do; a mark in front of UTF-8 is no matter.
func TestWindowsText(t *testing.T) {
	wide := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.Write([]byte{c, 0})
		}
		return b.String()
	}
	two := "[" + msg("a", "1") + "]\r\n" + msg("a", "2") + "\r\n"
	for name, text := range map[string]string{
		"mark":         "\xff\xfe" + wide(two),
		"big endian":   "\xfe\xff\x00" + strings.TrimSuffix(wide(two), "\x00"),
		"without mark": wide(two),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.put(text)
			b.start(b.watcher())
			b.until("a report", func() bool { return b.reported() == 1 })
			if got := b.rejected(); len(got) != 1 || got[0] != text || !strings.Contains(b.reports[0], "UTF-16") || !strings.Contains(b.reports[0], "save it as UTF-8") {
				t.Errorf("reports %q, rejected %q", b.reports, got)
			}
			b.put("\xef\xbb\xbf" + msg("a", "3"))
			b.wants("a/3")
		})
	}
	t.Run("appended to UTF-8", func(t *testing.T) {
		b := newBench(t)
		w := b.watcher()
		w.Quiet = 50 * time.Millisecond
		b.put(msg("a", "1") + "\n" + wide(two) + msg("b", "2"))
		b.start(w)
		b.wants("a/1", "b/2")
		b.until("nothing under way", b.clean)
		if got := b.rejected(); len(got) != 1 || got[0] != wide(two) || !strings.Contains(b.reports[0], "save it as UTF-8") {
			t.Errorf("reports %q, rejected %q", b.reports, got)
		}
	})
}

func TestNotAFile(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte(msg("a", "secret")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, create := range map[string]func(path string) error{
		"fifo":    func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"symlink": func(p string) error { return os.Symlink(outside, p) },
		"folder":  func(p string) error { return os.Mkdir(p, 0o700) },
		"socket": func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
		"huge": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte(msg("a", "huge")), 0o600), os.Truncate(p, 100<<20))
		},
		"unreadable": func(p string) error {
			if os.Geteuid() == 0 {
				return os.Mkdir(p, 0o700) // nothing is unreadable to root
			}
			return os.WriteFile(p, nil, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			w := b.watcher()
			if err := create(w.File); err != nil {
				t.Fatal(err)
			}
			b.start(w)
			b.until("a report", func() bool { return b.reported() > 0 })
			b.put(msg("a", "1"))
			b.wants("a/1")
			b.until("nothing under way", b.clean)
			entries, _ := os.ReadDir(filepath.Join(b.dir, rejectedDir))
			if len(entries) != 2 || entries[0].Name()+".reason" != entries[1].Name() {
				t.Errorf("rejected %v", entries)
			}
			says := map[string]string{"fifo": "a named pipe", "symlink": "a symbolic link", "folder": "a folder", "socket": "a socket", "huge": "at most 67108864"}
			if b.reported() != 1 || !strings.Contains(b.reports[0], says[name]) {
				t.Errorf("reports %q", b.reports)
			}
		})
	}
}

// A disk that is full for a while costs nothing but time, and one report.
func TestAcceptFails(t *testing.T) {
	b := newBench(t)
	failures := 0
	b.refuse = func(*message.Message) error {
		if failures++; failures <= 3 {
			return syscall.ENOSPC
		}
		return nil
	}
	b.put(msg("a", "1") + "{}" + msg("a", "2"))
	b.start(b.watcher())
	b.wants("a/1", "a/2")
	b.until("nothing under way", b.clean)
	if b.reported() != 2 || len(b.rejected()) != 1 {
		t.Errorf("reports %q, rejected %q", b.reports, b.rejected())
	}
}

// A process that dies between any two steps neither loses nor doubles.
func TestCrashAtEveryStep(t *testing.T) {
	var list strings.Builder
	var want []string
	fmt.Fprintf(&list, "[%s", msg("a", "first"))
	for i := range 2 * chunk {
		fmt.Fprintf(&list, ",\n%s", msg("a", fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("a/%d", i))
	}
	list.WriteString("]\n{\"toNode\":1}\n" + msg("a", "last") + "\n")
	want = append(want, "a/first", "a/last")
	half := msg("b", "half")
	t.Run("whole", func(t *testing.T) { crashEverywhere(t, list.String(), "", want) })
	t.Run("half", func(t *testing.T) { crashEverywhere(t, list.String()+half[:20], half[20:], append(want, "b/half")) })
}

// crashEverywhere lets a watcher of text die at its first step, another at its
// second, and so on; each has a successor, who also gets the rest of the text.
func crashEverywhere(t *testing.T, text, rest string, want []string) {
	for k := 1; ; k++ {
		b := newBench(t)
		b.put(text)
		step, at := 0, ""
		w := b.watcher()
		ctx, cancel := context.WithCancel(t.Context())
		w.crash = func(name string) error {
			if step++; step == k {
				at = name
				return errors.New("killed")
			}
			if name == "removed" {
				cancel() // all that there is to do is done
			}
			return nil
		}
		err := w.Run(ctx)
		cancel()
		if err == nil {
			if k < 10 {
				t.Errorf("only %d steps", k-1)
			}
			return
		}
		t.Run(fmt.Sprintf("%d %s", k, at), func(t *testing.T) {
			b.t = t
			b.start(b.watcher())
			if rest != "" {
				b.until("all but the half", func() bool { return len(b.taken()) >= len(want)-1 && b.clean() })
				b.put(rest)
			}
			b.wants(slices.Clone(want)...)
			b.until("nothing under way", b.clean)
			if got := b.rejected(); len(got) != 1 || got[0] != `{"toNode":1}` {
				t.Errorf("rejected %q", got)
			}
		})
	}
}

// A writer who has the file open may close it within half a document: until then
// it keeps its name.
func TestOpenFileIsLeftAlone(t *testing.T) {
	b := newBench(t)
	tk, err := b.watcher().open()
	if err != nil {
		t.Fatal(err)
	}
	f := b.open()
	for _, text := range []string{msg("a", "1"), msg("a", "2")[:20]} {
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := tk.pass(t.Context()); err != nil || len(b.taken()) > 0 {
			t.Fatalf("took %v, %v", b.taken(), err)
		}
	}
	f.Close()
	b.put(msg("a", "2")[20:])
	if err := tk.pass(t.Context()); err != nil || !slices.Equal(b.taken(), []string{"a/1", "a/2"}) || !b.clean() {
		t.Errorf("took %v, %v; files %v", b.taken(), err, b.files())
	}
}

// Somebody opens the file in the moment in which it is split, or finished: it
// gets its name back.
func TestLeaseBroken(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	intruded := 0
	w.crash = func(step string) error {
		claims, _ := filepath.Glob(filepath.Join(b.dir, claimsDir, "*"))
		if step == "exchanged" && intruded == 0 {
			intruded++
			// With O_NONBLOCK the open fails at once, and breaks the lease all the same.
			if _, err := os.OpenFile(claims[0], os.O_WRONLY|syscall.O_NONBLOCK, 0); !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("open under a lease: %v", err)
			}
		}
		return nil
	}
	tk, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	text := msg("a", "1") + "\n" + msg("a", "2")[:20]
	b.put(text)
	if err := tk.pass(t.Context()); err != nil || intruded != 1 {
		t.Fatal(err, intruded)
	}
	if got, _ := os.ReadFile(w.File); string(got) != text || len(b.taken()) > 0 || !b.clean() {
		t.Fatalf("file %q, took %v, files %v", got, b.taken(), b.files())
	}
	b.put(msg("a", "2")[20:])
	if err := tk.pass(t.Context()); err != nil || !slices.Equal(b.taken(), []string{"a/1", "a/2"}) || !b.clean() {
		t.Errorf("took %v, %v; files %v", b.taken(), err, b.files())
	}
}

// Somebody opens the file in the moment in which it is claimed, to write the first
// half of something: it gets its name back, for the second half to find it.
func TestLeaseBrokenByFirstHalf(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	intruded := 0
	w.crash = func(step string) error {
		claims, _ := filepath.Glob(filepath.Join(b.dir, claimsDir, "*"))
		if step == "claimed" && intruded == 0 {
			intruded++
			if _, err := os.OpenFile(claims[0], os.O_WRONLY|syscall.O_NONBLOCK, 0); !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("open under a lease: %v", err)
			}
		}
		return nil
	}
	tk, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	b.put(msg("a", "1"))
	if err := tk.pass(t.Context()); err != nil || intruded != 1 {
		t.Fatal(err, intruded)
	}
	if got, _ := os.ReadFile(w.File); string(got) != msg("a", "1") || len(b.taken()) > 0 || !b.clean() {
		t.Fatalf("file %q, took %v, files %v", got, b.taken(), b.files())
	}
	b.put(msg("a", "2")[:20])
	if err := tk.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.put(msg("a", "2")[20:])
	if err := tk.pass(t.Context()); err != nil || !slices.Equal(b.taken(), []string{"a/1", "a/2"}) || !b.clean() {
		t.Errorf("took %v, %v; files %v", b.taken(), err, b.files())
	}
}

// The same where there are no leases, as on some file systems: what came between the
// look at the file and its claim shows by the size of it.
func TestGrewInTheMoment(t *testing.T) {
	b := newBench(t)
	w := b.watcher()
	tk, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	b.put(msg("a", "1"))
	f, fi, err := openRegular(w.File)
	if err != nil {
		t.Fatal(err)
	}
	tk.looked = map[string]bool{}
	tk.watched(w.File, fi)
	b.put(msg("a", "2")[:20])
	if err := tk.claim(t.Context(), w.File, true, leaseNone, f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.put(msg("a", "2")[20:])
	if err := tk.pass(t.Context()); err != nil || !slices.Equal(b.taken(), []string{"a/1", "a/2"}) || !b.clean() {
		t.Errorf("took %v, %v; files %v", b.taken(), err, b.files())
	}
}

// The writers that operators use.
func TestShells(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	b := newBench(t)
	b.start(b.watcher())
	var want []string
	var shells []*exec.Cmd
	for _, node := range []string{"a", "b"} {
		script := fmt.Sprintf(`i=0; while [ $i -lt 100 ]; do echo '%s' | sed "s/NUMBER/$i/" >> inmsg.txt; i=$((i+1)); done`, msg(node, "NUMBER"))
		c := exec.CommandContext(t.Context(), sh, "-c", script)
		c.Dir = b.dir
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		shells = append(shells, c)
		for i := range 100 {
			want = append(want, fmt.Sprintf("%s/%d", node, i))
		}
	}
	for _, c := range shells {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	b.wants(want...)
	b.until("nothing under way", b.clean)
	if b.reported() > 0 {
		t.Error(b.reports)
	}
}

// Without leases and exchanges everything waits for quiet, and still arrives once.
func TestOldFileSystem(t *testing.T) {
	b := newBench(t)
	tk, err := b.watcher().open()
	if err != nil {
		t.Fatal(err)
	}
	tk.noSwap, tk.quiet = true, 50*time.Millisecond
	b.put(msg("a", "1") + msg("a", "2")[:20])
	for i := 0; ; i++ {
		if err := tk.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(b.taken()) > 0 && b.clean() {
			break
		}
		tk.wait(t.Context(), nil, 10*time.Millisecond)
		if i > 500 {
			t.Fatalf("never; files %v", b.files())
		}
	}
	b.wants("a/1")
	if got := b.rejected(); len(got) != 1 {
		t.Errorf("rejected %q", got)
	}
}

func TestFileOnAnotherDisk(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "submit-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	b := newBench(t)
	w := b.watcher()
	w.File = filepath.Join(other, "inmsg.txt")
	if err := os.WriteFile(w.File, []byte(msg("a", "1")+"{}"+msg("a", "2")+"\n["), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(w)
	b.wants("a/1", "a/2")
	b.until("nothing under way", b.clean)
	if err := errors.Join(os.Remove(w.File), os.Mkdir(w.File, 0o700)); err != nil { // a folder cannot be moved either
		t.Fatal(err)
	}
	b.until("two reports", func() bool { return b.reported() == 2 })
	if left, _ := filepath.Glob(filepath.Join(other, "*.rejected")); len(left) != 1 {
		t.Errorf("rejected beside the file: %v", left)
	}
}

func TestResults(t *testing.T) {
	r := Results{Dir: filepath.Join(t.TempDir(), "results")}
	if err := r.Prune(1); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		id := fmt.Sprintf("m%d", i)
		if err := errors.Join(r.Put(id, map[string]int{"n": 0}), r.Put(id, map[string]int{"n": i})); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		if err := os.Chtimes(filepath.Join(r.Dir, id+".json"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Prune(2); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(r.Dir)
	if len(entries) != 2 || entries[0].Name() != "m3.json" || entries[1].Name() != "m4.json" {
		t.Errorf("left %v", entries)
	}
	var v map[string]int
	text, _ := os.ReadFile(filepath.Join(r.Dir, "m4.json"))
	if err := json.Unmarshal(text, &v); err != nil || v["n"] != 4 {
		t.Errorf("%s: %v", text, err)
	}
	for _, id := range []string{"", "../x", "a/b", "a.b"} {
		if err := r.Put(id, 1); err == nil {
			t.Errorf("id %q is taken", id)
		}
	}
}
